//! What happened, and what to do about it: the whole traffic between the half that decides and the half that acts.
//!
//! Events are participles (`WorkerForked`), actions imperatives (`OrderFork`). Both are plain values: no descriptor,
//! no clock, no reference to anything outside. Nothing here does anything.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::note::Note;
use super::scale::Census;

/// A moment of `CLOCK_MONOTONIC`, in nanoseconds: the same clock the scoreboard's deadlines are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// This moment and `span` later; never wraps.
    pub fn after(self, span: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` until this moment; zero if `earlier` is not earlier.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A pool. Never used twice: a pool that is removed and added again is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(pub u32);

/// One loaded version of a pool's program and configuration, counted from 1: every template that loads is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u32);

/// A configuration of the whole daemon as one reading of the file gave it, counted from 1. Several generations of a
/// pool can come of the same edition: a template that died is loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Edition(pub u32);

/// A process id as the kernel gives it; only a label here, never something to signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid(pub i32);

/// One template process, from the order to start it until its burial. `life` is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TemplateRef {
    /// The pool whose program it loads.
    pub pool: PoolId,
    /// Unique among all templates and workers of this supervisor.
    pub life: u64,
}

/// One worker process, from the order to fork it until its burial. A report whose `life` is not that of the slot's
/// present worker is gossip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerRef {
    /// The pool it belongs to.
    pub pool: PoolId,
    /// Its place in the pool.
    pub slot: u32,
    /// Unique among all templates and workers of this supervisor.
    pub life: u64,
}

/// How a process ended, as `waitid` told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It left with this status.
    Status(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether a core was dumped.
        core: bool,
    },
    /// The kernel killed it because memory had run out.
    OutOfMemory,
}

/// What the deciding half is told of a pool when a configuration has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Which pool; one that is not known yet is new.
    pub pool: PoolId,
    /// Its numbers.
    pub limits: Limits,
}

/// What a reload wants to load anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The whole file, and with it every pool.
    Everything,
    /// These pools only.
    Pools(Vec<PoolId>),
}

/// What size somebody wants a pool to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// This: the workers of a static pool, the most of any other.
    To(u32),
    /// So many more, or fewer.
    By(i32),
}

/// How far something is that somebody waits for: so many workers of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// As it should be.
    pub done: usize,
    /// In all.
    pub of: usize,
}

/// Whoever waits for the outcome of what they asked for; only a label here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asker(pub u64);

/// How what was asked for ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done; of a reload: the new generations serve, and have done so for `settle`.
    Done,
    /// It is not; of a reload: everything is as it was.
    Failed {
        /// The pool that is to blame, if one is.
        pool: Option<PoolId>,
        /// Why.
        reason: String,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The template has run the application's `load` and takes orders.
    TemplateLoaded(TemplateRef),
    /// The template says why it will not serve; its death follows.
    TemplateRefused(TemplateRef, String),
    /// The template could not even be executed; no death follows.
    TemplateNotStarted(TemplateRef, String),
    /// The template has been reaped.
    TemplateDied(TemplateRef, Exit),
    /// A worker exists, is our child, and has this pid.
    WorkerForked(WorkerRef, Pid),
    /// The template could not fork: no process exists.
    WorkerNotForked(WorkerRef, String),
    /// The worker has run the application's `start` and takes requests.
    WorkerReady(WorkerRef),
    /// The worker's `start` failed, with this reason; its death follows.
    WorkerRefused(WorkerRef, String),
    /// The worker leaves of its own accord, and why; its death follows.
    WorkerLeaving(WorkerRef, Farewell),
    /// The worker has nothing left to do but to send what its clients have not taken yet.
    WorkerTrailing(WorkerRef),
    /// The deadline in the worker's cell has passed, and what [`Supervisor::due`](super::Supervisor::due) named is due.
    WorkerOverdue(WorkerRef, Time),
    /// The worker has been reaped.
    WorkerDied(WorkerRef, Exit),
    /// The memory of a pool's workers was measured: bytes of each that it shares with nobody.
    Measured(Vec<(WorkerRef, u64)>),
    /// A pool was counted.
    Counted(PoolId, Census),
    /// Somebody has connected to a pool that has no worker.
    Knocked(PoolId),
    /// Somebody wants the size of every pool moved by so much.
    SizeWanted(i32),
    /// Somebody wants a pool to be of this size, and waits until it is.
    ScaleWanted(PoolId, Size, Asker),
    /// Somebody wants fresh workers in a pool, or in one slot of it, and waits until they serve.
    RestartWanted(PoolId, Option<u32>, Asker),
    /// Somebody wants all workers to retire, and the supervisor to stay.
    WorkersUnwanted,
    /// Somebody wants everything, or some pools, loaded anew.
    ReloadWanted(Scope, Asker),
    /// The configuration was read, what it names was opened; or why not.
    ConfigurationRead(Edition, Result<Proposal, String>),
    /// The command that prepares a pool's edition has ended; or why it failed.
    Prepared(PoolId, Edition, Result<(), String>),
    /// Somebody has moved the log away.
    LogMoved,
    /// Somebody wants this program replaced by what now stands at its path.
    UpgradeWanted,
    /// The new program has looked at the state it would be handed; or why it cannot take it over.
    Rehearsed(Result<(), String>),
    /// This program has become the new one: the first that it is told.
    Upgraded,
    /// The new program could not be executed, and why.
    UpgradeFailed(String),
    /// Somebody wants the whole daemon to end.
    StopWanted(Stop),
    /// There is a log: its process is wanted, if there is none.
    LogWanted,
    /// The log process could not be executed, and why; no death follows.
    LogNotStarted(String),
    /// The log process has been reaped.
    LogDied(Pid, Exit),
    /// The socket of the status page is open: its process is wanted.
    AdminWanted,
    /// The admin process could not be executed, and why; no death follows.
    AdminNotStarted(String),
    /// The admin process has been reaped.
    AdminDied(Exit),
    /// What the admin process says makes no sense.
    AdminConfused,
    /// It has closed the line on which it asks, or cannot be heard on it any more.
    AdminHungUp,
    /// The moment `wake_at` asked for has come.
    Ticked,
}

/// Whether the daemon ends as it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It was asked to.
    Asked,
    /// A pool failed that was not to be served without.
    Failed,
}

/// Why a worker leaves of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// It begins the last request it may serve.
    Requests,
    /// It was asked to by a signal.
    Signal,
    /// The application panicked in a request.
    Panic,
    /// A request has changed what belongs to the process.
    Change,
}

/// What a configuration that was read asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The pools that get a new generation.
    pub plans: Vec<Plan>,
    /// The pools that are in the file no more.
    pub removed: Vec<PoolId>,
}

/// The two ways to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// Serve what was accepted or queued, then leave.
    Graceful,
    /// Leave now.
    Now,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read the configuration, open what it names that is not open yet.
    ReadConfiguration(Edition, Scope),
    /// Run the command that prepares this edition of the pool.
    Prepare(PoolId, Edition),
    /// Kill that command: its end is not waited for any more.
    AbandonPreparation(PoolId, Edition),
    /// Every pool has a ready worker of this edition: from now on its configuration is the one in force.
    Adopt(Edition),
    /// This edition, adopted or not, has failed: what was opened for it is closed, the one before is in force.
    Abandon(Edition),
    /// This edition has proven itself: what only the one before used is closed.
    Conclude(Edition),
    /// Tell whoever waits how that ended which they asked for.
    Answer(Vec<Asker>, Outcome),
    /// Tell whoever waits why what they asked of this pool is not even tried.
    Refuse(Asker, PoolId, String),
    /// Tell whoever waits how far the pool is.
    Report(Vec<Asker>, PoolId, Step),
    /// Nothing is left of this pool: close all it had.
    Close(PoolId),
    /// Open the log anew, here and in every process.
    ReopenLog,
    /// Have the new program look at the state it would be handed.
    Rehearse,
    /// Kill it: it takes too long.
    AbandonRehearsal,
    /// Become the new program, with everything we have.
    Upgrade,
    /// Execute the program of the pool's edition as a template.
    StartTemplate(TemplateRef, Generation, Edition),
    /// Hang up on the template: it leaves at once when it reads the end of its channel.
    DismissTemplate(TemplateRef),
    /// Kill the template.
    KillTemplate(TemplateRef),
    /// Write the boot deadline into the slot's cell, then have the template fork a worker.
    OrderFork {
        /// The worker to be.
        worker: WorkerRef,
        /// Who is to fork it.
        template: TemplateRef,
        /// The generation the template has loaded.
        generation: Generation,
        /// When it must be ready.
        deadline: Time,
        /// How many requests it may serve; `None`: any number.
        max_requests: Option<u64>,
    },
    /// Give up on a worker that was ordered and will not come: close its channel, clear its cell.
    Forget(WorkerRef),
    /// Have the worker serve what it holds and what is queued for it, then leave.
    OrderDrain(WorkerRef),
    /// Have the worker finish what it has begun, hand over its connections, and leave.
    OrderRetire(WorkerRef),
    /// Have the worker say where it is stuck, and answer its client.
    Interrupt(WorkerRef),
    /// Kill the worker.
    Kill(WorkerRef),
    /// Measure the memory of the pool's workers.
    Measure(PoolId),
    /// Count the pool's workers and those who wait for one.
    Count(PoolId),
    /// Say when somebody connects to the pool, which has no worker.
    AwaitKnock(PoolId),
    /// Let no newcomers into the queues of the pool's listeners; what is queued stays for the draining workers.
    StopListening(PoolId),
    /// Tell the service manager that every pool has had its first ready worker.
    AnnounceReady,
    /// Tell the service manager that we are on the way out.
    AnnounceStopping,
    /// Execute the log process.
    StartLog,
    /// Execute the process that serves the status page.
    StartAdmin,
    /// Have it answer what it has in hand, then leave.
    DismissAdmin,
    /// Kill it.
    KillAdmin,
    /// Write a line for the operator.
    Note(Note),
    /// Everything is buried: leave, and have the strangers leave in the same way.
    Leave(Stop, Verdict),
}
