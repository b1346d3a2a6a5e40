//! The numbers of a pool's configuration that decisions are made by.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::scale::Scaling;

/// What bounds the workers of one pool, and how many there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// How the number of workers is chosen.
    pub scaling: Scaling,
    /// How long a template may load, and a worker may take from the order to being ready.
    pub boot_timeout: Duration,
    /// How much longer than its deadline a request may run before its worker is killed.
    pub kill_grace: Duration,
    /// How long one that leaves, or is left behind by a stop, may still be there.
    pub stop_timeout: Duration,
    /// How long the pool goes on accepting once a stop has begun.
    pub drain_delay: Duration,
    /// How many workers beyond the wanted number there may be while some are replaced, as a share of that number in
    /// percent; at least one.
    pub surge: u32,
    /// How long a new generation is watched before the old one is let go.
    pub settle: Duration,
    /// Whether a command must succeed before a template of a new edition is started.
    pub prepare: bool,
    /// How many requests a worker serves; `None`: any number.
    pub max_requests: Option<Bound<u64>>,
    /// How long a worker lives; `None`: for ever.
    pub max_age: Option<Bound<Duration>>,
    /// How many bytes of its own a worker may have before it is replaced; `None`: any number.
    pub max_memory: Option<u64>,
    /// How many bytes of its own a worker may have before it is killed; `None`: any number.
    pub max_memory_hard: Option<u64>,
    /// What becomes of the daemon when the pool has failed.
    pub on_failure: OnFailure,
}

/// A limit that differs from worker to worker, so that they do not all reach it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound<T> {
    /// What no worker goes beyond.
    pub most: T,
    /// By how much, in percent, one may be less at most.
    pub jitter: u32,
}

/// What becomes of the daemon when a pool has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnFailure {
    /// The others serve on, and the pool is tried again.
    #[default]
    Stay,
    /// The daemon stops, and says by its exit status that it failed.
    Exit,
}

impl Limits {
    /// How many workers there may be beside `wanted` ones while some are replaced.
    pub fn surge_of(&self, wanted: u32) -> u32 {
        (u64::from(wanted) * u64::from(self.surge)).div_ceil(100).clamp(1, u64::from(u32::MAX)) as u32
    }
}

impl Bound<u64> {
    /// The limit of one worker: at least 1.
    pub fn draw(self, rng: &mut fastrand::Rng) -> u64 {
        let span = u128::from(self.most) * u128::from(self.jitter.min(100)) / 100;
        self.most.saturating_sub(rng.u64(0..=span as u64)).max(1)
    }
}

impl Bound<Duration> {
    /// The limit of one worker.
    pub fn draw(self, rng: &mut fastrand::Rng) -> Duration {
        self.most.mul_f64(1.0 - f64::from(self.jitter.min(100)) / 100.0 * rng.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(surge: u32) -> Limits {
        Limits {
            scaling: Scaling::Static { workers: 1 },
            boot_timeout: Duration::ZERO,
            kill_grace: Duration::ZERO,
            stop_timeout: Duration::ZERO,
            drain_delay: Duration::ZERO,
            surge,
            settle: Duration::ZERO,
            prepare: false,
            max_requests: None,
            max_age: None,
            max_memory: None,
            max_memory_hard: None,
            on_failure: OnFailure::Stay,
        }
    }

    #[test]
    fn the_surge_is_a_share_rounded_up_and_never_nobody() {
        let of = |percent, wanted| limits(percent).surge_of(wanted);
        assert_eq!([of(25, 4), of(25, 5), of(25, 32), of(100, 7)], [1, 2, 8, 7]);
        assert_eq!([of(25, 0), of(0, 8), of(1, 1)], [1, 1, 1]);
        assert_eq!(of(u32::MAX, u32::MAX), u32::MAX);
    }

    #[test]
    fn nobody_goes_beyond_the_limit_nor_below_its_jitter_and_not_all_reach_it_at_once() {
        let mut rng = fastrand::Rng::with_seed(1);
        let requests = Bound { most: 1000, jitter: 10 };
        let drawn: Vec<u64> = (0..1000).map(|_| requests.draw(&mut rng)).collect();
        assert!(drawn.iter().all(|limit| (900..=1000).contains(limit)), "{drawn:?}");
        assert!(drawn.iter().any(|limit| *limit != drawn[0]));
        let age = Bound { most: Duration::from_secs(100), jitter: 10 };
        for _ in 0..1000 {
            let drawn = age.draw(&mut rng);
            assert!((Duration::from_secs(90)..=age.most).contains(&drawn), "{drawn:?}");
        }
    }

    #[test]
    fn without_jitter_the_limit_is_exact_and_it_is_never_no_request_at_all() {
        let mut rng = fastrand::Rng::with_seed(1);
        for most in [1, 2, 50, u64::MAX] {
            assert_eq!(Bound { most, jitter: 0 }.draw(&mut rng), most);
        }
        for jitter in [100, u32::MAX] {
            assert!((0..100).all(|_| (1..=3).contains(&Bound { most: 3, jitter }.draw(&mut rng))));
        }
        assert_eq!(Bound { most: 0, jitter: 0 }.draw(&mut rng), 1);
    }
}
