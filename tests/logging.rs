//! Promised: "a log destination that is full or slow costs log lines (counted), never requests": what is printed, where it
//! goes, and who pays when it cannot go there.

mod access;
mod capture;
mod files;
mod format;
