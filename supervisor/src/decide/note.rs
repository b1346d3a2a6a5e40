//! What the operator is told, one line per transition: plain values, to be put into words by the acting half.

use std::time::Duration;

use super::cause::Cause;
use super::event::{Edition, Generation, Outcome, Pid, PoolId, Stop, TemplateRef, WorkerRef};

/// Lines for the operator, one per transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The template has loaded, so long after its start.
    TemplateLoaded(TemplateRef, Generation, Duration),
    /// The template is gone; the next is started after this long (`None`: not at all, we are stopping).
    TemplateDied {
        /// Which.
        template: TemplateRef,
        /// Its generation.
        generation: Generation,
        /// Why.
        cause: Cause,
        /// When the next attempt is due, from now.
        retry: Option<Duration>,
        /// How many boots of the pool failed within the window, this one included if it was one.
        failures: u32,
    },
    /// The command that prepares a pool's edition has failed.
    NotPrepared {
        /// Which pool's.
        pool: PoolId,
        /// How.
        reason: String,
    },
    /// A worker takes requests, so long after it was ordered.
    WorkerReady {
        /// Which.
        worker: WorkerRef,
        /// Its pid.
        pid: Pid,
        /// Its generation.
        generation: Generation,
        /// From the order to now.
        boot: Duration,
    },
    /// A worker is about to be killed by us, for this cause.
    Killing {
        /// Which.
        worker: WorkerRef,
        /// Its pid, if it has one.
        pid: Option<Pid>,
        /// Its generation.
        generation: Generation,
        /// Why.
        cause: Cause,
    },
    /// A worker is gone.
    WorkerDied {
        /// Which.
        worker: WorkerRef,
        /// Its pid, if it ever had one.
        pid: Option<Pid>,
        /// Its generation.
        generation: Generation,
        /// Why.
        cause: Cause,
        /// From the order to now.
        lived: Duration,
        /// When its slot is tried again, from now (`None`: not at all, we are stopping).
        retry: Option<Duration>,
        /// How many boots of the pool failed within the window, this one included if it was one.
        failures: u32,
    },
    /// The pool has spent its budget of failed boots: it keeps its listeners and is retried, slowly.
    PoolFailed {
        /// Which.
        pool: PoolId,
        /// How many boots failed within the window.
        failures: u32,
        /// When the next attempt is due, from now.
        retry: Duration,
    },
    /// A pool that had failed has a ready worker again.
    PoolRecovered(PoolId),
    /// A worker runs a request that is over its time: it is told to say where.
    Interrupting(WorkerRef),
    /// A pool would need more workers than it may have.
    MaxChildrenReached {
        /// Which.
        pool: PoolId,
        /// How many it may have.
        most: u32,
    },
    /// A pool's size was moved by somebody, to so many workers.
    Sized(PoolId, u32),
    /// So many workers of a pool are replaced, since somebody wants that.
    Restarting(PoolId, usize),
    /// A reload begins.
    Reloading(Edition),
    /// A reload that was wished for during another one will follow.
    ReloadRemembered,
    /// Every pool has a ready worker of the new edition: the old ones are replaced now.
    Rolling(Edition),
    /// The new edition serves alone, and is watched for `settle`.
    Settling(Edition),
    /// A reload has ended.
    Reloaded(Edition, Outcome),
    /// The stop of a pool that was removed has begun.
    Removing(PoolId),
    /// All workers retire; a reload brings them back.
    WorkersUnwanted,
    /// The pool has failed, and is to take the daemon with it.
    GivingUp(PoolId),
    /// The new program is looking at the state it would be handed.
    Rehearsing,
    /// The old program goes on, for this reason.
    UpgradeFailed(String),
    /// The log process is gone; what is printed waits for the next.
    LogDied {
        /// Its process, if there was one.
        pid: Option<Pid>,
        /// Why.
        cause: Cause,
        /// When the next one is started, from now.
        retry: Duration,
    },
    /// The admin process is gone; nobody but its readers will notice.
    AdminDied {
        /// Why.
        cause: Cause,
        /// When the next one is started, from now.
        retry: Duration,
    },
    /// The admin process was to make way for an upgrade and has not: it is killed.
    AdminInTheWay,
    /// A stop has begun, and for so long clients are still let in.
    Lingering(Duration),
    /// Nobody is let in any more: what was accepted or queued is served, or killed.
    Stopping(Stop),
    /// The stop's time is over and these many workers are still there.
    StopOverdue(u32),
    /// We contradicted ourselves: nothing was changed, and this is a defect to report.
    Mistake(String),
}
