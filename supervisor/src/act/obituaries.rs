//! What has befallen each pool: deaths by cause and for each slot the last one, and how often it was too small.
//!
//! Owns the words under which deaths are counted: few, whatever a dying worker says. Never decides what a death means.

use std::collections::{BTreeMap, HashMap};

use crate::decide::cause::Cause;
use crate::decide::event::{Note, PoolId};

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Obituaries {
    by_cause: HashMap<PoolId, BTreeMap<String, u64>>,
    by_slot: HashMap<(PoolId, u32), String>,
    max_children: HashMap<PoolId, u64>,
}

impl Obituaries {
    /// Takes down what the note says, if it is about a death or about a pool that is too small.
    pub(super) fn record(&mut self, note: &Note) {
        if let Note::WorkerDied { worker, cause, .. } = note {
            let causes = self.by_cause.entry(worker.pool).or_default();
            *causes.entry(kind(cause)).or_default() += 1;
            self.by_slot.insert((worker.pool, worker.slot), cause.to_string());
        }
        if let Note::MaxChildrenReached { pool, .. } = note {
            *self.max_children.entry(*pool).or_default() += 1;
        }
    }

    /// How many workers of a pool have died, by cause.
    pub(super) fn of(&self, pool: PoolId) -> BTreeMap<String, u64> {
        self.by_cause.get(&pool).cloned().unwrap_or_default()
    }

    /// How often a pool needed more workers than it may have.
    pub(super) fn max_children_reached(&self, pool: PoolId) -> u64 {
        self.max_children.get(&pool).copied().unwrap_or(0)
    }

    /// Why the last worker of a slot died.
    pub(super) fn last(&self, pool: PoolId, slot: u32) -> Option<&str> {
        self.by_slot.get(&(pool, slot)).map(String::as_str)
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
