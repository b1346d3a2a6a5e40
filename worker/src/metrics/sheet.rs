//! The shared memory in which the workers of a pool count what their application declares: a row for each slot.
//!
//! Which words of a row belong to which series the supervisor says. A worker writes its own row and no other; the
//! supervisor empties what has become nobody's. Nothing in it is a lock or a pointer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::scoreboard::SLOTS;

/// How many words a row has: enough for those of several generations, that differ in all of them.
pub const WORDS: usize = 4 * super::declaration::MOST_WORDS;

/// See the module's header. Pages that nobody has touched take no memory.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Sheet {
    rows: [Row; SLOTS],
}

/// What the workers of one slot have counted.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Row {
    words: [AtomicU64; WORDS],
}

impl Sheet {
    /// The row of a slot; `None` beyond the last.
    pub fn row(&self, slot: u32) -> Option<&Row> {
        self.rows.get(slot as usize)
    }
}

impl Row {
    /// A word; 0 beyond the last.
    pub fn read(&self, word: usize) -> u64 {
        self.words.get(word).map_or(0, |word| word.load(Relaxed))
    }

    /// For the supervisor: this word is nobody's any more.
    pub fn clear(&self, word: usize) {
        if let Some(word) = self.words.get(word) {
            word.store(0, Relaxed);
        }
    }

    /// Adds to a word that is a whole number. Atomically: the threads of an application may count, too.
    pub(super) fn add(&self, word: usize, more: u64) {
        if let Some(word) = self.words.get(word) {
            word.fetch_add(more, Relaxed);
        }
    }

    /// Sets a word that is a floating-point number.
    pub(super) fn set(&self, word: usize, value: f64) {
        if let Some(word) = self.words.get(word) {
            word.store(value.to_bits(), Relaxed);
        }
    }

    /// Adds to a word that is a floating-point number, atomically; what would not be finite is not added.
    pub(super) fn add_float(&self, word: usize, more: f64) {
        if let Some(word) = self.words.get(word) {
            let sum = |bits| Some(f64::from_bits(bits) + more).filter(|sum| sum.is_finite()).map(f64::to_bits);
            let _ = word.fetch_update(Relaxed, Relaxed, sum);
        }
    }
}
