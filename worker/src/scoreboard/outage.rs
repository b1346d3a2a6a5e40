//! How long something cannot be reached, and when that is to be said: when it begins, every few seconds while it lasts, and
//! when it is over. Whoever shares one says it once for all.
//!
//! Written and read by anybody, in any order; what somebody who dies has begun costs a line of the log at most.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// So long nothing more is said of attempts that fail, in nanoseconds.
const SILENCE: u64 = 10_000_000_000;

/// See the module's header.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// When the first attempt failed; 0 if the last one has not.
    began: AtomicU64,
    /// How many have failed since.
    failures: AtomicU64,
    /// When that was last said.
    said: AtomicU64,
}

/// What is to be said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// Since the first attempt that failed, in nanoseconds.
    nanos: u64,
    /// How many attempts there were, the last one among them.
    pub(crate) attempts: u64,
}

impl Outage {
    /// An attempt has failed.
    pub(crate) fn goes_on(&self, now: u64) -> Option<Away> {
        let began = self.began.compare_exchange(0, now, SeqCst, SeqCst).map_or_else(|began| began, |_| now);
        let attempts = self.failures.fetch_add(1, SeqCst).wrapping_add(1);
        let said = self.said.load(SeqCst);
        let is_time = said == 0 || now.saturating_sub(said) >= SILENCE;
        let says = is_time && self.said.compare_exchange(said, now.max(began), SeqCst, SeqCst).is_ok();
        says.then(|| Away { nanos: now.saturating_sub(began), attempts })
    }

    /// One has succeeded. Of an outage that nothing was said of nothing is said now.
    pub(crate) fn is_over(&self, now: u64) -> Option<Away> {
        if self.began.load(SeqCst) == 0 {
            return None;
        }
        let (began, failures) = (self.began.swap(0, SeqCst), self.failures.swap(0, SeqCst));
        let was_said = began != 0 && self.said.load(SeqCst) >= began;
        was_said.then(|| Away { nanos: now.saturating_sub(began), attempts: failures.wrapping_add(1) })
    }
}

impl Away {
    /// The time, in words.
    pub(crate) fn time(&self) -> String {
        format!("{:.3}s", self.nanos as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn away(nanos: u64, attempts: u64) -> Option<Away> {
        Some(Away { nanos, attempts })
    }

    #[test]
    fn it_is_said_at_its_beginning_now_and_then_and_at_its_end() {
        let outage = Outage::default();
        assert_eq!(outage.is_over(1), None);
        assert_eq!(outage.goes_on(SECOND), away(0, 1));
        for second in 2..11 {
            assert_eq!(outage.goes_on(second * SECOND), None);
        }
        assert_eq!(outage.goes_on(11 * SECOND), away(10 * SECOND, 11));
        assert_eq!(outage.goes_on(12 * SECOND), None);
        assert_eq!(outage.is_over(13 * SECOND), away(12 * SECOND, 13));
        assert_eq!(outage.is_over(14 * SECOND), None);
    }

    /// As where the server takes some connections and refuses others.
    #[test]
    fn what_comes_and_goes_is_said_as_rarely_as_what_lasts() {
        let outage = Outage::default();
        assert_eq!(outage.goes_on(SECOND), away(0, 1));
        assert_eq!(outage.is_over(2 * SECOND), away(SECOND, 2));
        assert_eq!(outage.goes_on(3 * SECOND), None);
        assert_eq!(outage.is_over(4 * SECOND), None);
        assert_eq!(outage.goes_on(5 * SECOND), None);
        assert_eq!(outage.goes_on(11 * SECOND), away(6 * SECOND, 2));
        assert_eq!(outage.is_over(12 * SECOND), away(7 * SECOND, 3));
    }
}
