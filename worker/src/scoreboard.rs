//! The scoreboard: one piece of shared memory per pool, one cell per slot.
//!
//! A worker writes its own cell and nothing else; the supervisor writes a cell only while its slot has no worker
//! (before the fork, after the burial); anybody may read. There is no lock and no pointer in it, so a dying worker
//! cannot hurt it. Nothing keeps one that has gone astray from writing into other cells: so what is read here is
//! believed only as far as it does no harm. Counters belong to the slot and outlive its workers; the rest belongs to
//! the worker whose `life` stands in the cell.

mod cell;
mod database;
mod histogram;
mod leaving;
mod line;
mod outage;
mod pool;
#[cfg(test)]
mod scribbled;
mod state;
mod traffic;
mod words;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

pub use self::cell::{Cell, Reading};
pub use self::database::{DatabaseReading, Stale};
pub use self::histogram::{BUCKETS, Times};
pub use self::leaving::Left;
pub(crate) use self::leaving::Stand;
pub use self::line::LINE;
pub(crate) use self::outage::Outage;
pub use self::pool::{LISTENERS, PoolCell};
pub use self::state::State;
pub use self::traffic::{CLASSES, TrafficReading};
pub(crate) use self::words::INNERMOST;
pub use self::words::{LastWords, Why};

/// How many slots a pool can have: what `workers` may be, and room for replacements beside them.
pub const SLOTS: usize = 2048;

/// The shared memory of one pool.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Scoreboard {
    /// What concerns the pool as a whole.
    pub pool: PoolCell,
    /// One per slot.
    pub cells: [Cell; SLOTS],
}

impl Scoreboard {
    /// The cell of a slot; `None` beyond the last.
    pub fn cell(&self, slot: u32) -> Option<&Cell> {
        self.cells.get(slot as usize)
    }

    /// Requests begun, in all slots, by all workers there ever were.
    pub fn requests(&self) -> u64 {
        self.in_use().map(Cell::requests).fold(0, u64::wrapping_add)
    }

    /// The cells of the slots that can have a worker.
    fn in_use(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().take(self.slots())
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.in_use().filter(|cell| cell.state() != State::Vacant).count()
    }

    /// Whether another worker has nothing to do and clearly fewer connections than `connections`. A hint: it may be
    /// past before it is acted on.
    pub fn has_freer(&self, connections: usize) -> bool {
        self.idle().any(|theirs| theirs + 1 < connections)
    }

    /// How many connections a worker that has `connections` must give to the one with the fewest of all who have nothing to
    /// do, so that both have as many. A hint, too.
    pub fn surplus(&self, connections: usize) -> usize {
        self.idle().min().map_or(0, |theirs| connections.saturating_sub(theirs) / 2)
    }

    /// The connections of each worker that has nothing to do.
    fn idle(&self) -> impl Iterator<Item = usize> {
        let idle = self.in_use().filter(|cell| cell.state() == State::Idle);
        idle.map(|cell| cell.connections.load(Relaxed) as usize)
    }

    /// Whether another worker serves and has fewer connections than `most`. A hint, too.
    pub fn has_room(&self, most: usize) -> bool {
        let serves = |cell: &Cell| matches!(cell.state(), State::Idle | State::Busy | State::Deferred);
        self.in_use().any(|cell| (cell.connections.load(Relaxed) as usize) < most && serves(cell))
    }

    /// Reserves `more` bytes of temporary files for the worker of `cell`, unless the pool then exceeds `bound`.
    pub fn reserve_disk(&self, cell: &Cell, more: u64, bound: u64) -> bool {
        // Written first and counted afterwards: of two workers that ask at the same time at least one sees both.
        cell.body_disk.fetch_add(more, SeqCst);
        let total = self.in_use().fold(0u64, |sum, cell| sum.saturating_add(cell.body_disk.load(SeqCst)));
        if total > bound {
            cell.body_disk.fetch_sub(more, SeqCst);
            return false;
        }
        true
    }
}

/// For a counter's only writer: a load and a store, no locked instruction.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}
