//! Those that leave of their own accord, and those given up before anybody knew whether they exist.

use std::time::Duration;

use ratoon::decide::cause::Cause;
use ratoon::decide::event::{Action, Event, Farewell, PoolId, Stop, WorkerRef};
use ratoon::decide::lifecycle::State;
use ratoon::decide::limits::Limits;
use ratoon::decide::note::Note;

use super::farm::limits;
use super::mood::Mood;
use super::process::{Fork, Phase};
use super::world::{Plan, World};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

/// A worker begins to leave, and its `stop` hangs.
#[test]
fn a_worker_that_leaves_and_never_goes_is_killed_at_stop_timeout_and_replaced() {
    let mut world = settled(2, Mood::LEAVE_HANGS);
    let who = first(&world, |state| matches!(state, State::Serving { .. }));
    world.walk_out(who, Farewell::Signal);
    world.run_for(5 * SECOND - MOMENT);
    assert_eq!(kills(&world), []);
    world.run_for(SECOND);
    assert_eq!(kills(&world), [(who, Cause::StopTimeout)]);
    let serving = world.supervisor().workers().filter(|(_, state, _)| matches!(state, State::Serving { .. }));
    assert_eq!(serving.count(), 2, "not replaced");
}

#[test]
fn in_a_stop_one_that_was_leaving_has_the_time_of_the_stop() {
    let mut world = settled(2, Mood::LEAVE_HANGS);
    let who = first(&world, |state| matches!(state, State::Serving { .. }));
    world.walk_out(who, Farewell::Signal);
    world.run_for(4 * SECOND);
    assert!(world.stop(Stop::Graceful).contains(&Action::OrderDrain(who)));
    world.run_for(5 * SECOND - MOMENT);
    assert_eq!(kills(&world), []);
    world.run_for(SECOND);
    assert!(world.has_left());
}

/// Its process exists, and the report of it has not been read. Its `start` hangs: nobody but us can end it.
#[test]
fn a_worker_given_up_before_its_fork_was_told_is_killed_once_it_is() {
    let (mut world, who) = with_an_order_open(Mood::START_HANGS, Fork::Done);
    let actions = world.stop(Stop::Graceful);
    assert!(!actions.iter().any(|action| matches!(action, Action::DismissTemplate(_) | Action::Forget(_))));
    world.run_for(10 * MOMENT);
    assert_eq!(kills(&world), [(who, Cause::StoppedNow)]);
    world.run_for(6 * SECOND);
    assert!(world.has_left());
}

#[test]
fn a_template_that_never_answers_for_a_worker_given_up_is_killed_at_stop_timeout() {
    let (mut world, who) = with_an_order_open(Mood { fork_hangs: 1.0, ..Mood::CALM }, Fork::Owed);
    world.stop(Stop::Graceful);
    world.run_for(5 * SECOND - MOMENT);
    assert!(!world.has_left() && world.supervisor().is_known(who));
    world.run_for(SECOND);
    assert!(world.has_left());
    assert_eq!(world.notes(|note| *note == Note::StopOverdue(1)), 1);
}

#[test]
fn a_stop_at_once_does_not_wait_for_the_answer_of_a_template_and_still_buries_what_it_forked() {
    for fork in [Fork::Owed, Fork::Done] {
        let (mut world, who) = with_an_order_open(Mood { fork_hangs: 1.0, ..Mood::START_HANGS }, fork);
        let actions = world.stop(Stop::Now);
        assert!(actions.iter().any(|action| matches!(action, Action::KillTemplate(_))));
        assert!(!actions.contains(&Action::Forget(who)));
        world.run_for(SECOND);
        assert!(world.has_left());
        let killed = kills(&world).iter().any(|(killed, _)| *killed == who);
        assert_eq!(killed, fork == Fork::Done);
    }
}

/// It may be in its `stop` already: the one that starts is the only hope of the clients in the queue.
#[test]
fn no_worker_on_its_way_is_killed_on_account_of_one_that_leaves() {
    let mut world = settled(2, Mood { start_hangs: 1.0, ..Mood::LEAVE_HANGS });
    let [victim, leaver] = [0, 1].map(|n| world.supervisor().workers().nth(n).expect("two serve").0);
    world.walk_out(leaver, Farewell::Signal);
    world.murder(victim);
    world.run_for(20 * MOMENT);
    let starting = first(&world, |state| matches!(state, State::Starting { .. }));
    world.stop(Stop::Graceful);
    world.run_for(SECOND);
    assert_eq!(kills(&world), []);
    world.plan(MOMENT, Plan::Fact(Event::WorkerReady(starting)));
    world.run_for(SECOND);
    assert_eq!(world.workers[&starting.life].phase, Phase::Draining);
    world.run_for(5 * SECOND);
    assert!(world.has_left());
}

/// One pool of so many workers that serve, and from now on this mood.
fn settled(workers: u32, mood: Mood) -> World {
    let limits = Limits { boot_timeout: 30 * SECOND, ..limits(workers) };
    let mut world = World::new(vec![limits], vec![Mood::CALM], 7);
    world.run_for(20 * SECOND);
    world.set_mood(mood);
    world
}

/// One serves, one has just been ordered and its fork has come this far, untold.
fn with_an_order_open(mood: Mood, fork: Fork) -> (World, WorkerRef) {
    let mut world = settled(2, mood);
    let victim = first(&world, |state| matches!(state, State::Serving { .. }));
    world.murder(victim);
    let who = first(&world, |state| matches!(state, State::Ordered { .. }));
    if fork == Fork::Done {
        world.agenda.retain(|_, plan| !matches!(plan, Plan::Fork(planned) if *planned == who));
        world.fork(who);
    }
    assert_eq!((who.pool, world.workers[&who.life].fork), (PoolId(0), fork));
    (world, who)
}

fn first(world: &World, such: impl Fn(&State) -> bool) -> WorkerRef {
    world.supervisor().workers().find(|(_, state, _)| such(state)).expect("there is one").0
}

/// Whom we have killed so far, and why.
fn kills(world: &World) -> Vec<(WorkerRef, Cause)> {
    world
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::Killing { worker, cause, .. } => Some((*worker, cause.clone())),
            _ => None,
        })
        .collect()
}
