//! Numbers in shared memory, and the sleep on one of them.
//!
//! All that several workers see of each other's doing passes through here, one step at a time and in one order for
//! all of them.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};

#[cfg(test)]
use super::tests::stage;

const SECOND: u64 = 1_000_000_000;

/// A number that all workers read and write.
#[repr(transparent)]
#[derive(Debug)]
pub(super) struct Word(AtomicU64);

impl Word {
    pub(super) fn get(&self) -> u64 {
        step();
        self.0.load(SeqCst)
    }

    pub(super) fn set(&self, value: u64) {
        step();
        self.0.store(value, SeqCst);
    }

    /// What it was, before it was made one more.
    pub(super) fn count(&self) -> u64 {
        step();
        self.0.fetch_add(1, SeqCst)
    }

    pub(super) fn raise_to(&self, value: u64) {
        step();
        self.0.fetch_max(value, SeqCst);
    }

    /// Changes it if it is what it was thought to be.
    pub(super) fn change(&self, from: u64, to: u64) -> bool {
        step();
        self.0.compare_exchange(from, to, SeqCst, SeqCst).is_ok()
    }

    /// What it is, or was a moment ago: in no order with anything else, and so as cheap as any load.
    pub(super) fn glance(&self) -> u64 {
        step();
        self.0.load(Relaxed)
    }
}

/// A number that one worker sleeps on, and others advance to wake it.
#[repr(transparent)]
#[derive(Debug)]
pub(super) struct Turn(AtomicU32);

impl Turn {
    pub(super) fn get(&self) -> u32 {
        step();
        self.0.load(SeqCst)
    }

    /// Sleeps while it is still `seen`, until `until`, in the clock's nanoseconds. It may end sooner. Whether the time
    /// is over.
    pub(super) fn sleep(&self, seen: u32, until: u64) -> bool {
        #[cfg(test)]
        if let Some(is_over) = stage::sleep(&self.0, seen, until) {
            return is_over;
        }
        // Saturated, it is centuries away.
        let until =
            Timespec { tv_sec: i64::try_from(until / SECOND).unwrap_or(i64::MAX), tv_nsec: (until % SECOND) as i64 };
        let slept = futex::wait_bitset(&self.0, Flags::empty(), seen, Some(&until), NonZeroU32::MAX);
        slept == Err(Errno::TIMEDOUT)
    }

    /// Whoever sleeps on it wakes; whoever is about to will not sleep.
    pub(super) fn advance(&self) {
        step();
        self.0.fetch_add(1, SeqCst);
        step();
        #[cfg(test)]
        stage::wake(&self.0);
        let _ = futex::wake(&self.0, Flags::empty(), 1);
    }
}

/// Here any other worker may come in between, and this one may die. A test decides which.
pub(super) fn step() {
    #[cfg(test)]
    stage::step();
}
