//! What a death means for the next attempt: now, later, or only now and then.
//!
//! Owns the pauses of one seat (a slot's or the template's) and the pool's budget of failed boots. Never starts
//! anything, never knows who died: whether a death was ordered by a stop is its caller's question.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::Time;
use super::lifecycle::Death;

/// The second pause; the first is none. Short enough that a stumble is not an outage, long enough that a loop of it
/// costs little.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// No pause is longer, and a failed pool is tried this often: a repaired database must not wait for minutes.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Pauses differ by up to this part either way (never beyond [`LONGEST_PAUSE`]), so that seats that died together do
/// not come back together for ever.
pub const JITTER: f64 = 0.2;

/// One that was ready for this long did not die of how it started: its seat begins anew with no pause.
pub const STEADY: Duration = Duration::from_secs(10);

/// How long a failed boot is remembered.
pub const WINDOW: Duration = Duration::from_secs(60);

/// So many failed boots within [`WINDOW`] make a failed pool.
pub const BUDGET: usize = 10;

/// What is wrong when a process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It never got as far as being ready.
    FailedBoot,
    /// It had been ready for this long.
    Ended(Duration),
    /// It was no fault of its seat: the next may come at once.
    NoFault,
}

/// What this death means for the worker's slot.
pub fn meaning(death: &Death, now: Time) -> Meaning {
    match death.ready {
        _ if death.cause.is_expected() => Meaning::NoFault,
        None => Meaning::FailedBoot,
        Some(ready) => Meaning::Ended(now.since(ready)),
    }
}

/// What this death means for the template's seat. One that loads well and dies of the first fork order fails as
/// surely as one that does not load.
pub fn meaning_of_template(death: &Death, orders_lost: usize, now: Time) -> Meaning {
    match (death.ready, orders_lost) {
        (None, _) | (Some(_), 1..) => Meaning::FailedBoot,
        (Some(loaded), 0) => Meaning::Ended(now.since(loaded)),
    }
}

/// The pauses of one seat: none, then [`FIRST_PAUSE`] doubling to [`LONGEST_PAUSE`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// How long to wait after this death.
    pub fn pause(&mut self, meaning: Meaning, rng: &mut fastrand::Rng) -> Duration {
        match meaning {
            Meaning::NoFault => return Duration::ZERO,
            Meaning::Ended(ready_for) if ready_for >= STEADY => self.deaths = 0,
            Meaning::Ended(_) | Meaning::FailedBoot => {}
        }
        let before = self.deaths;
        self.deaths = self.deaths.saturating_add(1);
        let Some(doublings) = before.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE);
        pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * rng.f64()).min(LONGEST_PAUSE)
    }
}

/// Whether a pool still has boots to spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// It has: attempts are limited by each seat's own pauses only.
    Sound,
    /// It has not: one attempt at a time, and none before this moment, until a worker becomes ready.
    Failed {
        /// When the next attempt may be made.
        next: Time,
    },
}

/// What happened within the last [`WINDOW`].
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Recent {
    moments: VecDeque<Time>,
}

impl Recent {
    /// It has happened again.
    pub fn add(&mut self, now: Time) {
        self.moments.push_back(now);
        while self.moments.front().is_some_and(|&first| now.since(first) >= WINDOW) {
            self.moments.pop_front();
        }
    }

    /// How often it happened within the window that ends now.
    pub fn count(&self, now: Time) -> usize {
        self.moments.iter().filter(|&&moment| now.since(moment) < WINDOW).count()
    }
}

/// The failed boots of one pool within [`WINDOW`], and what they have made of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Budget {
    failures: Recent,
    health: Health,
}

/// Whether an event has changed a pool's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is what it was.
    None,
    /// It has just failed, or has just recovered.
    Turned,
}

impl Default for Budget {
    /// Nothing spent.
    fn default() -> Self {
        Budget { failures: Recent::default(), health: Health::Sound }
    }
}

impl Budget {
    /// Whether there is anything left.
    pub fn health(&self) -> Health {
        self.health
    }

    /// How many boots failed within the window that ends now.
    pub fn failures(&self, now: Time) -> u32 {
        u32::try_from(self.failures.count(now)).unwrap_or(u32::MAX)
    }

    /// A boot has failed.
    pub fn spend(&mut self, now: Time) -> Change {
        self.failures.add(now);
        let next = now.after(LONGEST_PAUSE);
        match self.health {
            Health::Sound if self.failures.count(now) < BUDGET => Change::None,
            Health::Sound => {
                self.health = Health::Failed { next };
                Change::Turned
            }
            Health::Failed { .. } => {
                self.health = Health::Failed { next };
                Change::None
            }
        }
    }

    /// A worker has become ready. A failed pool gets a whole new budget: with what is left of the old one, a single
    /// failure among the many attempts that follow would end the recovery.
    pub fn recover(&mut self) -> Change {
        match self.health {
            Health::Sound => Change::None,
            Health::Failed { .. } => {
                *self = Budget::default();
                Change::Turned
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cause::Cause;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn within(pause: Duration, expected: Duration) -> bool {
        let low = expected.mul_f64(1.0 - JITTER);
        let high = expected.mul_f64(1.0 + JITTER).min(LONGEST_PAUSE);
        (low..=high).contains(&pause)
    }

    #[test]
    fn the_first_retry_is_immediate_and_the_pauses_then_double_to_the_cap() {
        for seed in 0..100 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut backoff = Backoff::default();
            assert_eq!(backoff.pause(Meaning::FailedBoot, &mut rng), Duration::ZERO);
            for millis in [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
                let pause = backoff.pause(Meaning::FailedBoot, &mut rng);
                assert!(within(pause, Duration::from_millis(millis)), "seed {seed}: {pause:?} for {millis} ms");
            }
        }
    }

    #[test]
    fn a_thousand_deaths_do_not_overflow_the_pause() {
        let mut backoff = Backoff::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let last = (0..1000).map(|_| backoff.pause(Meaning::FailedBoot, &mut rng)).last();
        assert!(last.is_some_and(|pause| within(pause, LONGEST_PAUSE)), "{last:?}");
    }

    #[test]
    fn pauses_of_seats_that_died_together_differ() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut pauses: Vec<_> = (0..8)
            .map(|_| {
                let mut backoff = Backoff::default();
                backoff.pause(Meaning::FailedBoot, &mut rng);
                backoff.pause(Meaning::FailedBoot, &mut rng)
            })
            .collect();
        pauses.sort();
        pauses.dedup();
        assert_eq!(pauses.len(), 8);
    }

    #[test]
    fn only_a_worker_that_was_ready_for_long_enough_starts_its_slot_anew() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        let almost = STEADY - Duration::from_nanos(1);
        let pauses = [almost, almost, STEADY, almost].map(|served| backoff.pause(Meaning::Ended(served), &mut rng));
        assert_eq!([pauses[0], pauses[2]], [Duration::ZERO; 2]);
        assert!(within(pauses[1], FIRST_PAUSE) && within(pauses[3], FIRST_PAUSE), "{pauses:?}");
    }

    #[test]
    fn an_order_lost_with_its_template_costs_its_slot_nothing() {
        let lost = Death { cause: Cause::TemplateLost, ready: None };
        assert_eq!(meaning(&lost, Time(0)), Meaning::NoFault);
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        for meaning in [Meaning::NoFault, Meaning::NoFault, Meaning::FailedBoot] {
            assert_eq!(backoff.pause(meaning, &mut rng), Duration::ZERO);
        }
    }

    #[test]
    fn a_template_that_dies_with_orders_unfulfilled_has_failed_even_if_it_had_loaded() {
        let death = Death { cause: Cause::Exited(1), ready: Some(Time(0)) };
        assert_eq!(meaning_of_template(&death, 0, Time(SECOND)), Meaning::Ended(Duration::from_secs(1)));
        assert_eq!(meaning_of_template(&death, 3, Time(SECOND)), Meaning::FailedBoot);
        let unloaded = Death { ready: None, ..death };
        assert_eq!(meaning_of_template(&unloaded, 0, Time(SECOND)), Meaning::FailedBoot);
    }

    #[test]
    fn ten_failed_boots_within_a_minute_fail_the_pool_and_it_is_said_once() {
        let mut budget = Budget::default();
        let said: Vec<_> = (0..15).map(|second| budget.spend(Time(second * SECOND))).collect();
        let turned = said.iter().position(|change| *change == Change::Turned);
        assert_eq!(turned, Some(9));
        assert_eq!(said.iter().filter(|change| **change == Change::Turned).count(), 1);
        assert_eq!(budget.health(), Health::Failed { next: Time(44 * SECOND) });
    }

    #[test]
    fn ten_failed_boots_over_more_than_a_minute_do_not_fail_the_pool() {
        let mut budget = Budget::default();
        for n in 0..100 {
            assert_eq!(budget.spend(Time(n * 7 * SECOND)), Change::None);
        }
        assert_eq!(budget.failures(Time(99 * 7 * SECOND)), 9);
    }

    #[test]
    fn a_recovered_pool_has_its_whole_budget_again() {
        let mut budget = Budget::default();
        for _ in 0..BUDGET {
            budget.spend(Time(0));
        }
        assert_eq!([budget.recover(), budget.recover()], [Change::Turned, Change::None]);
        assert_eq!(budget.spend(Time(1)), Change::None);
        assert_eq!(budget.failures(Time(1)), 1);
    }
}
