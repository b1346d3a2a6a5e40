//! What supervisor, template and worker say to each other.
//!
//! One JSON object a message, over `SOCK_SEQPACKET` socketpairs, so a message is whole or not there; descriptors travel
//! beside it. Both sides name their version first: [`Report::Hello`] is the template's first word.

mod accounts;
mod database;
mod proxies;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::accounts::Accounts;
pub use self::database::{DatabaseRules, Secret, SessionReset};
pub use self::proxies::{Forwarded, Proxies, Trusted};
use crate::log;
use crate::metrics::declaration::Declaration;
use crate::scoreboard::LastWords;

/// The version of everything in this file and of the scoreboard's layout.
pub const VERSION: u32 = 10;
/// The environment variable that tells a program it is a template: the number of its end of the channel.
pub const CHANNEL: &str = "RATOON_TEMPLATE";
/// No message is longer, in bytes.
pub const LONGEST: usize = 8192;
/// No reason is longer, in bytes: as JSON it may be six times that.
const LONGEST_REASON: usize = 1024;
/// No message brings more descriptors; the kernel's own bound.
pub const MOST_DESCRIPTORS: usize = 253;

/// From the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// To a template: load. Brings the charter (a memfd with the JSON of a [`Charter`]), the scoreboard, both ends of
    /// the pool's inbox (the one to give, the one to take), the sheet of what the application counts, where log lines go, the pipe before
    /// the file of the access log if it has one, the
    /// parts of the lobby if the charter has a database, and the listeners in the order of [`Charter::listeners`].
    Load {
        /// The supervisor's [`VERSION`].
        version: u32,
    },
    /// To a template: fork a worker. Brings the worker's end of its own channel, and its standard output and standard
    /// error if it is to have its own.
    Fork {
        /// Its place.
        slot: u32,
        /// Its life, already written in the slot's cell.
        life: u64,
        /// How many requests it may serve, at least 1; `None`: any number.
        max_requests: Option<u64>,
    },
    /// To a template that has declared metrics and has loaded: where in a row each of them begins, in their order.
    Places {
        /// The first word of each.
        words: Vec<u16>,
    },
    /// To a template: have somebody who shares your layout name the addresses in a worker's last words, and log them.
    Name {
        /// The worker's place.
        slot: u32,
        /// Its process, which may be dead.
        pid: i32,
        /// What it said.
        words: LastWords,
    },
    /// To a worker: the pool stops. Serve what you hold, what is queued for you and what is in the inbox, then leave.
    Drain,
    /// To a worker: your siblings go on. Finish the requests you have, give them every connection that is between
    /// requests, then leave.
    Retire,
    /// To a template or a worker: this listener is given up. A worker serves what the scoreboard's quota says is queued
    /// there before it closes it.
    Close {
        /// Its place.
        listener: u32,
    },
}

/// To the supervisor. The sender is known by the channel; what it says is believed for as far as it does no harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// A template's first word.
    Hello {
        /// The library's [`VERSION`].
        version: u32,
    },
    /// A template's application counts this, too.
    Declares {
        /// What.
        metric: Declaration,
    },
    /// A template has loaded the application, and declared all it counts.
    Loaded,
    /// A template or a worker cannot go on, and leaves.
    Refused {
        /// Why.
        reason: String,
    },
    /// A template has forked a worker, and the middle process is gone.
    Forked {
        /// The worker's place.
        slot: u32,
        /// The worker's life.
        life: u64,
        /// Its process.
        pid: i32,
    },
    /// A template could not fork; nothing was left behind.
    NotForked {
        /// The worker's place.
        slot: u32,
        /// The worker's life.
        life: u64,
        /// Why.
        reason: String,
    },
    /// A worker takes requests.
    Ready,
    /// A worker's request has run beyond its deadline, and its last words are in its cell. Sent from a signal handler.
    Overran,
    /// A worker takes nothing more and leaves, without having been ordered to.
    Leaving {
        /// Why.
        why: Why,
    },
    /// A worker that retires has only bytes of responses left to send: it no longer counts as one.
    Draining,
}

/// Why a worker leaves that was not ordered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It has begun the last request it may serve.
    Requests,
    /// Somebody has sent it TERM.
    Signal,
    /// The application has panicked: its fields may be half changed.
    Panic,
    /// A request has changed what belongs to the process.
    Change,
}

impl Report {
    /// That somebody cannot go on, with as much of the reason as a message takes.
    pub fn refused(reason: &impl std::fmt::Display) -> Report {
        let mut reason = reason.to_string();
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        Report::Refused { reason }
    }
}

/// All a generation is told once: who it is, its settings, its limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Charter {
    /// The pool's name.
    pub pool: String,
    /// The generation's number.
    pub generation: u32,
    /// The places of the listeners, by which the scoreboard knows them, in the order in which they come with Load.
    pub listeners: Vec<u32>,
    /// `[pool.NAME.settings]`.
    pub settings: serde_json::Value,
    /// What bounds requests and connections.
    pub limits: Limits,
    /// What is put back between two requests.
    pub cleaning: Cleaning,
    /// Who stands in front of it.
    pub proxies: Proxies,
    /// What is written down of its requests.
    pub accounts: Accounts,
    /// Its database, if it has one.
    pub database: Option<DatabaseRules>,
    /// The least important log lines.
    pub log_level: log::Level,
    /// How log lines look.
    pub log_form: log::Form,
}

/// What is put back between two requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaning {
    /// What becomes of a process that a request has changed.
    pub reset: Reset,
    /// After so many requests what is never put back is counted: descriptors, children, threads and their like; 0: never.
    pub reset_check: u32,
    /// What a panic means for the worker.
    pub panics: Panics,
}

/// What a pool has that says nothing else.
impl Default for Cleaning {
    fn default() -> Cleaning {
        Cleaning { reset: Reset::Restore, reset_check: 100, panics: Panics::Recycle }
    }
}

/// What becomes of a process whose working directory, umask, signal mask or environment a request has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// They are put back.
    #[default]
    Restore,
    /// They are put back, and the worker retires.
    Recycle,
    /// They stay as they are.
    Off,
}

/// What a panic of the application in a request means for the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Panics {
    /// The application's fields may be half changed: it answers 500 and retires.
    #[default]
    Recycle,
    /// It answers 500 and goes on.
    Continue,
}

/// What bounds requests and connections; times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// From a handler's start to its return.
    pub request_timeout: u64,
    /// From a connection's or a request's first moment to the end of its head, in all.
    pub header_timeout: u64,
    /// Between two pieces of a body that arrives.
    pub body_timeout: u64,
    /// Between two pieces of a response that leaves.
    pub send_timeout: u64,
    /// Between two requests on a connection.
    pub keep_alive_timeout: u64,
    /// How long a request may have waited for a worker and still be run; 0: for ever.
    pub queue_timeout: u64,
    /// What it means when a client says, before it is answered, that it will send nothing more.
    pub half_close: HalfClose,
    /// The longest head.
    pub max_header: u64,
    /// The longest body.
    pub max_body: u64,
    /// The longest body that is kept in memory.
    pub body_memory: u64,
    /// Where longer ones go.
    pub body_dir: PathBuf,
    /// How much of that the whole pool may use.
    pub body_disk: u64,
    /// The most connections a worker holds.
    pub max_connections: u32,
}

/// What it means when a client says, before it is answered, that it will send nothing more: closing a connection and
/// closing half of it look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HalfClose {
    /// It waits for its answer.
    #[default]
    Wait,
    /// It has gone, and its request is not run.
    Gone,
}

/// What a pool has that says nothing else, and a worker started by hand.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            request_timeout: 30_000,
            header_timeout: 10_000,
            body_timeout: 30_000,
            send_timeout: 30_000,
            keep_alive_timeout: 75_000,
            queue_timeout: 0,
            half_close: HalfClose::Wait,
            max_header: 16 * 1024,
            max_body: 8 * 1024 * 1024,
            body_memory: 256 * 1024,
            body_dir: "/var/tmp".into(),
            body_disk: 1024 * 1024 * 1024,
            max_connections: 4096,
        }
    }
}
