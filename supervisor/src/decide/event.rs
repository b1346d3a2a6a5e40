//! What happened, and what to do about it: the whole traffic between the half that decides and the half that acts.
//!
//! Events are participles (`WorkerForked`), actions imperatives (`OrderFork`). Both are plain values: no descriptor,
//! no clock, no reference to anything outside. Nothing here does anything.

use std::time::Duration;

/// A moment of `CLOCK_MONOTONIC`, in nanoseconds: the same clock the scoreboard's deadlines are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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

/// A pool, by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u32);

/// One loaded version of a pool's program and configuration, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

/// A process id as the kernel gives it; only a label here, never something to signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub i32);

/// One template process, from the order to start it until its burial. `life` is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateRef {
    /// The pool whose program it loads.
    pub pool: PoolId,
    /// Unique among all templates and workers of this supervisor.
    pub life: u64,
}

/// One worker process, from the order to fork it until its burial. A report whose `life` is not that of the slot's
/// present worker is gossip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerRef {
    /// The pool it belongs to.
    pub pool: PoolId,
    /// Its place in the pool.
    pub slot: u32,
    /// Unique among all templates and workers of this supervisor.
    pub life: u64,
}

/// How a process ended, as `waitid` told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The worker leaves of its own accord (it was asked to by a signal); its death follows.
    WorkerLeaving(WorkerRef),
    /// The worker's deadline, with the grace that belongs to it, has passed.
    WorkerOverdue(WorkerRef),
    /// The worker has been reaped.
    WorkerDied(WorkerRef, Exit),
    /// Somebody wants the whole daemon to end.
    StopWanted(Stop),
    /// The moment `wake_at` asked for has come.
    Ticked,
}

/// The two ways to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Serve what was accepted or queued, then leave.
    Graceful,
    /// Leave now.
    Now,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Execute the pool's program as a template.
    StartTemplate(TemplateRef, Generation),
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
    },
    /// Give up on a worker that was ordered and will not come: close its channel, clear its cell.
    Forget(WorkerRef),
    /// Have the worker serve what it holds and what is queued for it, then leave.
    OrderDrain(WorkerRef),
    /// Kill the worker.
    Kill(WorkerRef),
    /// Let no newcomers into the queues of the pool's listeners; what is queued stays for the draining workers.
    StopListening(PoolId),
    /// Tell the service manager that every pool has had its first ready worker.
    AnnounceReady,
    /// Tell the service manager that we are on the way out.
    AnnounceStopping,
    /// Write a line for the operator.
    Note(Note),
    /// Everything is buried: leave, and have the strangers leave in the same way.
    Leave(Stop),
}

/// Why a worker or a template is no more: one vocabulary for log, status and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It left by itself with this status.
    Exited(i32),
    /// A signal that we did not send ended it.
    Killed {
        /// The signal's number.
        number: i32,
        /// Whether a core was dumped.
        core: bool,
    },
    /// It was not ready within `boot_timeout`; we killed it.
    BootTimeout,
    /// It said why it could not start.
    BootRefused(String),
    /// It could not be forked or executed.
    NotStarted(String),
    /// A request ran longer than `request_timeout` and `kill_grace`; we killed it.
    RequestTimeout,
    /// It was still busy `stop_timeout` after the stop, or its own leaving, began; we killed it.
    StopTimeout,
    /// It was killed because somebody wanted the daemon gone at once.
    StoppedNow,
    /// It was asked to leave, and left.
    Retired,
    /// Its template died before it was forked.
    TemplateLost,
}

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
    /// A stop has begun.
    Stopping(Stop),
    /// The stop's time is over and these many workers are still there.
    StopOverdue(u32),
    /// We contradicted ourselves: nothing was changed, and this is a defect to report.
    Mistake(String),
}
