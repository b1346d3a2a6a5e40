//! The deciding half against a world of processes that load, refuse, fork, hang, crash and talk nonsense.
//!
//! No process, no clock: a model world answers every action with random events, in simulated time, and checks after each
//! that the promises hold (they stand where they are checked, in `simulation/world.rs`). The seed is printed;
//! `RATOON_SEED=N` repeats a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod endings;
mod farm;
mod mood;
mod process;
mod recycling;
mod reloading;
mod scaling;
mod upgrading;
mod world;

use std::time::Duration;

use farm::limits;
use mood::Mood;
use ratoon::decide::event::{
    Action, Asker, Edition, Event, Exit, Farewell, Generation, Outcome, Pid, Plan, PoolId, Proposal, Scope, Size, Stop,
    TemplateRef, Time, WorkerRef,
};
use ratoon::decide::note::Note;
use ratoon::decide::restart::Health;
use ratoon::decide::scale::Census;
use ratoon::decide::{Supervisor, lifecycle, restart};
use world::World;

/// Events delivered in each random run.
const EVENTS: usize = 10_000;

/// Runs of each random test.
const RUNS: u64 = 3;

/// Long enough for every deadline to pass, every pause to end and a failed pool to be tried, one after the other.
const QUIET: Duration = Duration::from_secs(120);

/// Beyond `stop_timeout`: a template may take a second to leave, and what is killed takes a moment to die.
const LEAVE_MARGIN: Duration = Duration::from_secs(2);

#[test]
fn ten_thousand_random_events_break_no_promise() {
    for seed in seeds() {
        let mut world = World::random(seed);
        world.live_through(EVENTS);
        world.calm_down();
        assert_becomes_whole(&mut world);
        // What was unwanted comes back, and everybody is of one make.
        let asker = world.reload(Scope::Everything);
        assert_eq!(world.finish_reload(asker), Outcome::Done);
        assert_becomes_whole(&mut world);
        leave(&mut world, &[Stop::Graceful]);
    }
}

#[test]
fn a_stop_at_any_moment_ends_in_time_whatever_the_workers_do() {
    for seed in seeds() {
        for n in 0..40 {
            let mut world = World::random(seed.wrapping_add(n * 1000));
            world.live_through(usize::try_from(n * 13).unwrap());
            match n % 4 {
                0 => leave(&mut world, &[Stop::Now]),
                1 => leave(&mut world, &[Stop::Graceful, Stop::Now]),
                _ => leave(&mut world, &[Stop::Graceful, Stop::Graceful]),
            }
        }
    }
}

#[test]
fn nonsense_in_any_order_neither_panics_nor_starts_too_much() {
    for seed in seeds() {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut now = Time(0);
        let plans = [3, 5].map(limits).into_iter().zip(0..).map(|(limits, id)| Plan { pool: PoolId(id), limits });
        let mut supervisor = Supervisor::new(plans.collect(), seed, now);
        supervisor.begin(now);
        let mut left = 0;
        for n in 0..EVENTS {
            now = now.after(Duration::from_millis(rng.u64(0..200)));
            let stopping = n > EVENTS * 9 / 10;
            let event = nonsense(&mut rng, &supervisor, stopping);
            for action in supervisor.handle(event, now) {
                let starts =
                    matches!(action, Action::OrderFork { .. } | Action::StartTemplate(..) | Action::Prepare(..));
                assert!(!(starts && stopping && left > 0), "started after leaving: {action:?}");
                left += usize::from(matches!(action, Action::Leave(..)));
            }
            assert!(supervisor.wake_at().is_none_or(|at| at > now), "asks to be woken in the past");
        }
        assert!(left <= 1, "left {left} times");
    }
}

#[test]
fn a_pool_that_cannot_start_fails_and_is_tried_twice_a_minute_while_the_other_serves_on() {
    for mood in [Mood::LOAD_FAILS, Mood::START_FAILS, Mood::FORK_FAILS, Mood::FORK_KILLS_TEMPLATE] {
        let mut world = World::new(vec![limits(8), limits(4)], vec![mood, Mood::CALM], 7);
        world.run_for(Duration::from_secs(60));
        let first = world.attempts(PoolId(0));
        // The budget, those on the way when it was spent, and each one's template.
        assert!(first <= 2 * (restart::BUDGET + 8) + 4, "{mood:?}: {} attempts at once", first);
        assert!(has_failed(&world, PoolId(0)), "{mood:?}: not failed");

        world.run_for(Duration::from_secs(600));
        let later = world.attempts(PoolId(0)) - first;
        assert!((15..=42).contains(&later), "{mood:?}: {later} attempts in ten minutes");
        assert_eq!(world.notes(|note| matches!(note, Note::PoolFailed { .. })), 1, "{mood:?}: said more than once");
        assert_eq!(world.attempts(PoolId(1)), 1 + 4, "{mood:?}: the other pool was touched");

        world.calm_down();
        assert_becomes_whole(&mut world);
        assert_eq!(world.notes(|note| *note == Note::PoolRecovered(PoolId(0))), 1);
    }
}

#[test]
fn a_killed_worker_is_replaced_at_once_and_by_the_template_that_is_loaded() {
    let mut world = World::new(vec![limits(4)], vec![Mood::CALM], 7);
    world.run_for(restart::STEADY + Duration::from_secs(2));
    let victim = world.supervisor().workers().next().unwrap().0;
    let actions = world.murder(victim);
    let [Action::Note(Note::WorkerDied { retry: Some(Duration::ZERO), .. }), Action::OrderFork { worker, .. }] =
        actions.as_slice()
    else {
        panic!("not replaced at once: {actions:?}");
    };
    assert_eq!((worker.slot, worker.life > victim.life), (victim.slot, true));
}

#[test]
fn a_template_that_dies_is_replaced_by_the_next_generation_and_no_worker_notices() {
    let mut world = World::new(vec![limits(4)], vec![Mood::CALM], 7);
    world.run_for(Duration::from_secs(20));
    let before: Vec<_> = world.supervisor().workers().map(|(who, ..)| who).collect();
    let (template, _, generation) = world.supervisor().templates().next().unwrap();
    world.murder_template(template);
    world.run_for(Duration::from_secs(20));
    let after: Vec<_> = world.supervisor().workers().map(|(who, ..)| who).collect();
    assert_eq!(before, after);
    let next = world.supervisor().templates().next().unwrap();
    assert_eq!((generation, next.2), (Generation(1), Generation(2)));
}

#[test]
fn a_repeated_stop_does_nothing_and_buys_no_time() {
    let mut world = World::new(vec![limits(4)], vec![Mood::DRAIN_HANGS], 7);
    world.run_for(Duration::from_secs(20));
    world.stop(Stop::Graceful);
    for _ in 0..4 {
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.stop(Stop::Graceful), []);
    }
    world.run_for(Duration::from_secs(2));
    assert!(world.has_left());
    assert_eq!(world.notes(|note| *note == Note::StopOverdue(4)), 1);
}

#[test]
fn a_stop_before_any_worker_serves_lets_the_one_on_its_way_serve_the_queue() {
    let mut world = World::new(vec![limits(1)], vec![Mood::CALM], 7);
    let started = |world: &World| {
        let mut states = world.supervisor().workers().map(|(_, state, _)| state);
        states.any(|state| matches!(state, lifecycle::State::Starting { .. }))
    };
    while !started(&world) {
        world.step();
    }
    world.stop(Stop::Graceful);
    world.run_for(Duration::from_secs(6));
    assert!(world.has_left());
    assert_eq!(world.notes(|note| matches!(note, Note::WorkerReady { .. })), 1);
    assert_eq!(world.notes(|note| matches!(note, Note::Killing { .. })), 0);
}

/// Stops the world with each of these wishes, some time apart, and expects it to be over in time.
fn leave(world: &mut World, wishes: &[Stop]) {
    world.misbehave_on_the_way_out();
    let began = world.now();
    for (n, wish) in wishes.iter().enumerate() {
        if n > 0 {
            world.run_for(Duration::from_millis(300));
        }
        world.stop(*wish);
    }
    let most = if wishes.contains(&Stop::Now) { Duration::ZERO } else { world.longest_stop_timeout() };
    world.run_for(most + LEAVE_MARGIN);
    assert!(world.has_left(), "not gone {:?} after {wishes:?}", world.now().since(began));
    world.run_for(QUIET);
}

/// Every pool has as many workers as it wants, all of one edition, from one template, and nothing else goes on.
fn assert_becomes_whole(world: &mut World) {
    let whole = world.run_until(QUIET, |world| what_is_missing(world).is_none());
    assert!(whole, "not whole after a quiet time: {}", what_is_missing(world).unwrap_or_default());
}

fn what_is_missing(world: &World) -> Option<String> {
    if world.running.is_some() {
        return Some("a reload runs".into());
    }
    if !world.errands.is_empty() {
        return Some(format!("somebody waits: {:?}", world.errands));
    }
    for (pool, farm) in &world.pools {
        let view = world.supervisor().pool(*pool)?;
        let workers = world.workers.values().filter(|worker| worker.who.pool == *pool);
        let fits = workers.clone().filter(|worker| worker.serves() && worker.edition == farm.serving).count();
        let templates = world.templates.values().filter(|template| template.who.pool == *pool).count();
        if farm.ending.is_some() || (fits, workers.count(), templates) != (view.wanted, view.wanted, 1) {
            return Some(format!("{pool:?}: {fits} of {view:?}, {templates} templates"));
        }
        // One that wants nobody has had nobody to show that it can start.
        if view.health != Health::Sound && view.wanted > 0 {
            return Some(format!("{pool:?} has failed"));
        }
    }
    None
}

fn has_failed(world: &World, pool: PoolId) -> bool {
    world.supervisor().pool(pool).is_some_and(|view| matches!(view.health, Health::Failed { .. }))
}

/// Any event about anything: half of the time about somebody who lives, and then possibly a lie about a fact.
fn nonsense(rng: &mut fastrand::Rng, supervisor: &Supervisor, stopping: bool) -> Event {
    let workers: Vec<_> = supervisor.workers().map(|(who, ..)| who).collect();
    let templates: Vec<_> = supervisor.templates().map(|(who, ..)| who).collect();
    let pool = PoolId(*rng.choice(&[0, 1, 2, u32::MAX]).unwrap());
    let mut worker = WorkerRef { pool, slot: *rng.choice(&[0, 1, 4, 9, u32::MAX]).unwrap(), life: rng.u64(0..100) };
    let mut template = TemplateRef { pool, life: rng.u64(0..100) };
    if rng.bool() {
        worker = rng.choice(&workers).copied().unwrap_or(worker);
        template = rng.choice(&templates).copied().unwrap_or(template);
    }
    let pid = Pid(rng.i32(..));
    let exit = if rng.bool() { Exit::Status(rng.i32(0..3)) } else { Exit::Signal { number: 9, core: false } };
    match rng.u8(0..28) {
        0 => Event::TemplateLoaded(template),
        1 => Event::TemplateRefused(template, "no".into()),
        2 => Event::TemplateNotStarted(template, "no".into()),
        3 => Event::TemplateDied(template, exit),
        4 => Event::WorkerForked(worker, pid),
        5 => Event::WorkerNotForked(worker, "no".into()),
        6 => Event::WorkerReady(worker),
        7 => Event::WorkerRefused(worker, "no".into()),
        8 => Event::WorkerLeaving(worker, Farewell::Signal),
        9 => Event::WorkerTrailing(worker),
        10 => Event::WorkerOverdue(worker, Time(rng.u64(..))),
        11 => Event::WorkerDied(worker, exit),
        12 if stopping => Event::StopWanted(if rng.bool() { Stop::Graceful } else { Stop::Now }),
        13 => Event::Measured(vec![(worker, rng.u64(..))]),
        14 => Event::Counted(pool, Census { waiting: rng.u32(..1000), ..Census::default() }),
        15 => Event::Knocked(pool),
        16 if rng.bool() => Event::ScaleWanted(pool, Size::By(rng.i32(..)), Asker(0)),
        16 => Event::SizeWanted(rng.i32(-2..=2)),
        17 if rng.u8(0..20) == 0 => Event::WorkersUnwanted,
        17 => Event::RestartWanted(pool, rng.bool().then_some(worker.slot), Asker(0)),
        18 => Event::ReloadWanted(Scope::Everything, Asker(0)),
        19 | 20 => {
            let edition = supervisor.reloading().map_or(Edition(rng.u32(..)), |(edition, _)| edition);
            let plans = vec![Plan { pool, limits: limits(rng.u32(1..9)) }];
            let removed = if rng.u8(0..9) == 0 { vec![PoolId(rng.u32(0..3))] } else { Vec::new() };
            let read = if rng.bool() { Ok(Proposal { plans, removed }) } else { Err("no".into()) };
            Event::ConfigurationRead(edition, read)
        }
        21 => Event::Prepared(pool, Edition(rng.u32(0..4)), Err("no".into())),
        22 => Event::UpgradeWanted,
        23 => Event::Rehearsed(Ok(())),
        24 => Event::Upgraded,
        25 => Event::UpgradeFailed("no".into()),
        _ => Event::Ticked,
    }
}

fn seeds() -> impl Iterator<Item = u64> {
    let first = match std::env::var("RATOON_SEED") {
        Ok(seed) => seed.parse().expect("RATOON_SEED is a number"),
        Err(_) => fastrand::u64(..1_000_000_000),
    };
    (first..first + RUNS).inspect(|seed| eprintln!("RATOON_SEED={seed}"))
}
