//! How many workers a pool has: always the same, or as many as the load asks for.
//!
//! Owns the three ways (php-fpm's, by its words), which keys belong to which, and every default that is worked out
//! from other keys. Never counts a worker and never starts one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Pool;
use super::document::Mistake;

/// No pool has more workers.
pub(super) const MOST_WORKERS: u32 = 1000;

/// What decides the number of workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// `workers`, always.
    #[default]
    Static,
    /// `workers` at the start, then as many as keep from `min_spare` to `max_spare` of them idle.
    Dynamic,
    /// None at the start; one more where a connection waits, one less where a worker is idle for `idle_timeout`.
    Ondemand,
}

impl Scaling {
    fn word(self) -> &'static str {
        match self {
            Scaling::Static => "static",
            Scaling::Dynamic => "dynamic",
            Scaling::Ondemand => "ondemand",
        }
    }
}

/// How many workers a pool has, with every default worked out. In a valid configuration
/// `min_workers <= workers <= max_workers`, and `min_spare <= max_spare <= max_workers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headcount {
    /// What decides.
    pub scaling: Scaling,
    /// Workers at the start; of a static pool always.
    pub workers: u32,
    /// Never fewer; of a static pool `workers`.
    pub min_workers: u32,
    /// Never more, but for those that replace others for a while (`surge`); of a static pool `workers`.
    pub max_workers: u32,
    /// With fewer idle ones a dynamic pool grows; otherwise 0.
    pub min_spare: u32,
    /// With more idle ones a dynamic pool shrinks; otherwise `max_workers`.
    pub max_spare: u32,
    /// How long a worker of an ondemand pool is idle before it goes.
    pub idle_timeout: Duration,
    /// The most workers that are started at once to grow.
    pub spawn_rate: u32,
}

impl Pool {
    /// How many workers this pool has. What is not given is worked out from what is, so that it contradicts nothing.
    pub fn headcount(&self) -> Headcount {
        let usual = self.workers.unwrap_or_else(usual_workers);
        let given = [self.min_workers, self.workers, self.min_spare, self.max_spare].into_iter().flatten().max();
        let max_workers =
            self.max_workers.unwrap_or_else(|| usual.saturating_mul(4).min(MOST_WORKERS).max(given.unwrap_or(0)));
        let rest = Headcount {
            scaling: self.scaling,
            workers: usual,
            min_workers: usual,
            max_workers: usual,
            min_spare: 0,
            max_spare: usual,
            idle_timeout: self.idle_timeout.unwrap_or(Duration::from_secs(10)),
            spawn_rate: self.spawn_rate.unwrap_or(32),
        };
        match self.scaling {
            Scaling::Static => rest,
            Scaling::Dynamic => {
                let min_workers = self.min_workers.unwrap_or(1);
                let most_spare = self.max_spare.unwrap_or(max_workers);
                let min_spare = self.min_spare.unwrap_or_else(|| (max_workers / 8).max(1).min(most_spare));
                let max_spare = self.max_spare.unwrap_or_else(|| min_spare.saturating_mul(2).min(max_workers));
                let middle = min_spare.midpoint(max_spare).max(min_workers).min(max_workers);
                let workers = self.workers.unwrap_or(middle);
                Headcount { workers, min_workers, max_workers, min_spare, max_spare, ..rest }
            }
            Scaling::Ondemand => Headcount { workers: 0, min_workers: 0, max_workers, max_spare: max_workers, ..rest },
        }
    }

    /// What is wrong with the keys of scaling, taken together.
    pub(super) fn scaling_contradictions(&self) -> Vec<Mistake> {
        let path = self.path();
        let mistake = |key: &str, message: String| Mistake::new(&format!("{path}.{key}"), message);
        let strangers = self.strangers().map(|(key, message)| {
            // Were `scaling` mistaken, this would be a guess.
            mistake(key, message).unless_about(&format!("{path}.scaling"))
        });
        let inversions = self.inversions().map(|(low, least, high, most)| {
            mistake(low, format!("{least} is above {high}, which is {most}: lower it, or raise {high}"))
        });
        strangers.chain(inversions).collect()
    }

    /// The keys that are given and mean nothing in this way of scaling, each with what would be right.
    fn strangers(&self) -> impl Iterator<Item = (&'static str, String)> {
        use Scaling::{Dynamic, Ondemand, Static};
        let mine = self.scaling;
        let keys: [(&str, bool, &[Scaling]); 7] = [
            ("workers", self.workers.is_some(), &[Static, Dynamic]),
            ("min_workers", self.min_workers.is_some(), &[Dynamic]),
            ("max_workers", self.max_workers.is_some(), &[Dynamic, Ondemand]),
            ("min_spare", self.min_spare.is_some(), &[Dynamic]),
            ("max_spare", self.max_spare.is_some(), &[Dynamic]),
            ("idle_timeout", self.idle_timeout.is_some(), &[Ondemand]),
            ("spawn_rate", self.spawn_rate.is_some(), &[Dynamic, Ondemand]),
        ];
        keys.into_iter().filter(move |(_, given, homes)| *given && !homes.contains(&mine)).map(
            move |(key, _, homes)| {
                let quoted: Vec<String> = homes.iter().map(|home| format!("\"{}\"", home.word())).collect();
                let homes = quoted.join(" or ");
                let instead = match mine {
                    Ondemand if key == "workers" => "write max_workers instead".to_owned(),
                    _ => format!("remove it, or write scaling = {homes}"),
                };
                (key, format!("belongs to scaling {homes}, and this pool's is \"{}\": {instead}", mine.word()))
            },
        )
    }

    /// The pairs that stand the wrong way round: the key that is too high and its value, the key above it and its.
    fn inversions(&self) -> impl Iterator<Item = (&'static str, u32, &'static str, u32)> {
        let workers = self.workers.filter(|_| self.scaling == Scaling::Dynamic);
        let (min, max) = (self.min_workers, self.max_workers);
        [
            ("min_workers", min, "max_workers", max),
            ("min_workers", min, "workers", workers),
            ("workers", workers, "max_workers", max),
            ("min_spare", self.min_spare, "max_spare", self.max_spare),
            ("min_spare", self.min_spare, "max_workers", max),
            ("max_spare", self.max_spare, "max_workers", max),
        ]
        .into_iter()
        .filter_map(|(low, least, high, most)| Some((low, least?, high, most?)))
        .filter(|(_, least, _, most)| least > most)
    }
}

/// Blocking workers wait more than they compute: two per CPU, and a few where there is only one.
pub(super) fn usual_workers() -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    u32::try_from(2 * cpus).unwrap_or(u32::MAX).clamp(4, MOST_WORKERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_number_of_workers_is_at_least_four() {
        assert!((4..=1000).contains(&usual_workers()));
    }

    fn numbers(pool: &Pool) -> [u32; 5] {
        let Headcount { workers, min_workers, max_workers, min_spare, max_spare, .. } = pool.headcount();
        [workers, min_workers, max_workers, min_spare, max_spare]
    }

    #[test]
    fn a_static_pool_has_its_workers_and_no_others() {
        assert_eq!(numbers(&Pool { workers: Some(7), ..Pool::default() }), [7, 7, 7, 0, 7]);
        assert_eq!(Pool::default().headcount().workers, usual_workers());
    }

    #[test]
    fn an_ondemand_pool_starts_with_none() {
        let pool = Pool { scaling: Scaling::Ondemand, max_workers: Some(5), ..Pool::default() };
        assert_eq!(numbers(&pool), [0, 0, 5, 0, 5]);
    }

    #[test]
    fn a_dynamic_pool_starts_in_the_middle_of_its_spares_unless_told() {
        let pool = Pool { scaling: Scaling::Dynamic, ..Pool::default() };
        for (given, expected) in [
            (Pool { max_workers: Some(32), ..pool.clone() }, [6, 1, 32, 4, 8]),
            (Pool { workers: Some(8), ..pool.clone() }, [8, 1, 32, 4, 8]),
            (Pool { max_workers: Some(1), ..pool.clone() }, [1, 1, 1, 1, 1]),
            (Pool { max_workers: Some(10), min_workers: Some(6), ..pool.clone() }, [6, 6, 10, 1, 2]),
            (Pool { max_workers: Some(32), max_spare: Some(2), ..pool.clone() }, [2, 1, 32, 2, 2]),
            (Pool { workers: Some(1), min_spare: Some(10), ..pool.clone() }, [1, 1, 10, 10, 10]),
            (Pool { workers: Some(1000), ..pool.clone() }, [1000, 1, 1000, 125, 250]),
        ] {
            assert_eq!(numbers(&given), expected);
        }
    }

    #[test]
    fn what_is_worked_out_contradicts_nothing_that_is_given() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut sound = 0;
        for _ in 0..20_000 {
            let mut some = |least: u32| random.bool().then(|| random.u32(least..=1 + 10 * least.max(1)));
            let pool = Pool {
                name: "web".into(),
                scaling: Scaling::Dynamic,
                workers: some(1),
                min_workers: some(1),
                max_workers: some(1),
                min_spare: some(1),
                max_spare: some(1),
                ..Pool::default()
            };
            if pool.scaling_contradictions().is_empty() {
                let count = pool.headcount();
                assert!(count.min_workers <= count.workers && count.workers <= count.max_workers, "{pool:?} {count:?}");
                assert!(
                    count.min_spare <= count.max_spare && count.max_spare <= count.max_workers,
                    "{pool:?} {count:?}"
                );
                sound += 1;
            }
        }
        assert!(sound > 1_000, "{sound}");
    }
}
