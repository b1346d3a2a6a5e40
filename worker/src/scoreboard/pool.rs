//! What concerns a pool as a whole: how many of its slots are in use, and what its listeners may still yield.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use super::{Outage, SLOTS, Scoreboard};

/// How many listeners a pool can have.
pub const LISTENERS: usize = 64;

/// See the module's header.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct PoolCell {
    slots: AtomicU64,
    pub(super) database_counted: AtomicU32,
    /// The database's, as all workers have met it.
    pub(crate) database_outage: Outage,
    /// Lines that workers could not write.
    pub(crate) log_lines_lost: AtomicU64,
    /// Per listener, how many connections its queue may still yield to draining workers.
    quota: [AtomicU64; LISTENERS],
}

impl Scoreboard {
    /// Says how many slots, from the first, can have a worker: before the first of them is forked.
    pub fn set_slots(&self, slots: u32) {
        self.pool.slots.store(slots.into(), SeqCst);
    }

    /// How many slots, from the first, can have a worker.
    pub fn slots(&self) -> usize {
        self.pool.slots.load(SeqCst).min(SLOTS as u64) as usize
    }

    /// How many lines of its log the workers could not write, ever.
    pub fn log_lines_lost(&self) -> u64 {
        self.pool.log_lines_lost.load(SeqCst)
    }

    /// So many lines are lost that a dead worker would have written.
    pub fn lose_log_lines(&self, lines: u64) {
        self.pool.log_lines_lost.fetch_add(lines, SeqCst);
    }

    /// Takes one connection from what the queue of `listener` may still yield; false if nothing is left.
    pub fn take_quota(&self, listener: usize) -> bool {
        let Some(quota) = self.pool.quota.get(listener) else {
            return false;
        };
        quota.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    /// Gives back what was taken and could not be used.
    pub fn return_quota(&self, listener: usize) {
        if let Some(quota) = self.pool.quota.get(listener) {
            quota.fetch_add(1, SeqCst);
        }
    }

    /// Says how many connections the queue of `listener` may still yield.
    pub fn set_quota(&self, listener: usize, connections: u64) {
        if let Some(quota) = self.pool.quota.get(listener) {
            quota.store(connections, SeqCst);
        }
    }

    /// How many connections the queue of `listener` may still yield.
    pub fn quota(&self, listener: usize) -> u64 {
        self.pool.quota.get(listener).map_or(0, |quota| quota.load(SeqCst))
    }
}
