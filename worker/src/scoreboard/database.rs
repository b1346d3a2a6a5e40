//! What a slot's workers have done with their database.
//!
//! Written by the worker alone, read by anybody. The counters belong to the slot, what is open belongs to its worker.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Cell, Scoreboard, add};

/// Why a connection was given up in favour of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Stale {
    /// The server had closed it.
    Closed = 0,
    /// It was older than `max_lifetime`.
    Lifetime = 1,
    /// It had been idle for longer than `idle_timeout`.
    Idle = 2,
    /// Asked whether it works, it did not answer well.
    CheckFailed = 3,
    /// The reset after the last request failed.
    ResetFailed = 4,
    /// A request left it in no state to be used.
    Broken = 5,
}

impl Stale {
    /// Every cause there is.
    pub const ALL: [Stale; 6] =
        [Stale::Closed, Stale::Lifetime, Stale::Idle, Stale::CheckFailed, Stale::ResetFailed, Stale::Broken];

    /// Its name in the status and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Stale::Closed => "closed",
            Stale::Lifetime => "lifetime",
            Stale::Idle => "idle",
            Stale::CheckFailed => "check_failed",
            Stale::ResetFailed => "reset_failed",
            Stale::Broken => "broken",
        }
    }
}

/// The place for them in a cell.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Use {
    connects: AtomicU64,
    reconnects: [AtomicU64; Stale::ALL.len()],
    failures: AtomicU64,
    waits: AtomicU64,
    waited_longest: AtomicU64,
    exhausted: AtomicU64,
    leases: AtomicU64,
    open: AtomicU64,
}

impl Use {
    /// Nobody holds anything any more.
    pub(super) fn clear(&self) {
        self.open.store(0, Relaxed);
    }

    fn has_one_more(&self) {
        add(&self.open, 1);
    }

    fn has_one_less(&self) {
        self.open.store(self.open.load(Relaxed).saturating_sub(1), Relaxed);
    }
}

/// What was done with a database: by all workers of a slot, or of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseReading {
    /// Connections opened.
    pub connects: u64,
    /// How many of those took the place of a stale one, by the place of the cause in [`Stale::ALL`].
    pub reconnects: [u64; Stale::ALL.len()],
    /// Attempts to connect that failed.
    pub failures: u64,
    /// How often somebody had to wait for a connection.
    pub waits: u64,
    /// The longest of these waits, in nanoseconds.
    pub waited_longest: u64,
    /// How many of them were in vain.
    pub exhausted: u64,
    /// Connections taken over from another worker.
    pub leases: u64,
    /// Connections held open now.
    pub open: u64,
}

impl DatabaseReading {
    fn join(self, other: DatabaseReading) -> DatabaseReading {
        DatabaseReading {
            connects: self.connects.wrapping_add(other.connects),
            reconnects: std::array::from_fn(|cause| self.reconnects[cause].wrapping_add(other.reconnects[cause])),
            failures: self.failures.wrapping_add(other.failures),
            waits: self.waits.wrapping_add(other.waits),
            waited_longest: self.waited_longest.max(other.waited_longest),
            exhausted: self.exhausted.wrapping_add(other.exhausted),
            leases: self.leases.wrapping_add(other.leases),
            open: self.open.wrapping_add(other.open),
        }
    }
}

impl Scoreboard {
    /// Whether nobody of this pool has asked this before: whoever is the first looks how many connections the server takes.
    pub fn is_first_to_connect(&self) -> bool {
        self.pool.database_counted.swap(1, Relaxed) == 0
    }
}

/// The worker's pen, as for the rest of the cell.
impl Cell {
    /// A connection was opened, and is held.
    pub fn database_connected(&self) {
        add(&self.database.connects, 1);
        self.database.has_one_more();
    }

    /// A connection that was stale is given up, and a new one is about to take its place.
    pub fn database_reconnected(&self, why: Stale) {
        add(&self.database.reconnects[why as usize], 1);
    }

    /// An attempt to connect has failed.
    pub fn database_failed(&self) {
        add(&self.database.failures, 1);
    }

    /// A request has waited for a connection, for so many nanoseconds.
    pub fn database_waited(&self, nanos: u64) {
        let own = &self.database;
        add(&own.waits, 1);
        own.waited_longest.store(own.waited_longest.load(Relaxed).max(nanos), Relaxed);
    }

    /// No connection became free for a request that has waited for one.
    pub fn database_exhausted(&self) {
        add(&self.database.exhausted, 1);
    }

    /// A connection was taken over from another worker, and is held.
    pub fn database_leased(&self) {
        add(&self.database.leases, 1);
        self.database.has_one_more();
    }

    /// A connection is not held any more: closed, or let go for others.
    pub fn database_parted(&self) {
        self.database.has_one_less();
    }
}

/// Anybody's eyes.
impl Cell {
    /// What the workers of this slot have done with their database.
    pub fn database(&self) -> DatabaseReading {
        let own = &self.database;
        DatabaseReading {
            connects: own.connects.load(Relaxed),
            reconnects: std::array::from_fn(|cause| own.reconnects[cause].load(Relaxed)),
            failures: own.failures.load(Relaxed),
            waits: own.waits.load(Relaxed),
            waited_longest: own.waited_longest.load(Relaxed),
            exhausted: own.exhausted.load(Relaxed),
            leases: own.leases.load(Relaxed),
            open: own.open.load(Relaxed),
        }
    }
}

impl Scoreboard {
    /// What all workers there ever were have done with their database.
    pub fn database(&self) -> DatabaseReading {
        self.in_use().map(Cell::database).fold(DatabaseReading::default(), DatabaseReading::join)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::shared::Shared;

    #[test]
    fn a_pool_sums_what_its_slots_have_done_and_a_buried_worker_holds_nothing() {
        let board: Shared<Scoreboard> = Shared::create("test").unwrap();
        board.set_slots(2);
        let [first, second] = [0, 1].map(|slot| board.cell(slot).unwrap());
        first.database_connected();
        first.database_reconnected(Stale::Closed);
        first.database_connected();
        first.database_waited(3);
        first.database_waited(2);
        second.database_leased();
        second.database_failed();
        second.database_reconnected(Stale::Broken);
        second.database_waited(1);
        second.database_exhausted();
        let expected = DatabaseReading {
            connects: 2,
            reconnects: [1, 0, 0, 0, 0, 1],
            failures: 1,
            waits: 3,
            waited_longest: 3,
            exhausted: 1,
            leases: 1,
            open: 3,
        };
        assert_eq!(board.database(), expected);
        first.database_parted();
        second.database_parted();
        second.database_parted();
        assert_eq!(board.database().open, 1);
        first.clear();
        assert_eq!(board.database(), DatabaseReading { open: 0, ..expected });
    }

    #[test]
    fn every_cause_has_its_place() {
        for (place, cause) in Stale::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, place, "{}", cause.name());
        }
    }
}
