//! The half of the supervisor that acts: it waits, says what happened, and does what was decided. It decides nothing.

mod admin;
mod children;
mod clock;
mod control;
mod daemon;
mod listener;
mod logs;
mod memory;
mod notes;
mod notify;
mod obituaries;
mod passed;
mod plan;
mod pool;
mod queue;
mod signals;
mod tallies;
mod token;
mod unsent;
pub mod upgrade;

pub use daemon::{Daemon, StartError};
pub use logs::{Logs, MOST_SOURCES};
pub use passed::Passed;
