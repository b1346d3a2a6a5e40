//! A pool in miniature, closed to a loop with the policy: requests arrive, wait, are served by workers that take a while
//! to boot, and are counted. No process, no clock, the same course for the same seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;

const DYNAMIC: Scaling = Scaling::Dynamic { start: 4, min: 2, max: 64, min_spare: 2, max_spare: 4, spawn_rate: 16 };
const ON_DEMAND: Scaling = Scaling::OnDemand { max: 64, idle_timeout: Duration::from_secs(10), spawn_rate: 16 };
const MILLI: u64 = 1_000_000;
const BOOT: Duration = Duration::from_millis(40);

/// What arrives: requests a second at a moment, and how long each takes on the average.
struct Load {
    rate: fn(seconds: f64) -> f64,
    service: Duration,
}

struct Farm {
    scaler: Scaler,
    now: Time,
    idle: u32,
    busy: BinaryHeap<Reverse<Time>>,
    booting: VecDeque<Time>,
    queue: VecDeque<Time>,
    census: Option<Time>,
    waited: Duration,
    requests: u64,
    rng: fastrand::Rng,
    /// When the size changed, and to what.
    sizes: Vec<(Time, u32)>,
    /// When somebody first had to wait.
    first_wait: Option<Time>,
    /// How often max children was reached.
    reached: u32,
    censuses: u32,
}

impl Farm {
    fn new(scaling: Scaling, seed: u64) -> Self {
        let scaler = Scaler::new(scaling, Time(0));
        let mut farm = Farm {
            now: Time(0),
            idle: scaler.wanted(),
            busy: BinaryHeap::new(),
            booting: VecDeque::new(),
            queue: VecDeque::new(),
            census: scaler.tick().map(|tick| Time(0).after(tick)),
            waited: Duration::ZERO,
            requests: 0,
            rng: fastrand::Rng::with_seed(seed),
            sizes: vec![(Time(0), scaler.wanted())],
            first_wait: None,
            reached: 0,
            censuses: 0,
            scaler,
        };
        farm.serve(Duration::ZERO);
        farm
    }

    fn run(&mut self, load: &Load, span: Duration) {
        let end = self.now.after(span);
        let mut arrival = self.next_arrival(load, self.now);
        loop {
            let finish = self.busy.peek().map(|finish| finish.0);
            let boot = self.booting.front().copied();
            let next = [finish, boot, self.census].into_iter().flatten().fold(arrival.0, Time::min);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            if boot == Some(next) {
                self.booting.pop_front();
                self.idle += 1;
            } else if finish == Some(next) {
                self.busy.pop();
                self.idle += 1;
            } else if self.census == Some(next) {
                self.count();
            } else {
                if arrival.1 {
                    self.queue.push_back(next);
                }
                arrival = self.next_arrival(load, next);
                if self.census.is_none() && !self.queue.is_empty() {
                    self.count();
                }
            }
            self.serve(load.service);
        }
    }

    /// When, and whether it is more than a moment at which to look at the rate again.
    fn next_arrival(&mut self, load: &Load, now: Time) -> (Time, bool) {
        let rate = (load.rate)(now.0 as f64 / 1e9);
        let gap = -self.rng.f64().max(1e-12).ln() / rate;
        if gap > 0.1 { (Time(now.0 + 100 * MILLI), false) } else { (Time(now.0 + (gap * 1e9) as u64 + 1), true) }
    }

    fn serve(&mut self, service: Duration) {
        // Workers that are not wanted leave when they are idle.
        let all = self.idle + self.busy.len() as u32 + self.booting.len() as u32;
        self.idle -= self.idle.min(all.saturating_sub(self.scaler.wanted()));
        while self.idle > 0
            && let Some(arrived) = self.queue.pop_front()
        {
            let takes = service.mul_f64(-self.rng.f64().max(1e-12).ln());
            self.busy.push(Reverse(self.now.after(takes)));
            self.idle -= 1;
            self.requests += 1;
            self.waited = self.waited.max(self.now.since(arrived));
        }
        if !self.queue.is_empty() {
            self.first_wait.get_or_insert(self.now);
        }
    }

    fn count(&mut self) {
        let census = Census {
            idle: self.idle,
            busy: self.busy.len() as u32,
            waiting: self.queue.len() as u32,
            held: 0,
            waited: std::mem::take(&mut self.waited),
            requests: std::mem::take(&mut self.requests),
        };
        let before = self.scaler.wanted();
        match self.scaler.observe(census, self.now) {
            Outcome::Unchanged => assert_eq!(self.scaler.wanted(), before),
            Outcome::Grown(by) => assert_eq!(self.scaler.wanted(), before + by),
            Outcome::Shrunk(by) => assert_eq!(self.scaler.wanted(), before - by),
            Outcome::MaxChildrenReached => self.reached += 1,
        }
        if self.scaler.wanted() != before {
            self.sizes.push((self.now, self.scaler.wanted()));
        }
        let bounds = self.scaler.bounds();
        assert!((bounds.min..=bounds.max).contains(&self.scaler.wanted()), "{}", self.scaler.wanted());
        let all = self.idle + self.busy.len() as u32 + self.booting.len() as u32;
        for _ in all..self.scaler.wanted() {
            self.booting.push_back(self.now.after(BOOT));
        }
        self.censuses += 1;
        self.census = self.scaler.tick().map(|tick| self.now.after(tick));
    }

    fn changes(&self, from: f64) -> impl Iterator<Item = (Time, u32)> {
        self.sizes.iter().copied().filter(move |(changed, _)| *changed >= at(from))
    }
}

fn erlangs(rate: fn(f64) -> f64, service_ms: u64) -> Load {
    Load { rate, service: Duration::from_millis(service_ms) }
}

const SECOND: Duration = Duration::from_secs(1);
const NOTHING: Load = Load { rate: |_| 0.0, service: Duration::from_millis(50) };

#[test]
fn a_step_of_load_is_answered_within_a_second_of_the_first_waiting_request() {
    for seed in 0..20 {
        for scaling in [DYNAMIC, ON_DEMAND] {
            let mut farm = Farm::new(scaling, seed);
            let silence = 5.0 + 0.1 * seed as f64;
            farm.run(&NOTHING, SECOND.mul_f64(silence));
            // 30 workers' worth.
            farm.run(&erlangs(|_| 600.0, 50), SECOND * 10);
            let first_wait = farm.first_wait.unwrap();
            let (grown, _) = farm.changes(silence).next().unwrap();
            assert!(grown.since(first_wait) < SECOND, "seed {seed}: {:?}", grown.since(first_wait));
            let enough = farm.sizes.iter().find(|(_, size)| *size >= 30).unwrap().0;
            assert!(enough.since(first_wait) < SECOND * 3, "seed {seed}: {:?}", farm.sizes);
            assert!(farm.queue.len() < 10, "seed {seed}: {} still wait", farm.queue.len());
        }
    }
}

#[test]
fn on_a_steady_load_the_size_does_not_change_more_than_once_a_minute() {
    let loads = [
        ("a tenth of a worker", erlangs(|_| 2.0, 50)),
        ("one worker", erlangs(|_| 10.0, 100)),
        ("three workers", erlangs(|_| 30.0, 100)),
        ("eight workers", erlangs(|_| 80.0, 100)),
        ("eight workers, slowly", erlangs(|_| 8.0, 1000)),
        ("twenty workers", erlangs(|_| 20.0, 1000)),
        ("forty workers", erlangs(|_| 40.0, 1000)),
        ("more than there may be", erlangs(|_| 70.0, 1000)),
    ];
    let settled = 600.0;
    for (name, load) in &loads {
        for seed in 0..3 {
            let mut farm = Farm::new(DYNAMIC, seed);
            farm.run(load, SECOND * 3600);
            let said = format!("{name}, seed {seed}: {:?}", farm.sizes);
            let cuts: Vec<_> =
                farm.sizes.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[1].0).collect();
            assert!(cuts.windows(2).all(|pair| pair[1].since(pair[0]) >= lull::WINDOW), "{said}");
            // Steps of growth within a second are one answer to one crowd.
            let mut changes: Vec<_> = farm.changes(settled).map(|(changed, _)| changed).collect();
            changes.dedup_by(|later, earlier| later.since(*earlier) < SECOND);
            assert!(changes.len() <= 25, "{} changes in 50 minutes: {said}", changes.len());
            assert!(changes.windows(6).all(|span| span[5].since(span[0]) >= SECOND * 300), "{said}");
        }
    }
}

#[test]
fn a_slow_swell_is_followed_up_and_down() {
    // Between 2 and 30 workers' worth and back in twenty minutes.
    let load = erlangs(|seconds| 160.0 - 140.0 * (seconds * std::f64::consts::TAU / 1200.0).cos(), 100);
    let mut farm = Farm::new(DYNAMIC, 1);
    farm.run(&load, SECOND * 3600);
    for wave in 0..3 {
        let wave = f64::from(wave) * 1200.0;
        let size_at = |seconds: f64| farm.sizes.iter().rfind(|(changed, _)| *changed <= at(wave + seconds)).unwrap().1;
        assert!(size_at(600.0) >= 30, "{:?}", farm.sizes);
        assert!(size_at(1190.0) <= 20, "{:?}", farm.sizes);
    }
    assert_eq!(farm.reached, 0);
}

#[test]
fn two_minutes_after_a_burst_the_pool_is_what_it_was() {
    let mut farm = Farm::new(DYNAMIC, 1);
    farm.run(&erlangs(|_| 600.0, 50), SECOND * 2);
    assert!(farm.scaler.wanted() >= 20);
    farm.run(&NOTHING, SECOND * 121);
    assert_eq!(farm.scaler.wanted(), 4);
}

#[test]
fn on_demand_there_is_nobody_before_the_first_request_and_after_the_last() {
    let mut farm = Farm::new(ON_DEMAND, 1);
    farm.run(&NOTHING, SECOND * 60);
    assert_eq!((farm.scaler.wanted(), farm.censuses), (0, 0));
    farm.run(&erlangs(|_| 200.0, 50), SECOND * 30);
    assert!(farm.scaler.wanted() >= 10);
    // The idle timeout is 10 s, and the last request was here or a little later.
    farm.run(&NOTHING, SECOND * 9);
    assert!(farm.scaler.wanted() > 0);
    farm.run(&NOTHING, SECOND * 3);
    assert_eq!((farm.scaler.wanted(), farm.census), (0, None));
}

#[test]
fn requests_too_short_to_be_seen_keep_an_on_demand_worker_alive() {
    let mut farm = Farm::new(ON_DEMAND, 1);
    farm.run(&Load { rate: |_| 1.5, service: Duration::from_micros(10) }, SECOND * 600);
    assert_eq!(farm.sizes, [(Time(0), 0), (farm.sizes[1].0, 1)]);
}

#[test]
fn a_crowd_that_the_limit_keeps_waiting_is_said_once() {
    let mut farm = Farm::new(DYNAMIC, 1);
    farm.run(&erlangs(|_| 90.0, 1000), SECOND * 600);
    assert_eq!((farm.scaler.wanted(), farm.reached), (64, 1));
}

#[test]
fn an_idle_pool_wakes_less_than_twice_a_second() {
    let mut farm = Farm::new(DYNAMIC, 1);
    farm.run(&NOTHING, SECOND * 60);
    assert!(farm.censuses < 90, "{}", farm.censuses);
}
