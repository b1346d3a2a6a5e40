//! The half of the supervisor that acts: it waits, says what happened, and does what was decided. It decides nothing.

mod children;
mod control;
mod daemon;
mod listener;
mod notes;
mod notify;
mod obituaries;
mod pool;
mod queue;
mod signals;
mod token;

pub use daemon::{Daemon, StartError};
