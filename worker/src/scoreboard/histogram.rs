//! Times, counted by their length: how many were so long, and how long all of them were together.
//!
//! Bucket `n` counts times of at most 2^n microseconds and more than half of that, the last one all that are longer: what
//! Prometheus calls `le` is exact, and to find a bucket is to count zeroes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::add;

/// How many buckets there are.
pub const BUCKETS: usize = 28;

/// The place for them in a cell.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Histogram {
    sum: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Histogram {
    /// One more, of so many nanoseconds. For its only writer: a load and a store each, no locked instruction.
    pub(super) fn observe(&self, nanos: u64) {
        add(&self.sum, nanos);
        let micros = nanos.saturating_sub(1) / 1000;
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        add(&self.buckets[bucket.min(BUCKETS - 1)], 1);
    }

    pub(super) fn read(&self) -> Times {
        Times { sum: self.sum.load(Relaxed), buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed)) }
    }
}

/// What it says: of all workers of a slot, or of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// All of them together, in nanoseconds.
    pub sum: u64,
    /// How many were so long: the last bucket has no upper bound.
    pub buckets: [u64; BUCKETS],
}

impl Times {
    /// The longest time that bucket `n` counts, in microseconds; `None` for the last.
    pub fn bound(bucket: usize) -> Option<u64> {
        (bucket + 1 < BUCKETS).then(|| 1 << bucket)
    }

    pub(super) fn join(&self, other: &Times) -> Times {
        Times {
            sum: self.sum.wrapping_add(other.sum),
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].wrapping_add(other.buckets[bucket])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_of(nanos: u64) -> usize {
        let histogram = Histogram { sum: AtomicU64::new(0), buckets: std::array::from_fn(|_| AtomicU64::new(0)) };
        histogram.observe(nanos);
        let read = histogram.read();
        assert_eq!(read.sum, nanos);
        read.buckets.iter().position(|count| *count == 1).unwrap_or(BUCKETS)
    }

    #[test]
    fn a_time_is_counted_by_the_smallest_bound_that_is_not_less() {
        for bucket in 0..BUCKETS - 1 {
            let bound = Times::bound(bucket).map_or(0, |micros| micros * 1000);
            assert_eq!(bucket_of(bound), bucket);
            assert_eq!(bucket_of(bound + 1), bucket + 1);
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(Times::bound(BUCKETS - 1), None);
    }
}
