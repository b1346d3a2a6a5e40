//! The state of the whole daemon at one moment, as a document.
//!
//! Owns the names under which operators, dashboards and scripts find each number: php-fpm's where the meaning is the
//! same, with the unit in the name where there is one. Never computes anything. A reader must expect fields that it
//! does not know.

mod metric;
mod starts;
mod traffic;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::metric::{Metric, Series, Value};
pub use self::starts::{Reloads, Starts};
pub use self::traffic::{Times, Traffic};

/// The daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Status {
    /// The version of the supervisor that runs.
    pub version: String,
    /// The moment that all of this is of, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its pid.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub start_time: u64,
    /// How long ago that is.
    pub start_since_ms: u64,
    /// What it is at.
    pub state: Phase,
    /// How far the reload is that runs, if one does.
    pub reload_stage: Option<Stage>,
    /// The last reload, if there was one.
    pub last_reload: Option<Reload>,
    /// Lines of the log, and of what was printed, that nobody took: those of all pools, the supervisor and the log process.
    #[serde(default)]
    pub log_lines_lost: u64,
    /// How many there were.
    #[serde(default)]
    pub reloads: Reloads,
    /// How often a program has taken over from the one before.
    #[serde(default)]
    pub upgrades: u64,
    /// How often the admin process has died.
    #[serde(default)]
    pub admin_deaths: u64,
    /// The pools, in the order of the configuration.
    pub pools: Vec<Pool>,
}

/// What the daemon is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Some pool has not had a ready worker yet.
    #[default]
    Starting,
    /// Every pool has had one.
    Serving,
    /// A new generation is on its way.
    Reloading,
    /// It is on the way out.
    Stopping,
}

/// How far a reload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The configuration is read.
    Reading,
    /// The new generation of every pool that it concerns shows whether it can serve.
    Trying,
    /// The old workers are replaced.
    Rolling,
    /// The new generation serves alone, and is watched.
    Settling,
}

/// A reload that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// How it ended.
    pub outcome: Outcome,
    /// What was done, or why it failed, in a sentence.
    pub reason: String,
    /// How long ago it ended.
    pub ended_since_ms: u64,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The new generation serves.
    Done,
    /// The old generation serves on.
    Failed,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Pool {
    /// Its name.
    pub pool: String,
    /// How it is scaled: `static`, `dynamic` or `ondemand`.
    pub process_manager: String,
    /// Whether it can start workers.
    pub health: Health,
    /// Whether it is on the way out: it may accept for a while, but nobody should be sent to it any more.
    pub stopping: bool,
    /// The generations that have workers, oldest first.
    pub generations: Vec<u32>,
    /// How many workers it should have now.
    pub wanted_processes: u32,
    /// The most it may have now: `workers` of a static pool, `max_workers` of any other, moved as the operator wished.
    pub max_processes: u32,
    /// By how much the operator has moved that, with TTIN, TTOU and `ratoon scale`.
    pub scaled_by: i32,
    /// While it is reloaded: how many workers of the new generation serve.
    pub renewed_processes: Option<u32>,
    /// Workers that wait for a request.
    pub idle_processes: u32,
    /// Workers that run one, or what it has deferred.
    pub active_processes: u32,
    /// Workers that are not ready yet.
    pub starting_processes: u32,
    /// Workers on their way out, whatever they still do.
    pub retiring_processes: u32,
    /// All of these.
    pub total_processes: u32,
    /// How often more workers were wanted than there may be.
    pub max_children_reached: u64,
    /// Lines that its workers wrote or printed and nobody took.
    #[serde(default)]
    pub log_lines_lost: u64,
    /// Where it listens, in the order of the configuration.
    pub listeners: Vec<Listener>,
    /// How many of its workers have died, by cause.
    pub deaths: BTreeMap<String, u64>,
    /// The last of these that nobody wanted, the newest first; at most eight.
    pub last_deaths: Vec<Death>,
    /// How long a request may run, as the configuration in force has it.
    pub request_timeout_ms: u64,
    /// What was started for it, and how that went.
    #[serde(default)]
    pub starts: Starts,
    /// What its workers have done for clients.
    #[serde(default)]
    pub traffic: Traffic,
    /// What its workers do with their database, if it has one.
    pub database: Option<Database>,
    /// What its application counts by itself.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// Its slots: one entry for each that has a worker, should have one, or has had one.
    pub processes: Vec<Worker>,
}

/// Whether a pool can start workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    /// It can, as far as is known.
    #[default]
    Sound,
    /// Too many boots failed: it is tried again, slowly.
    Failed {
        /// When, from now; unknown if an attempt is under way.
        retry_in_ms: Option<u64>,
    },
}

/// A worker's death that nobody wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Its place in the pool.
    pub slot: u32,
    /// Its process, if it ever had one.
    pub pid: Option<i32>,
    /// The generation it belonged to.
    pub generation: u32,
    /// Why it died.
    pub cause: String,
    /// How long ago that is.
    pub died_since_ms: u64,
    /// How long it had lived.
    pub lived_ms: u64,
    /// How long its last request had run, if one did.
    pub request_duration_ms: Option<u64>,
    /// The first bytes of that request's line.
    pub request_line: Option<String>,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Where.
    pub address: String,
    /// Connections that wait to be accepted; unknown if the kernel does not say.
    pub listen_queue: Option<u32>,
    /// As many can wait.
    pub listen_queue_len: u32,
}

/// What a pool's workers do with their database; counted since the pool exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// The most connections that all workers have open together.
    pub connections: u32,
    /// Connections that workers hold open now.
    pub open: u64,
    /// Connections opened.
    pub connects: u64,
    /// How many of those took the place of a stale one, by cause.
    pub reconnects: BTreeMap<String, u64>,
    /// Attempts to connect that failed.
    pub failures: u64,
    /// How often a request had to wait for a connection.
    pub waits: u64,
    /// The longest of these waits.
    pub waited_longest_ms: u64,
    /// How many of them were in vain.
    #[serde(default)]
    pub exhausted: u64,
    /// Connections that a worker took over from another.
    pub leases: u64,
}

/// A slot and its worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Its place in the pool.
    pub slot: u32,
    /// Its process, if there is one.
    pub pid: Option<i32>,
    /// The generation it belongs to, if there is a worker.
    pub generation: Option<u32>,
    /// What it is at.
    pub state: Doing,
    /// How long it has been ready, if it is.
    pub start_since_ms: Option<u64>,
    /// Requests begun in this slot, by all its workers.
    pub requests: u64,
    /// How long its present request runs, if one does.
    pub request_duration_ms: Option<u64>,
    /// The first bytes of its present or last request line, if there was one.
    pub request_line: Option<String>,
    /// Connections it holds open.
    pub connections: u32,
    /// Why the worker before it died, if there was one.
    pub last_death: Option<String>,
}

/// What a worker is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// There is none.
    Vacant,
    /// It is on its way.
    Starting,
    /// It waits for a request.
    Idle,
    /// It runs one.
    Busy,
    /// It has answered one, and runs what that has deferred.
    Deferred,
    /// It leaves when its request is done.
    Retiring,
    /// Only bytes of responses are left to be sent.
    Draining,
    /// It has been killed and is not buried yet.
    Dying,
}

impl Doing {
    /// The word for it, as in the document.
    pub fn name(self) -> &'static str {
        match self {
            Doing::Vacant => "vacant",
            Doing::Starting => "starting",
            Doing::Idle => "idle",
            Doing::Busy => "busy",
            Doing::Deferred => "deferred",
            Doing::Retiring => "retiring",
            Doing::Draining => "draining",
            Doing::Dying => "dying",
        }
    }
}
