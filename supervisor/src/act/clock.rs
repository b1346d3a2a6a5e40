//! The supervisor's own clock: `CLOCK_MONOTONIC` without the time during which it was suspended.
//!
//! Whoever is stopped together with the supervisor (by a signal to the group, a freezer, a paused machine) has lost that
//! time as well, and must not be killed for it: so every deadline is postponed by as much, once, and by nothing but the
//! clock that it is held against. Cells are written in the clock of all: here is what translates.
//!
//! It is set once in each turn of the loop and stands still in between. So a suspension falls between two settings,
//! wherever it strikes, and nothing is decided before it is known.

use std::time::Duration;

use ratoon_worker::clock;
use serde::{Deserialize, Serialize};

use crate::decide::event::Time;

/// Waking so much later than planned is no scheduler's doing.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// See the module's header.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Clock {
    /// When it was last set, in the clock of all.
    set: u64,
    /// When each suspension ended, in the clock of all, and how much was lost until then in all suspensions.
    suspensions: Vec<(u64, u64)>,
}

impl Clock {
    /// The moment this turn began.
    pub(super) fn now(&self) -> Time {
        Time(self.set.saturating_sub(self.lost()))
    }

    /// How long from now until this moment, were there no suspension.
    pub(super) fn until(&self, moment: Time) -> Duration {
        Duration::from_nanos(self.common(moment).saturating_sub(clock::now()))
    }

    /// A moment in the clock of all.
    pub(super) fn common(&self, moment: Time) -> u64 {
        moment.0.saturating_add(self.lost())
    }

    /// A moment of the clock of all that was written down at `written`.
    pub(super) fn own(&self, moment: u64, written: u64) -> Time {
        let lost = self.suspensions.iter().rev().find(|(ended, _)| *ended <= written).map_or(0, |(_, lost)| *lost);
        Time(moment.saturating_sub(lost))
    }

    /// Sets it. We had meant to sleep no longer than `planned` since it was set last; `None`: for as long as might be.
    pub(super) fn set(&mut self, planned: Option<Duration>) {
        let now = clock::now();
        let slept = now.saturating_sub(self.set);
        let planned = planned.unwrap_or(Duration::MAX).saturating_add(SUSPICIOUS);
        if u128::from(slept) > planned.as_nanos() {
            tracing::warn!(seconds = slept / 1_000_000_000, "suspended: all deadlines are postponed by as much");
            self.suspensions.push((now, self.lost().saturating_add(slept)));
        }
        self.set = now;
    }

    fn lost(&self) -> u64 {
        self.suspensions.last().map_or(0, |(_, lost)| *lost)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock { set: clock::now(), suspensions: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty seconds: the machine may have been running for hardly longer.
    const WHILE: u64 = 20_000_000_000;

    /// Last set so long ago.
    fn set_before(nanos: u64) -> Clock {
        Clock { set: clock::now() - nanos, suspensions: Vec::new() }
    }

    #[test]
    fn what_was_written_before_a_suspension_is_postponed_by_it_and_what_was_written_after_is_not() {
        let mut clock = set_before(WHILE);
        let (began, written) = (clock.now(), clock.set - WHILE);
        clock.set(Some(Duration::from_secs(1)));
        assert_eq!(clock.now(), began, "time has passed in a suspension");
        let deadline = clock.set + 5;
        assert_eq!(clock.own(deadline, written), Time(deadline), "it was postponed twice");
        assert_eq!(clock.own(deadline, clock.set), Time(began.0 + 5));
        assert_eq!(clock.common(clock.now()), clock.set);
    }

    #[test]
    fn to_be_woken_a_little_late_or_after_no_certain_time_is_no_suspension() {
        let mut clock = set_before(5_000_000);
        clock.set(Some(Duration::ZERO));
        assert_eq!(clock.lost(), 0);
        let mut clock = set_before(WHILE);
        clock.set(None);
        assert_eq!(clock.lost(), 0);
    }

    #[test]
    fn time_stands_still_until_the_clock_is_set() {
        let clock = set_before(WHILE);
        assert_eq!(clock.now(), Time(clock.set));
    }
}
