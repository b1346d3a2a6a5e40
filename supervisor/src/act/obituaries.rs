//! What has befallen each pool: deaths by cause and for each slot the last one, and how often it was too small.
//!
//! Owns the words under which deaths are counted: few, whatever a dying worker says. Never decides what a death means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decide::cause::Cause;
use crate::decide::event::PoolId;
use crate::decide::note::Note;

/// See the module's header.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Obituaries(BTreeMap<PoolId, Obituary>);

/// What has befallen one pool.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Obituary {
    deaths: BTreeMap<String, u64>,
    /// The last one of each slot.
    last: BTreeMap<u32, String>,
    max_children_reached: u64,
}

impl Obituaries {
    /// Takes down what the note says, if it is about a death or about a pool that is too small.
    pub(super) fn record(&mut self, note: &Note) {
        match note {
            Note::WorkerDied { worker, cause, .. } => {
                let pool = self.0.entry(worker.pool).or_default();
                *pool.deaths.entry(kind(cause)).or_default() += 1;
                pool.last.insert(worker.slot, cause.to_string());
            }
            Note::MaxChildrenReached { pool, .. } => self.0.entry(*pool).or_default().max_children_reached += 1,
            _ => {}
        }
    }

    /// How many workers of a pool have died, by cause.
    pub(super) fn of(&self, pool: PoolId) -> BTreeMap<String, u64> {
        self.0.get(&pool).map(|pool| pool.deaths.clone()).unwrap_or_default()
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
fn kind(cause: &Cause) -> String {
    match cause {
        Cause::BootFailed(_) => "boot failed".into(),
        Cause::NotStarted(_) => "not started".into(),
        other => other.to_string(),
    }
}
