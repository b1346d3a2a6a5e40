//! What the model world knows of its processes.

use std::time::Duration;

use ratoon::decide::cause::Cause;
use ratoon::decide::event::{Edition, Farewell, Generation, TemplateRef, Time, WorkerRef};

/// A template, from its start to its death.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) who: TemplateRef,
    pub(super) generation: Generation,
    pub(super) edition: Edition,
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
    pub(super) edition: Edition,
    pub(super) phase: Phase,
    /// What has become of the order to fork it, told or not.
    pub(super) fork: Fork,
    /// By when it must be gone, if it leaves, and on whose account it does.
    pub(super) leaves: Option<(Time, Reason)>,
    /// How many requests it may serve.
    pub(super) max_requests: Option<u64>,
    /// What stands in its cell.
    pub(super) deadline: Option<Time>,
    /// The deadline about which it was asked where it is stuck.
    pub(super) interrupted: Option<Time>,
    /// How many bytes it was last found to have.
    pub(super) weight: u64,
    /// What it was killed for.
    pub(super) killed: Option<Cause>,
}

/// On whose account a worker leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Own(Farewell),
    Ordered,
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
    Trailing,
    Draining,
}

impl Worker {
    /// Whether it takes requests, and may go on.
    pub(super) fn serves(&self) -> bool {
        self.phase == Phase::Serving && self.killed.is_none()
    }

    /// Whether it has been ready.
    pub(super) fn has_been_ready(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Leaving | Phase::Trailing | Phase::Draining)
    }
}

/// A span of up to so many milliseconds, short ones as likely as long ones.
pub(super) fn up_to(millis: u64, rng: &mut fastrand::Rng) -> Duration {
    let span = rng.u64(0..=millis) >> rng.u32(0..8);
    Duration::from_millis(span)
}
