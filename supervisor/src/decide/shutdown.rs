//! The way out of a pool: a ladder that only climbs.
//!
//! Owns the rungs and what each asks of a worker or a template. Several wishes to stop at once: the most immediate
//! wins, a repeated or weaker one changes nothing and buys no time. A pool that was removed climbs alone, in a stop of
//! the daemon all do. Never performs anything; the pool does as it is asked each time it settles, so a worker that becomes
//! ready late is asked as well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cause::{Cause, Wish};
use super::event::{Stop, Time};
use super::{lifecycle, template};

/// How far a pool is, in the order it climbs. Only [`Open`](Rung::Open) starts processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Rung {
    /// It serves, or is about to.
    Open,
    /// What was accepted or queued is served, then everybody leaves.
    Draining { since: Time },
    /// Everybody has been killed and is waited for.
    Killing,
}

/// What a rung asks of the processes of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    /// Finish and leave.
    Drain,
    /// There was time to finish; it is over.
    OutOfTime,
    /// Leave now.
    Now,
}

impl Rung {
    /// The rung this wish leads to; `None` if it changes nothing.
    pub(super) fn climb(self, stop: Stop, now: Time) -> Option<Rung> {
        match (self, stop) {
            (Rung::Open, Stop::Graceful) => Some(Rung::Draining { since: now }),
            (Rung::Open | Rung::Draining { .. }, Stop::Now) => Some(Rung::Killing),
            (Rung::Draining { .. }, Stop::Graceful) => None,
            (Rung::Killing, Stop::Graceful | Stop::Now) => None,
        }
    }

    /// Whether nothing may be started any more.
    pub(super) fn is_ending(self) -> bool {
        match self {
            Rung::Open => false,
            Rung::Draining { .. } | Rung::Killing => true,
        }
    }

    /// What it asks now of a pool with this `stop_timeout`.
    pub(super) fn pressure(self, stop_timeout: Duration, now: Time) -> Option<Pressure> {
        match self {
            Rung::Open => None,
            Rung::Draining { since } if now < since.after(stop_timeout) => Some(Pressure::Drain),
            Rung::Draining { .. } => Some(Pressure::OutOfTime),
            Rung::Killing => Some(Pressure::Now),
        }
    }
}

/// Whether a worker in this state serves, or drains, what is queued. One that leaves is asked to, but
/// may be in the application's `stop` already: nobody on the way may be killed on its account.
pub(super) fn serves_queue(state: &lifecycle::State) -> bool {
    use lifecycle::State;

    match state {
        State::Serving { .. } | State::Draining { was_leaving: false, .. } => true,
        State::Leaving { .. } | State::Trailing { .. } | State::Draining { was_leaving: true, .. } => false,
        State::Ordered { .. } | State::Starting { .. } | State::Refused { .. } | State::Doomed { .. } => false,
    }
}

/// What to tell a worker under this pressure. `queue_served`: whether somebody in the pool [serves the
/// queue](serves_queue). Without one, a worker on its way is the only hope of the clients in it, and may come.
pub(super) fn worker_input(
    pressure: Pressure,
    state: &lifecycle::State,
    queue_served: bool,
) -> Option<lifecycle::Input> {
    use lifecycle::{Input, State};

    match (pressure, state) {
        (_, State::Doomed { .. }) => None,
        (Pressure::Now, _) => Some(Input::Kill(Cause::StoppedNow)),
        (Pressure::OutOfTime, _) => Some(Input::Kill(Cause::StopTimeout)),
        // One that leaves has shut its door; now it is to help with the queue first.
        (Pressure::Drain, State::Serving { .. } | State::Leaving { .. } | State::Trailing { .. }) => Some(Input::Drain),
        (Pressure::Drain, State::Ordered { .. } | State::Starting { .. }) if queue_served => {
            Some(Input::Kill(Cause::StoppedNow))
        }
        (Pressure::Drain, State::Ordered { .. } | State::Starting { .. }) => None,
        (Pressure::Drain, State::Refused { .. } | State::Draining { .. }) => None,
    }
}

/// What to tell a template under this pressure. One that still owes a fork is kept until it has answered, wanted or
/// not: it alone knows whom to kill. When there is no time left for an answer, its death is one.
pub(super) fn template_input(pressure: Pressure, orders_open: usize) -> Option<template::Input> {
    match pressure {
        Pressure::Now => Some(template::Input::Kill(Cause::StoppedNow)),
        Pressure::Drain | Pressure::OutOfTime if orders_open == 0 => Some(template::Input::Dismiss(Wish::Stop)),
        Pressure::Drain => None,
        Pressure::OutOfTime => Some(template::Input::Kill(Cause::StopTimeout)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Pid;
    use super::*;

    #[test]
    fn the_ladder_only_climbs() {
        let (began, later) = (Time(1), Time(2));
        let draining = Rung::Draining { since: began };
        assert_eq!(Rung::Open.climb(Stop::Graceful, began), Some(draining));
        assert_eq!(Rung::Open.climb(Stop::Now, began), Some(Rung::Killing));
        assert_eq!(draining.climb(Stop::Graceful, later), None);
        assert_eq!(draining.climb(Stop::Now, later), Some(Rung::Killing));
        assert_eq!([Stop::Graceful, Stop::Now].map(|stop| Rung::Killing.climb(stop, later)), [None, None]);
    }

    #[test]
    fn each_pool_drains_for_its_own_stop_timeout() {
        let rung = Rung::Draining { since: Time(0) };
        let now = Time(0).after(Duration::from_secs(5));
        assert_eq!(rung.pressure(Duration::from_secs(5), now), Some(Pressure::OutOfTime));
        assert_eq!(rung.pressure(Duration::from_secs(6), now), Some(Pressure::Drain));
    }

    #[test]
    fn a_worker_on_its_way_is_let_come_only_where_nobody_serves_the_queue() {
        let starting = lifecycle::State::Starting { pid: Pid(1) };
        let kill = lifecycle::Input::Kill(Cause::StoppedNow);
        assert_eq!(worker_input(Pressure::Drain, &starting, true), Some(kill));
        assert_eq!(worker_input(Pressure::Drain, &starting, false), None);
    }

    #[test]
    fn one_that_leaves_of_its_own_accord_does_not_serve_the_queue_whatever_it_was_told() {
        use lifecycle::State;

        let (pid, ready) = (Pid(1), Time(1));
        assert!(serves_queue(&State::Serving { pid, ready }));
        assert!(serves_queue(&State::Draining { pid, ready, was_leaving: false }));
        let (cause, deadline) = (Cause::Retired(Wish::Operator), Time(2));
        assert!(!serves_queue(&State::Leaving { pid, ready, cause, deadline }));
        assert!(!serves_queue(&State::Draining { pid, ready, was_leaving: true }));
    }

    #[test]
    fn a_template_that_owes_a_fork_is_not_dismissed_and_is_killed_when_time_is_over() {
        let kill = |cause| Some(template::Input::Kill(cause));
        assert_eq!(template_input(Pressure::Drain, 1), None);
        assert_eq!(template_input(Pressure::OutOfTime, 1), kill(Cause::StopTimeout));
        for pressure in [Pressure::Drain, Pressure::OutOfTime] {
            assert_eq!(template_input(pressure, 0), Some(template::Input::Dismiss(Wish::Stop)));
        }
        for orders in [0, 1] {
            assert_eq!(template_input(Pressure::Now, orders), kill(Cause::StoppedNow));
        }
    }
}
