//! The last three minutes of every pool, as far as somebody looked.
//!
//! Owns a bounded number of samples, taken from documents that were asked for anyway: nobody is asked for the sake of a
//! chart. Time is the supervisor's own, as the documents have it.

use std::collections::{BTreeMap, VecDeque};

use crate::control::Status;
use crate::control::status::Pool;

/// How far back it reaches, in milliseconds.
pub(super) const SPAN: u64 = 180_000;

/// Samples are at least so far apart, in milliseconds.
const STEP: u64 = 900;

/// Over what time requests are counted for a rate, and their durations for a percentile, in milliseconds: a second has too
/// few of them.
const RATE_WINDOW: u64 = 5_000;
const LATENCY_WINDOW: u64 = 15_000;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct History {
    pools: BTreeMap<String, VecDeque<Sample>>,
}

#[derive(Debug)]
struct Sample {
    at: u64,
    requests: u64,
    buckets: Vec<u64>,
    waiting: u32,
    active: u32,
}

/// A number over time: how many milliseconds ago, and the number; the oldest first.
pub(super) type Course = Vec<(u64, f64)>;

/// What can be drawn of a pool.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Courses {
    /// Requests a second.
    pub(super) rate: Course,
    /// Half of the requests took no longer, in seconds.
    pub(super) median: Course,
    /// Ninety-nine of a hundred requests took no longer, in seconds.
    pub(super) slowest: Course,
    /// Connections that waited for a worker.
    pub(super) waiting: Course,
    /// Workers that ran a request.
    pub(super) active: Course,
}

impl History {
    /// Takes a sample of every pool, unless the last one is too young.
    pub(super) fn learn(&mut self, status: &Status) {
        let now = status.start_since_ms;
        self.pools.retain(|name, _| status.pools.iter().any(|pool| pool.pool == *name));
        for pool in &status.pools {
            let samples = self.pools.entry(pool.pool.clone()).or_default();
            if samples.back().is_some_and(|last| now.saturating_sub(last.at) < STEP) {
                continue;
            }
            samples.push_back(Sample::of(pool, now));
            while samples.front().is_some_and(|first| now.saturating_sub(first.at) > SPAN) {
                samples.pop_front();
            }
        }
    }

    /// What is known of a pool until this document.
    pub(super) fn of(&self, pool: &Pool, now: u64) -> Courses {
        let mut courses = Courses::default();
        let Some(samples) = self.pools.get(&pool.pool) else {
            return courses;
        };
        for (index, sample) in samples.iter().enumerate() {
            let ago = now.saturating_sub(sample.at);
            courses.waiting.push((ago, f64::from(sample.waiting)));
            courses.active.push((ago, f64::from(sample.active)));
            if let Some(before) = earlier(samples, index, RATE_WINDOW) {
                let requests = sample.requests.saturating_sub(before.requests) as f64;
                courses.rate.push((ago, requests * 1000.0 / sample.at.saturating_sub(before.at).max(1) as f64));
            }
            if let Some(before) = earlier(samples, index, LATENCY_WINDOW) {
                let counts = sample.since(before);
                courses.median.extend(quantile(&counts, 0.5).map(|time| (ago, time)));
                courses.slowest.extend(quantile(&counts, 0.99).map(|time| (ago, time)));
            }
        }
        courses
    }
}

impl Sample {
    fn of(pool: &Pool, at: u64) -> Sample {
        Sample {
            at,
            requests: pool.traffic.requests,
            buckets: pool.traffic.request_duration.buckets.clone(),
            waiting: pool.listeners.iter().filter_map(|listener| listener.listen_queue).sum(),
            active: pool.active_processes,
        }
    }

    /// How many requests of each length have ended since.
    fn since(&self, before: &Sample) -> Vec<u64> {
        let before = before.buckets.iter().chain(std::iter::repeat(&0));
        self.buckets.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect()
    }
}

/// The first sample that is no further back than `window`; if there is none in it, the one before.
fn earlier(samples: &VecDeque<Sample>, index: usize, window: u64) -> Option<&Sample> {
    let at = samples.get(index)?.at;
    let first = samples.iter().take(index).find(|sample| at.saturating_sub(sample.at) <= window);
    first.or_else(|| samples.get(index.checked_sub(1)?))
}

/// The time, in seconds, that so large a part of the requests did not exceed; within a bucket all lengths are taken to be
/// as likely. `None` if there were no requests.
fn quantile(counts: &[u64], part: f64) -> Option<f64> {
    let all: f64 = counts.iter().map(|count| *count as f64).sum();
    let wanted = part * all;
    let mut seen = 0.0;
    for (power, count) in (0..).zip(counts) {
        let count = *count as f64;
        if count > 0.0 && seen + count >= wanted {
            let upper = 2_f64.powi(power);
            let lower = if power == 0 { 0.0 } else { upper / 2.0 };
            return Some((lower + (upper - lower) * ((wanted - seen) / count).clamp(0.0, 1.0)) / 1e6);
        }
        seen += count;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::specimen;
    use super::*;

    fn document(at: u64, requests: u64, buckets: Vec<u64>) -> Status {
        let mut status = specimen::status();
        status.start_since_ms = at;
        status.pools[0].traffic.requests = requests;
        status.pools[0].traffic.request_duration.buckets = buckets;
        status
    }

    #[test]
    fn a_rate_is_what_was_counted_over_the_time_it_took() {
        let mut history = History::default();
        for second in 0..10 {
            history.learn(&document(second * 1000, second * 40, Vec::new()));
        }
        let last = document(9000, 360, Vec::new());
        let courses = history.of(&last.pools[0], 9000);
        assert_eq!(courses.rate.len(), 9);
        assert!(courses.rate.iter().all(|(_, rate)| (*rate - 40.0).abs() < 0.001), "{courses:?}");
        assert_eq!(courses.rate.last().unwrap().0, 0);
        assert_eq!(courses.median, []);
    }

    #[test]
    fn it_remembers_three_minutes_however_often_it_is_told() {
        let mut history = History::default();
        for tenth in 0..10_000 {
            history.learn(&document(tenth * 100, 0, Vec::new()));
        }
        let samples = &history.pools["web"];
        assert!(samples.len() <= 201 && samples.len() >= 180, "{}", samples.len());
        history.learn(&Status { pools: Vec::new(), ..specimen::status() });
        assert!(history.pools.is_empty(), "a pool that is gone is forgotten");
    }

    #[test]
    fn a_percentile_lies_in_the_bucket_that_has_it() {
        assert_eq!(quantile(&[0, 0, 0], 0.5), None);
        // 90 of 513 to 1024 µs, 10 of 8.2 to 16.4 ms.
        let mut counts = vec![0; 16];
        (counts[10], counts[14]) = (90, 10);
        let median = quantile(&counts, 0.5).unwrap();
        assert!((0.000_512..=0.001_024).contains(&median), "{median}");
        let slowest = quantile(&counts, 0.99).unwrap();
        assert!((0.008_192..=0.016_384).contains(&slowest), "{slowest}");
    }

    #[test]
    fn a_counter_that_begins_anew_makes_no_negative_rate() {
        let mut history = History::default();
        history.learn(&document(0, 1000, vec![5]));
        history.learn(&document(1000, 10, vec![1]));
        let last = document(1000, 10, vec![1]);
        assert_eq!(history.of(&last.pools[0], 1000).rate, [(0, 0.0)]);
    }
}
