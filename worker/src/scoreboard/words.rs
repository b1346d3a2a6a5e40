//! A worker's last words: as a signal handler leaves them in its cell, and as they travel to whoever can name addresses.
//!
//! Written by the worker alone, while it is overdue or dying; read by the supervisor when it is told of either. They are
//! a copy: the cell goes on to the next request, what was said of the last one stays.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::line::Line;

/// How many return addresses are kept of a deep stack: the innermost, and …
pub(crate) const INNERMOST: usize = 40;
/// … the outermost.
const OUTERMOST: usize = 24;

const NOTHING: u32 = 0;
const OVERRAN: u32 = 1;
const SIGNALLED: u32 = 2;
const FAULTED: u32 = 3;
const OVERFLOWED: u32 = 4;

/// The place for last words in a cell.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Words {
    why: AtomicU32,
    signal: AtomicU32,
    address: AtomicU64,
    running: AtomicU64,
    deferred: AtomicU64,
    told: AtomicU64,
    line: Line,
    frames: AtomicU64,
    trace: [AtomicU64; INNERMOST + OUTERMOST],
}

/// Why a worker has spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its request ran beyond the deadline. It may live on.
    Overran,
    /// It was sent a signal that it dies of.
    Signal(i32),
    /// An instruction of its own raised the signal.
    Fault {
        /// The signal.
        signal: i32,
        /// What the instruction wanted of memory, or its own place.
        address: u64,
    },
    /// Its stack was used up; the signal that said so.
    StackOverflow(i32),
}

/// What a worker last said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWords {
    /// Why it spoke.
    pub why: Why,
    /// The first bytes of the request line; `None` if it ran no request.
    pub request: Option<String>,
    /// How long that had been running, in milliseconds.
    pub running: u64,
    /// Whether it had been answered, and ran what it had deferred.
    pub deferred: bool,
    /// How much it told its client, in bytes.
    pub told: u64,
    /// Where it stood, then the return addresses from the innermost outwards; at most 64, those in the middle left out.
    pub addresses: Vec<u64>,
    /// How many were left out, after the fortieth.
    pub omitted: u64,
}

impl Words {
    pub(super) fn forget(&self) {
        self.why.store(NOTHING, Release);
    }

    /// Says everything but where: `running` in nanoseconds, `told` in bytes. Until [`Words::finish`] there is nothing to read.
    pub(super) fn begin(&self, line: Option<&Line>, running: u64, deferred: bool, told: u64) {
        self.forget();
        match line {
            Some(line) => self.line.copy(line),
            None => self.line.clear(),
        }
        self.running.store(running, Relaxed);
        self.deferred.store(deferred.into(), Relaxed);
        self.told.store(told, Relaxed);
        self.frames.store(0, Relaxed);
    }

    /// Adds the next address; only the innermost and the outermost are kept.
    pub(super) fn add(&self, address: u64) {
        let count = self.frames.load(Relaxed);
        let place = count as usize;
        let place = if place < INNERMOST { place } else { INNERMOST + (place - INNERMOST) % OUTERMOST };
        self.trace[place].store(address, Relaxed);
        self.frames.store(count.wrapping_add(1), Relaxed);
    }

    pub(super) fn finish(&self, why: Why) {
        let (word, signal, address) = match why {
            Why::Overran => (OVERRAN, 0, 0),
            Why::Signal(signal) => (SIGNALLED, signal, 0),
            Why::Fault { signal, address } => (FAULTED, signal, address),
            Why::StackOverflow(signal) => (OVERFLOWED, signal, 0),
        };
        self.signal.store(signal as u32, Relaxed);
        self.address.store(address, Relaxed);
        self.why.store(word, Release);
    }

    pub(super) fn read(&self) -> Option<LastWords> {
        let word = self.why.load(Acquire);
        let signal = self.signal.load(Relaxed) as i32;
        let why = match word {
            OVERRAN => Why::Overran,
            SIGNALLED => Why::Signal(signal),
            FAULTED => Why::Fault { signal, address: self.address.load(Relaxed) },
            OVERFLOWED => Why::StackOverflow(signal),
            _ => return None,
        };
        let line = self.line.read();
        let total = self.frames.load(Relaxed);
        let omitted = total.saturating_sub(self.trace.len() as u64);
        let (inner, outer) = self.trace.split_at(INNERMOST);
        // Where the next of the outermost would have gone, the oldest of them is.
        let oldest = if omitted == 0 { 0 } else { ((total as usize).saturating_sub(INNERMOST)) % OUTERMOST };
        let (newer, older) = outer.split_at(oldest);
        let kept = inner.iter().chain(older).chain(newer).take(usize::try_from(total).unwrap_or(usize::MAX));
        Some(LastWords {
            why,
            request: (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned()),
            running: self.running.load(Relaxed) / 1_000_000,
            deferred: self.deferred.load(Relaxed) != 0,
            told: self.told.load(Relaxed),
            addresses: kept.map(|address| address.load(Relaxed)).collect(),
            omitted,
        })
    }
}

impl Why {
    /// Whether it is the worker's end.
    pub fn is_fatal(self) -> bool {
        self != Why::Overran
    }

    /// What more is known of a fault.
    pub fn detail(self) -> Option<String> {
        match self {
            Why::Overran | Why::Signal(_) => None,
            Why::Fault { address, .. } => Some(format!("{address:#x}")),
            Why::StackOverflow(_) => Some("stack overflow".into()),
        }
    }
}

/// In the words that causes of death have.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Overran => f.write_str("request timeout"),
            Why::Signal(signal) | Why::Fault { signal, .. } | Why::StackOverflow(signal) => {
                match Signal::try_from(*signal) {
                    Ok(signal) => write!(f, "signal {signal}"),
                    Err(_) => write!(f, "signal {signal}"),
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words() -> Words {
        let zero = || AtomicU64::new(0);
        Words {
            why: AtomicU32::new(0),
            signal: AtomicU32::new(0),
            address: zero(),
            running: zero(),
            deferred: zero(),
            told: zero(),
            line: Line::default(),
            frames: zero(),
            trace: std::array::from_fn(|_| zero()),
        }
    }

    #[test]
    fn of_a_deep_stack_both_ends_are_kept_in_order() {
        for depth in [0_u64, 1, 40, 63, 64, 65, 87, 88, 89, 1000] {
            let words = words();
            words.begin(None, 2_000_000, false, 0);
            (0..depth).for_each(|address| words.add(address));
            assert_eq!(words.read(), None);
            words.finish(Why::Overran);
            let read = words.read().unwrap();
            let expected: Vec<u64> = (0..depth).filter(|place| *place < 40 || *place + 24 >= depth).collect();
            assert_eq!((read.addresses.len() as u64 + read.omitted, read.running), (depth, 2));
            assert_eq!(read.addresses, expected, "{depth}");
        }
    }

    #[test]
    fn the_longest_words_fit_into_a_message() {
        let words = words();
        let line = Line::default();
        line.write(&[1; 128]);
        words.begin(Some(&line), u64::MAX, true, 0);
        (0..1000).for_each(|_| words.add(u64::MAX));
        words.finish(Why::Fault { signal: 11, address: u64::MAX });
        let order = crate::protocol::Order::Name { slot: u32::MAX, pid: i32::MIN, words: words.read().unwrap() };
        assert!(serde_json::to_vec(&order).unwrap().len() < crate::protocol::LONGEST);
    }
}
