//! How the workers have died: counted by cause for each pool, remembered for each slot.
//!
//! Owns the words under which deaths are counted: few, whatever a dying worker says. Never decides what a death means.

use std::collections::{BTreeMap, HashMap};

use super::notes;
use crate::decide::event::{Cause, Note, PoolId};

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Obituaries {
    by_cause: HashMap<PoolId, BTreeMap<String, u64>>,
    by_slot: HashMap<(PoolId, u32), String>,
}

impl Obituaries {
    /// Takes down what the note says, if it is about a death.
    pub(super) fn record(&mut self, note: &Note) {
        if let Note::WorkerDied { worker, cause, .. } = note {
            let causes = self.by_cause.entry(worker.pool).or_default();
            *causes.entry(kind(cause)).or_default() += 1;
            self.by_slot.insert((worker.pool, worker.slot), notes::cause(cause));
        }
    }

    /// How many workers of a pool have died, by cause.
    pub(super) fn of(&self, pool: PoolId) -> BTreeMap<String, u64> {
        self.by_cause.get(&pool).cloned().unwrap_or_default()
    }

    /// Why the last worker of a slot died.
    pub(super) fn last(&self, pool: PoolId, slot: u32) -> Option<&str> {
        self.by_slot.get(&(pool, slot)).map(String::as_str)
    }
}

/// The cause without what is different every time.
fn kind(cause: &Cause) -> String {
    match cause {
        Cause::BootRefused(_) => "boot failed".into(),
        Cause::NotStarted(_) => "not started".into(),
        other => notes::cause(other),
    }
}
