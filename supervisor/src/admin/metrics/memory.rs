//! How much memory workers have, as `/proc` tells the admin process.
//!
//! What is resident costs the kernel nothing. What is a process's own costs it a walk through the process's pages, and is
//! told only to those who might trace it: so it is asked seldom, and never for long at a time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::weight;

/// How long a measured figure is good enough.
const FRESH: Duration = Duration::from_secs(10);
/// One that could not be renewed for want of time is told until then.
const STALE: Duration = Duration::from_secs(30);
/// How long one scrape measures.
const BUDGET: Duration = Duration::from_millis(20);

/// What was measured of late, by process.
#[derive(Debug, Default)]
pub(in crate::admin) struct Memory {
    measured: BTreeMap<i32, Measure>,
}

#[derive(Debug)]
struct Measure {
    at: Instant,
    bytes: Option<u64>,
}

/// What is known of one process, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight {
    /// All it has in memory.
    pub(super) resident: Option<u64>,
    /// What it shares with nobody.
    pub(super) private: Option<u64>,
}

impl Memory {
    /// How much these have, those for which there is no time as it was before.
    pub(super) fn weigh(&mut self, mut processes: Vec<i32>) -> BTreeMap<i32, Weight> {
        self.measured.retain(|pid, measure| processes.contains(pid) && measure.at.elapsed() < STALE);
        // Those whose figure is the oldest come first, those without one before all.
        processes.sort_by_key(|pid| self.measured.get(pid).map(|measure| measure.at));
        let begun = Instant::now();
        for pid in &processes {
            let is_fresh = self.measured.get(pid).is_some_and(|measure| measure.at.elapsed() < FRESH);
            if !is_fresh && begun.elapsed() < BUDGET {
                self.measured.insert(*pid, Measure { at: Instant::now(), bytes: weight::private(Pid::from_raw(*pid)) });
            }
        }
        let weight = |pid: i32| Weight {
            resident: weight::resident(Pid::from_raw(pid)),
            private: self.measured.get(&pid).and_then(|measure| measure.bytes),
        };
        processes.into_iter().map(|pid| (pid, weight(pid))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_our_own_is_weighed_and_one_that_is_not_there_is_not() {
        let ours = std::process::id().cast_signed();
        let mut memory = Memory::default();
        let weights = memory.weigh(vec![ours, i32::MAX]);
        let of = |pid| weights.get(&pid).map(|weight: &Weight| (weight.resident, weight.private));
        assert!(matches!(of(ours), Some((Some(all), Some(own))) if 0 < own && own <= all), "{weights:?}");
        assert_eq!(of(i32::MAX), Some((None, None)));
        memory.weigh(vec![ours]);
        assert_eq!(memory.measured.len(), 1);
    }
}
