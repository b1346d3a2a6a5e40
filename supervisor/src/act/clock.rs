//! The supervisor's own clock: `CLOCK_MONOTONIC` without the time during which it was suspended.
//!
//! Whoever is stopped together with the supervisor (by a signal to the group, a freezer, a paused machine) has lost that
//! time as well, and must not be killed for it: so every deadline is postponed by as much, once, and by nothing but the
//! clock that it is held against. Cells are written in the clock of all: here is what translates.

use std::time::Duration;

use ratoon_worker::clock;
use serde::{Deserialize, Serialize};

use crate::decide::event::Time;

/// Waking so much later than planned is no scheduler's doing.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// See the module's header.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Clock {
    /// When each suspension ended, in the clock of all, and how much was lost until then in all suspensions.
    suspensions: Vec<(u64, u64)>,
}

impl Clock {
    /// Now.
    pub(super) fn now(&self) -> Time {
        Time(clock::now().saturating_sub(self.lost()))
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

    /// We slept from `begun` until now, in the clock of all, and had meant to sleep no longer than `planned`.
    pub(super) fn woke(&mut self, begun: u64, planned: Duration) {
        let now = clock::now();
        let slept = Duration::from_nanos(now.saturating_sub(begun));
        if slept > planned.saturating_add(SUSPICIOUS) {
            tracing::warn!(seconds = slept.as_secs(), "suspended: all deadlines are postponed by as much");
            self.suspensions.push((now, self.lost().saturating_add(now.saturating_sub(begun))));
        }
    }

    fn lost(&self) -> u64 {
        self.suspensions.last().map_or(0, |(_, lost)| *lost)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_a_suspension_is_postponed_by_it_and_what_was_written_after_is_not() {
        let mut clock = Clock::default();
        let lost = Duration::from_secs(20);
        let nanos = u64::try_from(lost.as_nanos()).unwrap();
        let (slept, before) = (clock::now() - nanos, clock::now() - 2 * nanos);
        assert_eq!(clock.own(slept, before), Time(slept));
        clock.woke(slept, Duration::from_secs(1));
        let woken = clock::now();
        assert_eq!(clock.own(slept, before), Time(slept), "what was written before is held against the same moment");
        assert!(woken - clock.now().0 >= nanos - 1_000_000, "the time of the suspension was not taken away");
        // Due a second after it began: a second is left of it.
        assert!(clock.own(slept + 1_000_000_000, before).since(clock.now()) > Duration::from_millis(500));
        // Written after it: nothing is postponed.
        let left = clock.own(woken + 5_000_000_000, woken).since(clock.now());
        assert!(Duration::from_secs(4) < left && left <= Duration::from_secs(5), "{left:?}");
        assert!(clock.common(clock.now()) >= woken);
    }

    #[test]
    fn to_be_woken_a_little_late_is_no_suspension() {
        let mut clock = Clock::default();
        clock.woke(clock::now() - 5_000_000, Duration::ZERO);
        assert_eq!(clock.lost(), 0);
    }
}
