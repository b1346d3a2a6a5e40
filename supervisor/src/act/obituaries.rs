//! What has befallen each pool: deaths by cause and for each slot the last one, the last that nobody wanted, and how
//! often it was too small.
//!
//! Owns the words under which deaths are counted: few, whatever a dying worker says. Never decides what a death means.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decide::cause::Cause;
use crate::decide::event::{PoolId, Time};
use crate::decide::note::Note;

/// How many deaths of a pool are remembered one by one: as many as a person reads.
const REMEMBERED: usize = 8;

/// See the module's header.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Obituaries(BTreeMap<PoolId, Obituary>);

/// What has befallen one pool.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Obituary {
    deaths: BTreeMap<String, u64>,
    /// The last one of each slot.
    last: BTreeMap<u32, String>,
    /// Those that nobody wanted, the newest first.
    unwanted: VecDeque<Death>,
    max_children_reached: u64,
}

/// A death, and what the worker was doing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Death {
    pub(super) at: Time,
    pub(super) slot: u32,
    pub(super) pid: Option<i32>,
    pub(super) generation: u32,
    pub(super) cause: String,
    pub(super) lived: Duration,
    /// The request it ran, and for how long.
    pub(super) request: Option<(String, Duration)>,
}

impl Obituaries {
    /// Takes down what the note says, if it is about a death or about a pool that is too small; `request` is what the dead
    /// was doing, and for how long.
    pub(super) fn record(&mut self, note: &Note, request: Option<(String, Duration)>, now: Time) {
        match note {
            Note::WorkerDied { worker, pid, generation, cause, lived, .. } => {
                let pool = self.0.entry(worker.pool).or_default();
                *pool.deaths.entry(kind(cause)).or_default() += 1;
                pool.last.insert(worker.slot, cause.to_string());
                if !cause.is_expected() && *cause != Cause::StoppedNow {
                    pool.unwanted.truncate(REMEMBERED - 1);
                    pool.unwanted.push_front(Death {
                        at: now,
                        slot: worker.slot,
                        pid: pid.map(|pid| pid.0),
                        generation: generation.0,
                        cause: cause.to_string(),
                        lived: *lived,
                        request,
                    });
                }
            }
            Note::MaxChildrenReached { pool, .. } => self.0.entry(*pool).or_default().max_children_reached += 1,
            _ => {}
        }
    }

    /// The pool is no more.
    pub(super) fn forget(&mut self, pool: PoolId) {
        self.0.remove(&pool);
    }

    /// How many workers of a pool have died, by cause.
    pub(super) fn of(&self, pool: PoolId) -> BTreeMap<String, u64> {
        self.0.get(&pool).map(|pool| pool.deaths.clone()).unwrap_or_default()
    }

    /// The last deaths of a pool that nobody wanted, the newest first.
    pub(super) fn unwanted(&self, pool: PoolId) -> impl Iterator<Item = &Death> {
        self.0.get(&pool).into_iter().flat_map(|pool| &pool.unwanted)
    }

    /// How often a pool needed more workers than it may have.
    pub(super) fn max_children_reached(&self, pool: PoolId) -> u64 {
        self.0.get(&pool).map_or(0, |pool| pool.max_children_reached)
    }

    /// Why the last worker of a slot died.
    pub(super) fn last(&self, pool: PoolId, slot: u32) -> Option<&str> {
        self.0.get(&pool)?.last.get(&slot).map(String::as_str)
    }
}

/// The cause without what is different every time.
pub(super) fn kind(cause: &Cause) -> String {
    match cause {
        Cause::BootFailed(_) => "boot failed".into(),
        Cause::NotStarted(_) => "not started".into(),
        other => other.to_string(),
    }
}
