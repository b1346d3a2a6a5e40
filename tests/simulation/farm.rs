//! What the model world knows of one pool: its releases, which of them serves, and what is on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ratoon::decide::event::{Edition, Stop, Time};
use ratoon::decide::limits::{Bound, Limits, OnFailure};
use ratoon::decide::scale::Scaling;

use super::mood::Mood;

/// One edition of a pool.
#[derive(Debug, Clone)]
pub(super) struct Release {
    pub(super) limits: Limits,
    pub(super) mood: Mood,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Farm {
    pub(super) releases: BTreeMap<Edition, Release>,
    pub(super) serving: Edition,
    /// Which edition is tried.
    pub(super) trial: Option<Edition>,
    /// Which edition served before the one that is watched.
    pub(super) from: Option<Edition>,
    /// Editions of which a worker has been ready.
    pub(super) proven: BTreeSet<Edition>,
    /// Commands that run.
    pub(super) preparing: BTreeSet<Edition>,
    /// The newest generation that has loaded.
    pub(super) loaded: u32,
    pub(super) been_ready: bool,
    pub(super) ending: Option<(Stop, Time)>,
    /// Whether somebody has served the queue since the end began.
    pub(super) queue_served: bool,
    /// What part of the workers is busy; at 1 somebody waits.
    pub(super) traffic: f64,
}

impl Farm {
    pub(super) fn new(edition: Edition, release: Release) -> Farm {
        Farm {
            releases: BTreeMap::from([(edition, release)]),
            serving: edition,
            trial: None,
            from: None,
            proven: BTreeSet::new(),
            preparing: BTreeSet::new(),
            loaded: 0,
            been_ready: false,
            ending: None,
            queue_served: false,
            traffic: 0.0,
        }
    }

    /// The limits in force.
    pub(super) fn limits(&self) -> &Limits {
        &self.releases[&self.serving].limits
    }

    /// Whether processes of this edition may be there for good.
    pub(super) fn wants(&self, edition: Edition) -> bool {
        [Some(self.serving), self.trial, self.from].contains(&Some(edition))
    }
}

/// A pool of so many workers, without any other limit.
pub(super) fn limits(workers: u32) -> Limits {
    Limits {
        scaling: Scaling::Static { workers },
        boot_timeout: Duration::from_secs(5),
        kill_grace: Duration::from_secs(2),
        stop_timeout: Duration::from_secs(5),
        drain_delay: Duration::ZERO,
        surge: 25,
        settle: Duration::from_secs(10),
        prepare: false,
        max_requests: None,
        max_age: None,
        max_memory: None,
        max_memory_hard: None,
        on_failure: OnFailure::Stay,
    }
}

/// Any limits.
pub(super) fn random_limits(rng: &mut fastrand::Rng) -> Limits {
    let max = rng.u32(1..=12);
    let scaling = match rng.u8(0..5) {
        0 => {
            let min = rng.u32(1..=max);
            Scaling::Dynamic { start: max, min, max, min_spare: 1, max_spare: rng.u32(1..4), spawn_rate: 4 }
        }
        1 => Scaling::OnDemand { max, idle_timeout: Duration::from_millis(rng.u64(100..20_000)), spawn_rate: 4 },
        _ => Scaling::Static { workers: max },
    };
    let mut sometimes = |one_in: u8| rng.u8(0..one_in) == 0;
    let (prepare, ages, weighs, bursts, counts) =
        (sometimes(3), sometimes(3), sometimes(3), sometimes(3), sometimes(4));
    Limits {
        scaling,
        boot_timeout: Duration::from_millis(rng.u64(1_000..5_000)),
        kill_grace: Duration::from_millis(rng.choice([0, 1, 400, 2_000]).unwrap_or(0)),
        stop_timeout: Duration::from_millis(rng.u64(500..6_000)),
        drain_delay: Duration::ZERO,
        surge: rng.choice([1, 25, 50, 100]).unwrap_or(1),
        settle: Duration::from_millis(rng.choice([0, 1_000, 10_000]).unwrap_or(0)),
        prepare,
        max_requests: counts.then_some(Bound { most: 1, jitter: 0 }),
        max_age: ages.then(|| Bound { most: Duration::from_millis(rng.u64(5_000..100_000)), jitter: 10 }),
        max_memory: weighs.then_some(100),
        max_memory_hard: bursts.then_some(1_000),
        on_failure: OnFailure::Stay,
    }
}
