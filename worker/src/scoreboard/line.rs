//! The first bytes of a request line, in words of shared memory.
//!
//! Whoever reads while it is written sees parts of two lines: it is shown to people, and nothing depends on it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many bytes of a request line a cell keeps.
pub const LINE: usize = 128;

/// The first bytes of a request line.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Line {
    length: AtomicU64,
    bytes: [AtomicU64; LINE / 8],
}

impl Line {
    pub(super) fn write(&self, line: &[u8]) {
        let shown = line.len().min(LINE);
        for (word, bytes) in self.bytes.iter().zip(line[..shown].chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Relaxed);
        }
        self.length.store(shown as u64, Relaxed);
    }

    pub(super) fn copy(&self, other: &Line) {
        for (word, its) in self.bytes.iter().zip(&other.bytes) {
            word.store(its.load(Relaxed), Relaxed);
        }
        self.length.store(other.length.load(Relaxed), Relaxed);
    }

    pub(super) fn clear(&self) {
        self.length.store(0, Relaxed);
    }

    pub(super) fn read(&self) -> Vec<u8> {
        let mut line: Vec<u8> = self.bytes.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        line.truncate(self.length.load(Relaxed).min(LINE as u64) as usize);
        line
    }

    /// Whether it begins with these bytes, at most eight.
    pub(super) fn begins_with(&self, bytes: &[u8]) -> bool {
        self.bytes[0].load(Relaxed).to_ne_bytes().starts_with(bytes)
    }
}
