//! What the supervisor and the log process say to each other, over a channel as templates have one.

use std::path::PathBuf;

use ratoon_worker::log::Form;
use serde::{Deserialize, Serialize};

/// The version of all that is here: a log process that speaks another makes way for one of its supervisor's own.
pub const VERSION: u32 = 1;

/// From the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// The first: how captured lines look. Brings where they go; without it that is standard error.
    Begin {
        /// As every other line of the daemon.
        form: Form,
    },
    /// Read these streams. Brings the end of a pipe for each.
    Listen {
        /// Whose they are.
        sources: Vec<Source>,
    },
    /// What comes out of the pipe that this brings is to be written to this file.
    Write {
        /// Its absolute path.
        path: PathBuf,
        /// The pool whose lines they are, if they are one pool's.
        pool: Option<String>,
    },
    /// Open every file anew, and say so.
    Reopen {
        /// To know the answer by.
        round: u64,
    },
    /// Everybody is buried: write what is there, and leave.
    Leave,
}

/// To the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// Lines that nobody took, since this was last said.
    Lost {
        /// Whose they were, if that is known.
        pool: Option<String>,
        /// How many.
        lines: u64,
    },
    /// Every file has been opened anew, as far as it could be.
    Reopened {
        /// As it was asked for.
        round: u64,
        /// Those that could not, and why.
        failed: Option<String>,
    },
}

/// A stream that is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its pool.
    pub pool: String,
    /// Its worker's place; `None` of what is no worker.
    pub worker: Option<u32>,
    /// Its generation; `None` of a command that prepares one.
    pub generation: Option<u32>,
    /// The process it was made for.
    pub pid: i32,
    /// Which of its two.
    pub stream: Output,
}

/// One of the two streams that a program prints to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn as_many_sources_as_are_named_at_a_time_fit_into_a_message() {
        let source = Source {
            pool: "p".repeat(32),
            worker: Some(u32::MAX),
            generation: Some(u32::MAX),
            pid: i32::MIN,
            stream: Output::Stdout,
        };
        let order = Order::Listen { sources: vec![source; crate::act::MOST_SOURCES] };
        assert!(serde_json::to_vec(&order).unwrap().len() < ratoon_worker::protocol::LONGEST);
    }
}
