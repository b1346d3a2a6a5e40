#![allow(clippy::unwrap_used)]

use super::*;

mod courses;
mod farm;

fn at(seconds: f64) -> Time {
    Time((seconds * 1e9).round() as u64)
}

/// So many idle, busy and waiting.
const fn seen(idle: u32, busy: u32, waiting: u32) -> Census {
    Census { idle, busy, waiting, held: 0, waited: Duration::ZERO, requests: 0 }
}

/// The same, and somebody had waited for so many milliseconds.
const fn waited(idle: u32, busy: u32, millis: u64) -> Census {
    Census { waited: Duration::from_millis(millis), ..seen(idle, busy, 0) }
}

/// Four workers of 2 to 16; up to `spawn_rate` at once.
const fn dynamic(min_spare: u32, max_spare: u32, spawn_rate: u32) -> Scaling {
    Scaling::Dynamic { start: 4, min: 2, max: 16, min_spare, max_spare, spawn_rate }
}

const fn on_demand(idle_timeout: u64) -> Scaling {
    Scaling::OnDemand { max: 16, idle_timeout: Duration::from_secs(idle_timeout), spawn_rate: 8 }
}

#[test]
fn max_children_reached_is_said_once_an_episode() {
    let mut scaler =
        Scaler::new(Scaling::Dynamic { start: 2, min: 1, max: 2, min_spare: 0, max_spare: 1, spawn_rate: 8 }, at(0.0));
    let mut said =
        |seconds: f64, waiting| scaler.observe(seen(0, 2, waiting), at(seconds)) == Outcome::MaxChildrenReached;
    assert!(said(0.0, 1));
    assert!((1..100).all(|second| !said(f64::from(second), 1)));
    // The last time was at 99 s.
    assert!(!said(100.0, 0) && !said(158.9, 1));
    assert!(!said(160.0, 0) && said(218.9, 1));
}

#[test]
fn censuses_are_wanted_often_only_while_growth_may_be_needed() {
    let mut scaler = Scaler::new(dynamic(0, 4, 16), at(0.0));
    let mut tick = |census| {
        let _ = scaler.observe(census, at(0.0));
        scaler.tick()
    };
    assert_eq!(tick(seen(4, 0, 0)), Some(QUIET_TICK));
    assert_eq!(tick(seen(3, 1, 0)), Some(BUSY_TICK));
    assert_eq!(tick(seen(4, 0, 0)), Some(QUIET_TICK));
    for _ in 0..5 {
        let _ = tick(seen(0, 4, 99));
    }
    assert_eq!(tick(seen(0, 16, 99)), Some(QUIET_TICK), "there is no room");
    assert_eq!(Scaler::new(Scaling::Static { workers: 4 }, at(0.0)).tick(), None);
    assert_eq!(Scaler::new(on_demand(10), at(0.0)).tick(), None);
}

#[test]
fn the_operator_moves_the_size_by_one_and_a_reload_keeps_that() {
    let mut scaler = Scaler::new(Scaling::Static { workers: 4 }, at(0.0));
    let mut sizes = vec![];
    for by in [1, 1, -1, -1, -1, -1, -1, -1, 1] {
        scaler.nudge(by, at(0.0));
        sizes.push(scaler.wanted());
    }
    assert_eq!(sizes, [5, 6, 5, 4, 3, 2, 1, 1, 2], "never below one, and nothing to make up for at the end");
    scaler.change(Scaling::Static { workers: 8 }, at(0.0));
    assert_eq!(scaler.wanted(), 6);
    scaler.change(Scaling::Static { workers: 2 }, at(0.0));
    assert_eq!(scaler.wanted(), 1);
    scaler.nudge(1, at(0.0));
    assert_eq!(scaler.wanted(), 2);
}

#[test]
fn the_operator_moves_the_bounds_of_a_dynamic_pool_too_so_that_it_lasts() {
    let mut scaler =
        Scaler::new(Scaling::Dynamic { start: 2, min: 2, max: 3, min_spare: 0, max_spare: 0, spawn_rate: 8 }, at(0.0));
    scaler.nudge(1, at(0.0));
    assert_eq!(scaler.wanted(), 3);
    assert_eq!(scaler.observe(seen(3, 0, 0), at(60.0)), Outcome::Unchanged);
    assert_eq!(scaler.observe(seen(0, 3, 9), at(60.1)), Outcome::Grown(1));
    assert_eq!(scaler.observe(seen(0, 4, 9), at(60.2)), Outcome::MaxChildrenReached);
    scaler.nudge(-1, at(61.0));
    assert_eq!(scaler.wanted(), 3);
}

#[test]
fn a_reload_keeps_the_present_size_within_the_new_bounds_and_holds_off_the_doubling() {
    let mut scaler = Scaler::new(dynamic(0, 4, 8), at(0.0));
    for (seconds, size) in [(0.0, 4), (0.1, 5), (0.2, 7)] {
        let _ = scaler.observe(seen(0, size, 99), at(seconds));
    }
    assert_eq!(scaler.wanted(), 11);
    scaler.change(dynamic(0, 4, 8), at(1.0));
    assert_eq!(scaler.wanted(), 11);
    for (seconds, size) in [(1.1, 11), (1.2, 12)] {
        assert_eq!(scaler.observe(seen(0, size, 99), at(seconds)), Outcome::Grown(1));
    }
    assert_eq!(scaler.observe(seen(0, 13, 99), at(11.0)), Outcome::Grown(1));
    assert_eq!(scaler.observe(seen(0, 14, 99), at(11.1)), Outcome::Grown(2));
    scaler.change(Scaling::Static { workers: 3 }, at(12.0));
    assert_eq!(scaler.wanted(), 3);
    scaler.change(on_demand(10), at(12.0));
    assert_eq!(scaler.wanted(), 3);
    scaler.change(dynamic(0, 4, 8), at(12.0));
    assert_eq!(scaler.wanted(), 3);
}

#[test]
fn whatever_happens_the_size_stays_within_the_bounds() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut scaler = Scaler::new(Scaling::Static { workers: 1 }, at(0.0));
        let mut now = 0.0;
        for _ in 0..500 {
            now += rng.f64() * rng.f64() * 100.0;
            match rng.u32(0..20) {
                0 => scaler.change(anything(&mut rng), at(now)),
                1 => scaler.nudge(rng.i32(-2..3), at(now)),
                _ => {
                    let busy = rng.u32(0..=scaler.wanted());
                    let census = Census { requests: rng.u64(0..2), ..waited(rng.u32(0..20), busy, rng.u64(0..40)) };
                    let before = scaler.wanted();
                    let outcome = scaler.observe(Census { waiting: rng.u32(0..4) * rng.u32(0..40), ..census }, at(now));
                    let expected = match outcome {
                        Outcome::Unchanged | Outcome::MaxChildrenReached => before,
                        Outcome::Grown(more) => before + more,
                        Outcome::Shrunk(fewer) => before - fewer,
                    };
                    assert_eq!(scaler.wanted(), expected);
                }
            }
            let bounds = scaler.bounds();
            assert!((bounds.min..=bounds.max).contains(&scaler.wanted()), "seed {seed}: {scaler:?}");
            assert!((1..=MOST).contains(&bounds.max), "seed {seed}: {scaler:?}");
        }
    }
}

fn anything(rng: &mut fastrand::Rng) -> Scaling {
    let max = if rng.bool() { rng.u32(1..20) } else { rng.u32(MOST - 3..=MOST) };
    let min = rng.u32(1..=max);
    match rng.u32(0..3) {
        0 => Scaling::Static { workers: max },
        1 => Scaling::Dynamic {
            start: rng.u32(min..=max),
            min,
            max,
            min_spare: rng.u32(0..4),
            max_spare: rng.u32(4..8),
            spawn_rate: rng.u32(1..40),
        },
        _ => Scaling::OnDemand { max, idle_timeout: Duration::from_secs(rng.u64(1..100)), spawn_rate: rng.u32(1..40) },
    }
}
