//! Promised: "a database connection that is never stale", and what the configuration of one may give away: nothing.

mod clean;
mod down;
mod fresh;
mod retry;
mod secrets;
mod status;
