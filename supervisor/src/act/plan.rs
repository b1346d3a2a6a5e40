//! What the deciding half is told of a pool's configuration: the same numbers in its own words.

use crate::config::{self, Headcount};
use crate::decide::event::{Plan, PoolId};
use crate::decide::limits::{Bound, Limits, OnFailure};
use crate::decide::scale::Scaling;

/// The plan for a pool of this configuration.
pub(super) fn plan(pool: PoolId, config: &config::Pool) -> Plan {
    let limits = Limits {
        scaling: scaling(&config.headcount()),
        boot_timeout: config.boot_timeout,
        kill_grace: config.kill_grace,
        stop_timeout: config.stop_timeout,
        drain_delay: config.drain_delay,
        surge: config.surge.0,
        settle: config.settle,
        prepare: config.prepare.is_some(),
        max_requests: config.max_requests.map(|most| Bound { most: most.into(), jitter: config.max_requests_jitter.0 }),
        max_age: config.max_age.map(|most| Bound { most, jitter: config.max_age_jitter.0 }),
        max_memory: config.max_memory,
        max_memory_hard: config.max_memory_hard,
        on_failure: match config.on_failure {
            config::OnFailure::Stay => OnFailure::Stay,
            config::OnFailure::Exit => OnFailure::Exit,
        },
    };
    Plan { pool, limits }
}

fn scaling(count: &Headcount) -> Scaling {
    match count.scaling {
        config::Scaling::Static => Scaling::Static { workers: count.workers },
        config::Scaling::Dynamic => Scaling::Dynamic {
            start: count.workers,
            min: count.min_workers,
            max: count.max_workers,
            min_spare: count.min_spare,
            max_spare: count.max_spare,
            spawn_rate: count.spawn_rate,
        },
        config::Scaling::Ondemand => {
            Scaling::OnDemand { max: count.max_workers, idle_timeout: count.idle_timeout, spawn_rate: count.spawn_rate }
        }
    }
}
