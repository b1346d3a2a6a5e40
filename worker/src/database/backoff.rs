//! When the server may be asked for a connection again after it could not be reached: each worker for itself, at moments
//! that its siblings do not share.

use crate::clock;

/// The first pause, in nanoseconds, before it is drawn.
const FIRST: u64 = 50_000_000;
/// The longest: a server that is back is found within this time.
const LONGEST: u64 = 1_000_000_000;

/// Pauses that grow with every failure.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    until: u64,
    /// Why the last attempt failed.
    pub(super) why: String,
}

impl Backoff {
    /// Whether it is too early for another attempt.
    pub(super) fn is_on(&self) -> bool {
        self.failures > 0 && clock::now() < self.until
    }

    /// An attempt has failed. `chance` is random, from 0 to 1.
    pub(super) fn failed(&mut self, why: String, chance: f64) {
        let pause = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures += 1;
        self.until = clock::now().saturating_add(pause / 2 + (pause as f64 / 2.0 * chance) as u64);
        self.why = why;
    }

    /// One has succeeded.
    pub(super) fn succeeded(&mut self) {
        *self = Backoff::default();
    }
}
