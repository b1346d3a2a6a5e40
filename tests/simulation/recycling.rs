//! Limits, one story each: who has reached one is replaced in time, and never too many at once.

use std::time::Duration;

use ratoon::decide::cause::{Cause, Limit};
use ratoon::decide::event::{Action, Event, Farewell, PoolId, Time, WorkerRef};
use ratoon::decide::limits::{Bound, Limits};
use ratoon::decide::note::Note;

use super::farm::limits;
use super::mood::Mood;
use super::process::Phase;
use super::world::World;

const SECOND: Duration = Duration::from_secs(1);
const POOL: PoolId = PoolId(0);

/// That nobody is missed while they are, and that they are no more than the surge at a time, is checked in
/// `world/rolling.rs`.
#[test]
fn a_pool_whose_workers_are_all_too_old_at_once_is_replaced_in_steps() {
    let aged = Limits { max_age: Some(Bound { most: 60 * SECOND, jitter: 0 }), surge: 25, ..limits(8) };
    let mut world = settled(aged, Mood::CALM);
    let before: Vec<u64> = world.serving(POOL).map(|worker| worker.who.life).collect();
    let mut most = 0;
    let all_gone = |world: &World| world.serving(POOL).all(|worker| !before.contains(&worker.who.life));
    for _ in 0..200 {
        world.run_until(SECOND, all_gone);
        let leaving = world.workers.values().filter(|worker| worker.phase == Phase::Leaving).count();
        most = most.max(leaving);
        assert!(world.serving(POOL).count() >= 8);
    }
    assert!(all_gone(&world) && most <= 2, "{most} at a time");
    world.run_for(SECOND);
    assert!(world.notes(|note| died_of(note, Cause::Recycled(Limit::Age))) >= 8);
}

#[test]
fn a_worker_with_too_much_memory_is_replaced_but_not_in_its_first_ten_seconds() {
    let mut world = settled(Limits { max_memory: Some(100), ..limits(2) }, Mood::CALM);
    let old = world.serving(POOL).next().expect("two serve").who;
    world.deliver(Event::Measured(vec![(old, 101)]));
    world.run_for(SECOND);
    assert!(!world.supervisor().is_known(old));
    let young = world.serving(POOL).map(|worker| worker.who).max_by_key(|who| who.life).expect("two serve");
    world.deliver(Event::Measured(vec![(young, 101)]));
    world.run_for(SECOND);
    assert!(world.serving(POOL).any(|worker| worker.who == young), "it was recycled in its youth");
    assert_eq!(world.notes(|note| died_of(note, Cause::Recycled(Limit::Memory))), 1);
}

#[test]
fn a_worker_with_far_too_much_memory_is_killed_also_in_its_last_request() {
    let mut world = settled(Limits { max_memory_hard: Some(1_000), ..limits(2) }, Mood::LEAVE_HANGS);
    let who = world.serving(POOL).next().expect("two serve").who;
    world.walk_out(who, Farewell::Requests);
    world.workers.get_mut(&who.life).expect("it lives").weight = 1_001;
    let actions = world.deliver(Event::Measured(vec![(who, 1_001)]));
    assert!(actions.contains(&Action::Kill(who)), "{actions:?}");
}

#[test]
fn one_request_a_worker_keeps_the_pool_going() {
    let once = Limits { max_requests: Some(Bound { most: 1, jitter: 0 }), ..limits(4) };
    let mut world = settled(once, Mood::CALM);
    world.pools.get_mut(&POOL).expect("it is there").traffic = 1.0;
    // Those that serve already have been told nothing of the traffic.
    let first: Vec<WorkerRef> = world.serving(POOL).map(|worker| worker.who).collect();
    first.into_iter().for_each(|who| {
        world.walk_out(who, Farewell::Requests);
    });
    world.run_for(60 * SECOND);
    let served = world.notes(|note| died_of(note, Cause::Recycled(Limit::Requests)));
    assert!(served >= 60, "{served} requests in a minute");
    assert!(world.supervisor().workers().count() >= 4);
    assert_eq!(world.notes(|note| matches!(note, Note::PoolFailed { .. })), 0);
}

/// A route that panics at every request costs a fork each time, and neither a pause nor the pool.
#[test]
fn a_panic_with_every_request_keeps_the_pool_going_without_a_pause() {
    let mut world = settled(limits(2), Mood::CALM);
    for round in 0..200 {
        let who = world.serving(POOL).next().expect("one serves").who;
        world.walk_out(who, Farewell::Panic);
        let before = world.now();
        world.run_until(SECOND, |world| world.serving(POOL).count() == 2 && !world.supervisor().is_known(who));
        let took = world.now().since(before);
        assert!(took < SECOND, "round {round}: replaced after {took:?}");
    }
    assert_eq!(world.notes(|note| died_of(note, Cause::Recycled(Limit::Panic))), 200);
    assert_eq!(world.notes(|note| matches!(note, Note::PoolFailed { .. })), 0);
}

#[test]
fn a_request_over_its_time_is_asked_first_and_its_worker_killed_when_the_grace_is_over() {
    let mut world = settled(Limits { kill_grace: 2 * SECOND, ..limits(1) }, Mood::CALM);
    let who = world.serving(POOL).next().expect("one serves").who;
    let deadline = world.now().after(SECOND);
    world.workers.get_mut(&who.life).expect("it lives").deadline = Some(deadline);
    assert_eq!(steps_of(&mut world, who), [(1_250, "asked"), (3_000, "killed")]);
}

#[test]
fn without_a_grace_there_is_no_asking() {
    let mut world = settled(Limits { kill_grace: Duration::ZERO, ..limits(1) }, Mood::CALM);
    let who = world.serving(POOL).next().expect("one serves").who;
    let deadline = world.now().after(SECOND);
    world.workers.get_mut(&who.life).expect("it lives").deadline = Some(deadline);
    assert_eq!(steps_of(&mut world, who), [(1_000, "killed")]);
}

#[test]
fn a_request_that_has_more_time_after_it_was_asked_is_asked_again_then() {
    let mut world = settled(Limits { kill_grace: SECOND, ..limits(1) }, Mood::CALM);
    let who = world.serving(POOL).next().expect("one serves").who;
    let began = world.now();
    world.workers.get_mut(&who.life).expect("it lives").deadline = Some(began.after(SECOND));
    world.run_for(Duration::from_millis(1_500));
    world.workers.get_mut(&who.life).expect("it lives").deadline = Some(began.after(3 * SECOND));
    assert_eq!(steps_of(&mut world, who), [(1_750, "asked"), (2_500, "killed")]);
}

#[test]
fn a_late_word_of_a_deadline_that_is_not_due_does_nothing() {
    let mut world = settled(limits(1), Mood::CALM);
    let who = world.serving(POOL).next().expect("one serves").who;
    let (now, later) = (world.now(), world.now().after(SECOND));
    assert_eq!(world.deliver(Event::WorkerOverdue(who, later)), []);
    assert!(world.supervisor().due(who, now).is_some_and(|due| due > now));
    assert_eq!(world.supervisor().due(WorkerRef { life: 99, ..who }, Time(0)), None);
}

/// What is done about this worker within the next ten seconds, and after how many milliseconds.
fn steps_of(world: &mut World, who: WorkerRef) -> Vec<(u128, &'static str)> {
    let (began, mut steps) = (world.now(), Vec::new());
    let so_far = world.notes.len();
    while world.now().since(began) < 10 * SECOND && world.supervisor().is_known(who) {
        let seen = world.notes.len();
        world.step();
        let after = world.now().since(began).as_millis();
        for note in &world.notes[seen.max(so_far)..] {
            match note {
                Note::Interrupting(told) if *told == who => steps.push((after, "asked")),
                Note::Killing { worker, .. } if *worker == who => steps.push((after, "killed")),
                _ => {}
            }
        }
    }
    steps
}

fn died_of(note: &Note, of: Cause) -> bool {
    matches!(note, Note::WorkerDied { cause, .. } if *cause == of)
}

/// One pool with these limits that serves, and from now on this mood.
fn settled(limits: Limits, mood: Mood) -> World {
    let mut world = World::new(vec![limits], vec![Mood::CALM], 7);
    world.run_for(20 * SECOND);
    world.set_mood(mood);
    world
}
