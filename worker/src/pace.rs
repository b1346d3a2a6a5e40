//! How long handlers have lately taken.

/// A handler is slow, in nanoseconds, from here on: handing connections over costs some microseconds each, and a
/// client notices a millisecond.
pub(crate) const SLOW: u64 = 1_000_000;
/// One request moves the mean by this part of its distance.
const INERTIA: u64 = 8;

/// An exponential mean, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    mean: u64,
}

impl Pace {
    pub(crate) fn took(&mut self, time: u64) {
        self.mean = self.mean - self.mean / INERTIA + time / INERTIA;
    }

    pub(crate) fn is_slow(&self) -> bool {
        self.mean > SLOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_request_among_short_ones_is_forgotten_many_are_not() {
        let mut pace = Pace::default();
        assert!(!pace.is_slow());
        pace.took(20 * SLOW);
        assert!(pace.is_slow());
        (0..20).for_each(|_| pace.took(SLOW / 100));
        assert!(!pace.is_slow());
        (0..20).for_each(|_| pace.took(2 * SLOW));
        assert!(pace.is_slow());
    }
}
