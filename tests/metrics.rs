//! Promised: "busy, idle, queue depth and wait time as metrics": what workers do is counted, and no death, reload or upgrade
//! takes anything back.

mod application;
mod calls;
mod database;
mod exposition;
mod hostile;
mod monotonic;
mod traffic;
