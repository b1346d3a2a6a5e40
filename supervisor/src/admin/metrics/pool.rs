//! How a pool stands: its workers, its generation, its health, its queues.

use super::page::{Kind, Number, Page};
use crate::control::status::{Health, Pool};

pub(super) fn write(page: &mut Page, pools: &[&Pool]) {
    page.family("ratoon_workers", Kind::Gauge, "Workers, by what they are at.", |samples| {
        for pool in pools {
            for (state, count) in [
                ("starting", pool.starting_processes),
                ("idle", pool.idle_processes),
                ("busy", pool.active_processes),
                ("retiring", pool.retiring_processes),
            ] {
                samples.add(&[("pool", &pool.pool), ("state", state)], count);
            }
        }
    });
    gauge(page, pools, "ratoon_workers_wanted", "Workers that there should be now.", |pool| {
        Some(pool.wanted_processes.into())
    });
    gauge(page, pools, "ratoon_workers_max", "The most workers there may be.", |pool| Some(pool.max_processes.into()));
    gauge(
        page,
        pools,
        "ratoon_generation",
        "The newest generation that has workers; absent without workers.",
        |pool| pool.generations.last().map(|generation| (*generation).into()),
    );
    gauge(page, pools, "ratoon_pool_failed", "1 while the pool has spent its budget of failed boots.", |pool| {
        Some((pool.health != Health::Sound).into())
    });
    gauge(
        page,
        pools,
        "ratoon_pool_retry_seconds",
        "Time until a pool that has failed is tried again; absent if it has not, or is being tried.",
        |pool| match pool.health {
            Health::Failed { retry_in_ms } => retry_in_ms.map(|millis| (millis as f64 / 1e3).into()),
            Health::Sound => None,
        },
    );
    page.family(
        "ratoon_listen_queue",
        Kind::Gauge,
        "Connections that wait to be accepted; absent if the kernel does not say.",
        |samples| {
            for (pool, listener) in pools.iter().flat_map(|pool| pool.listeners.iter().map(move |each| (pool, each))) {
                if let Some(waiting) = listener.listen_queue {
                    samples.add(&[("pool", &pool.pool), ("listener", &listener.address)], waiting);
                }
            }
        },
    );
    page.family("ratoon_listen_queue_limit", Kind::Gauge, "As many connections can wait.", |samples| {
        for (pool, listener) in pools.iter().flat_map(|pool| pool.listeners.iter().map(move |each| (pool, each))) {
            samples.add(&[("pool", &pool.pool), ("listener", &listener.address)], listener.listen_queue_len);
        }
    });
}

/// A family with one sample for each pool that has it.
fn gauge(page: &mut Page, pools: &[&Pool], name: &str, help: &str, value: impl Fn(&Pool) -> Option<Number>) {
    page.family(name, Kind::Gauge, help, |samples| {
        for pool in pools {
            if let Some(value) = value(pool) {
                samples.add(&[("pool", &pool.pool)], value);
            }
        }
    });
}
