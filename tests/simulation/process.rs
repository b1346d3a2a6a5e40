//! What the model world knows of its processes, and how they are disposed to behave.

use std::time::Duration;

use ratoon::decide::event::{Cause, Generation, TemplateRef, Time, WorkerRef};

/// A template, from its start to its death.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) who: TemplateRef,
    pub(super) generation: Generation,
    pub(super) phase: TemplatePhase,
    /// After this moment it may be killed for being late.
    pub(super) late: Option<Time>,
    pub(super) killed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TemplatePhase {
    Loading,
    Loaded,
    Refused,
    Dismissed,
}

/// A worker, from the order to fork it to its death.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) who: WorkerRef,
    pub(super) template: u64,
    pub(super) phase: Phase,
    /// What has become of the order to fork it, told or not.
    pub(super) fork: Fork,
    /// When it began to leave of its own accord.
    pub(super) leaving_since: Option<Time>,
    /// When the acting half finds it overdue, as its cell would say.
    pub(super) deadline: Option<Time>,
    /// Whether that has been reported, for what it is doing now.
    pub(super) reported_overdue: bool,
    /// What it was killed for.
    pub(super) killed: Option<Cause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fork {
    /// Its template has not read the order yet.
    Owed,
    /// There is a process.
    Done,
    /// There never will be one.
    Failed,
}

/// What is known of it to the acting half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Ordered,
    Starting,
    Refused,
    Serving,
    Leaving,
    Draining,
}

/// How likely each kind of trouble is in a pool, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mood {
    pub(super) load_fails: f64,
    pub(super) load_hangs: f64,
    pub(super) fork_fails: f64,
    pub(super) fork_hangs: f64,
    pub(super) fork_kills_template: f64,
    pub(super) start_fails: f64,
    pub(super) start_hangs: f64,
    pub(super) crashes: f64,
    pub(super) request_hangs: f64,
    pub(super) leave_hangs: f64,
    pub(super) drain_hangs: f64,
}

impl Mood {
    pub(super) const CALM: Mood = Mood {
        load_fails: 0.0,
        load_hangs: 0.0,
        fork_fails: 0.0,
        fork_hangs: 0.0,
        fork_kills_template: 0.0,
        start_fails: 0.0,
        start_hangs: 0.0,
        crashes: 0.0,
        request_hangs: 0.0,
        leave_hangs: 0.0,
        drain_hangs: 0.0,
    };
    pub(super) const LOAD_FAILS: Mood = Mood { load_fails: 1.0, ..Mood::CALM };
    pub(super) const START_FAILS: Mood = Mood { start_fails: 1.0, ..Mood::CALM };
    pub(super) const FORK_FAILS: Mood = Mood { fork_fails: 1.0, ..Mood::CALM };
    pub(super) const FORK_KILLS_TEMPLATE: Mood = Mood { fork_kills_template: 1.0, ..Mood::CALM };
    pub(super) const DRAIN_HANGS: Mood = Mood { drain_hangs: 1.0, ..Mood::CALM };
    pub(super) const LEAVE_HANGS: Mood = Mood { leave_hangs: 1.0, drain_hangs: 1.0, ..Mood::CALM };
    pub(super) const START_HANGS: Mood = Mood { start_hangs: 1.0, ..Mood::CALM };

    pub(super) fn random(rng: &mut fastrand::Rng) -> Mood {
        let mut any = || rng.choice([0.0, 0.0, 0.0, 0.1, 0.5, 1.0]).unwrap_or(0.0);
        Mood {
            load_fails: any(),
            load_hangs: any() / 2.0,
            fork_fails: any(),
            fork_hangs: any() / 5.0,
            fork_kills_template: any() / 5.0,
            start_fails: any(),
            start_hangs: any() / 2.0,
            crashes: any(),
            request_hangs: any() / 2.0,
            leave_hangs: any(),
            drain_hangs: any(),
        }
    }
}

/// A span of up to so many milliseconds, short ones as likely as long ones.
pub(super) fn up_to(millis: u64, rng: &mut fastrand::Rng) -> Duration {
    let span = rng.u64(0..=millis) >> rng.u32(0..8);
    Duration::from_millis(span)
}
