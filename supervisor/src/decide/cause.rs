//! Why a process is no more, in one vocabulary: the log, the status and the metrics all say it in these words.

use std::fmt;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::event::Exit;

/// Why a worker or a template is no more: one vocabulary for log, status and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It left by itself with this status.
    Exited(i32),
    /// A signal of its own doing ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether a core was dumped.
        core: bool,
    },
    /// A SIGKILL that was neither ours nor the kernel's ended it.
    KilledFromOutside,
    /// The kernel killed it because memory had run out.
    KilledForMemory,
    /// It was not ready within `boot_timeout`; we killed it.
    BootTimeout,
    /// It said why it could not start.
    BootFailed(String),
    /// It could not be forked or executed.
    NotStarted(String),
    /// A request ran longer than `request_timeout` and `kill_grace`; we killed it.
    RequestTimeout,
    /// It had more memory of its own than `max_memory_hard`; we killed it.
    Memory,
    /// It had been asked to leave, or the stop had begun, `stop_timeout` ago; we killed it.
    StopTimeout,
    /// It was killed because somebody wanted the daemon gone at once.
    StoppedNow,
    /// It reached a limit, and left: so many requests, such an age, a panic.
    Recycled(Limit),
    /// It was asked to leave, and left.
    Retired(Wish),
    /// Its template died before it was forked.
    TemplateLost,
}

impl Cause {
    /// Whether something was wrong with the process: a release whose workers die of these is a bad one.
    pub fn is_fault(&self) -> bool {
        match self {
            Cause::Exited(_)
            | Cause::Signal { .. }
            | Cause::KilledForMemory
            | Cause::BootTimeout
            | Cause::BootFailed(_)
            | Cause::NotStarted(_)
            | Cause::RequestTimeout
            | Cause::Memory => true,
            Cause::KilledFromOutside
            | Cause::StopTimeout
            | Cause::StoppedNow
            | Cause::Recycled(_)
            | Cause::Retired(_)
            | Cause::TemplateLost => false,
        }
    }

    /// Whether it was to be: it was told to leave, had reached a limit, or was never more than an order to a template,
    /// whose death is the one that counts.
    pub fn is_expected(&self) -> bool {
        matches!(self, Cause::TemplateLost | Cause::Retired(_) | Cause::Recycled(_))
    }
}

/// Why a worker makes room for a fresh one, having served to its end: no fault of the slot, which waits for nothing, nor a
/// death by which a release is judged. The last two may come with every request, and then cost a fork each, as with
/// `max_requests = 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Limit {
    /// It has served `max_requests`.
    Requests,
    /// It has lived for `max_age`.
    Age,
    /// It has more memory of its own than `max_memory`.
    Memory,
    /// The application panicked in a request, and its fields may be half changed.
    Panic,
    /// A request has changed what belongs to the process, and `reset` says that this is not put up with.
    Change,
}

/// Who wanted a worker to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wish {
    /// A reload: another generation has its place.
    Reload,
    /// The pool has more workers than it needs.
    Scaling,
    /// Somebody, by a signal or a command.
    Operator,
    /// The pool, or the whole daemon, ends.
    Stop,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Exited(status) => write!(f, "{}", Exit::Status(*status)),
            Cause::Signal { number, core } => write!(f, "{}", Exit::Signal { number: *number, core: *core }),
            Cause::KilledFromOutside => f.write_str("killed from outside"),
            Cause::KilledForMemory => f.write_str("killed by the kernel for memory"),
            Cause::BootTimeout => f.write_str("boot timeout"),
            Cause::BootFailed(reason) => write!(f, "boot failed: {reason}"),
            Cause::NotStarted(reason) => write!(f, "not started: {reason}"),
            Cause::RequestTimeout => f.write_str("request timeout"),
            Cause::Memory => f.write_str("memory"),
            Cause::StopTimeout => f.write_str("stop timeout"),
            Cause::StoppedNow => f.write_str("stopped now"),
            Cause::Recycled(Limit::Requests) => f.write_str("recycled by requests"),
            Cause::Recycled(Limit::Age) => f.write_str("recycled by age"),
            Cause::Recycled(Limit::Memory) => f.write_str("recycled by memory"),
            Cause::Recycled(Limit::Panic) => f.write_str("recycled after a panic"),
            Cause::Recycled(Limit::Change) => f.write_str("recycled after a change"),
            Cause::Retired(Wish::Reload) => f.write_str("retired by reload"),
            Cause::Retired(Wish::Scaling) => f.write_str("retired by scaling"),
            Cause::Retired(Wish::Operator) => f.write_str("retired by operator"),
            Cause::Retired(Wish::Stop) => f.write_str("retired by stop"),
            Cause::TemplateLost => f.write_str("its template died"),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Status(status) => write!(f, "exited {status}"),
            Exit::Signal { number, core } => {
                match Signal::try_from(*number) {
                    Ok(signal) => write!(f, "signal {signal}")?,
                    Err(_) => write!(f, "signal {number}")?,
                }
                f.write_str(if *core { " (core dumped)" } else { "" })
            }
            Exit::OutOfMemory => f.write_str("killed by the kernel for memory"),
        }
    }
}
