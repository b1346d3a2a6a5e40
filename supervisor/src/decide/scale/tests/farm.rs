//! A pool in miniature, closed to a loop with the policy: requests arrive, wait, are served by workers that take a while
//! to boot, and are counted. No process, no clock, the same course for the same seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;

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
    reached: Vec<Time>,
    censuses: u32,
    longest_wait: Duration,
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
            reached: Vec::new(),
            censuses: 0,
            longest_wait: Duration::ZERO,
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
                if self.census.is_none() {
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
            self.longest_wait = self.longest_wait.max(self.waited);
        }
    }

    fn count(&mut self) {
        let census = Census {
            idle: self.idle,
            busy: self.busy.len() as u32,
            waiting: self.queue.len() as u32,
            waited: std::mem::take(&mut self.waited),
            requests: std::mem::take(&mut self.requests),
        };
        let before = self.scaler.wanted();
        match self.scaler.observe(census, self.now) {
            Outcome::Unchanged => assert_eq!(self.scaler.wanted(), before),
            Outcome::Grown(by) => assert_eq!(self.scaler.wanted(), before + by),
            Outcome::Shrunk(by) => assert_eq!(self.scaler.wanted(), before - by),
            Outcome::MaxChildrenReached => self.reached.push(self.now),
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

    fn changes(&self, from: Duration) -> impl Iterator<Item = (Time, u32)> {
        self.sizes.iter().copied().filter(move |(at, _)| *at >= Time(0).after(from))
    }
}

const DYNAMIC: Scaling = Scaling::Dynamic { start: 4, min: 2, max: 64, min_spare: 2, max_spare: 4, spawn_rate: 16 };

#[test]
fn explore() {
    let hour = Duration::from_secs(3600);
    for (service, name) in [(5, "5ms"), (50, "50ms"), (1000, "1s")] {
        for (label, rate) in [
            ("1 erlang", (|_| 1.0) as fn(f64) -> f64),
            ("3", |_| 3.0),
            ("8", |_| 8.0),
            ("20", |_| 20.0),
            ("40", |_| 40.0),
            ("60", |_| 60.0),
            ("63.5", |_| 63.5),
        ] {
            let _ = rate;
            for (kind, scaling) in [
                ("dyn 2/4", DYNAMIC),
                ("dyn 1/1", Scaling::Dynamic { start: 4, min: 1, max: 64, min_spare: 1, max_spare: 1, spawn_rate: 16 }),
                ("dyn 0/8", Scaling::Dynamic { start: 4, min: 1, max: 64, min_spare: 0, max_spare: 8, spawn_rate: 16 }),
                ("ondemand", Scaling::OnDemand { max: 64, idle_timeout: Duration::from_secs(10), spawn_rate: 16 }),
            ] {
                let mut farm = Farm::new(scaling, 7);
                // erlangs / service
                let load = match service {
                    5 => Load { rate, service: Duration::from_secs(1) },
                    50 => Load { rate, service: Duration::from_secs(1) },
                    _ => Load { rate, service: Duration::from_secs(1) },
                };
                let scale = service as f64 / 1000.0;
                // time is scaled through a rate in erlangs of one second: do it by hand
                let _ = load;
                farm.run_scaled(rate, scale, hour);
                let late: Vec<_> = farm.changes(Duration::from_secs(300)).collect();
                let mut minutes = [0u32; 61];
                for (at, _) in &late {
                    minutes[(at.0 / 1_000_000_000 / 60) as usize] += 1;
                }
                let worst = minutes.iter().max().unwrap();
                let bad = minutes.iter().filter(|n| **n > 1).count();
                println!("{name:5} {label:9} {kind:9} early {:3} late {:3} worst/min {worst} bad {bad} size {}..{} reached {} censuses {} longest {:?}",
                    farm.sizes.len() - late.len(), late.len(),
                    late.iter().map(|l| l.1).min().unwrap_or(farm.scaler.wanted()),
                    late.iter().map(|l| l.1).max().unwrap_or(farm.scaler.wanted()),
                    farm.reached.len(), farm.censuses, farm.longest_wait);
            }
        }
    }
}

impl Farm {
    fn run_scaled(&mut self, erlangs: fn(f64) -> f64, service: f64, span: Duration) {
        thread_local! { static L: std::cell::Cell<(fn(f64)->f64, f64)> = const { std::cell::Cell::new((|_| 0.0, 1.0)) }; }
        L.with(|l| l.set((erlangs, service)));
        let load = Load { rate: |t| L.with(|l| (l.get().0)(t) / l.get().1), service: Duration::from_secs_f64(service) };
        self.run(&load, span);
    }
}
