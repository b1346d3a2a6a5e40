//! Reloads, one story each: what fails on the way takes everything back, and what succeeds loses nobody.

use std::time::Duration;

use ratoon::decide::event::{Action, Asker, Edition, Event, Outcome, PoolId, Scope, Stop};
use ratoon::decide::limits::{Bound, Limits};
use ratoon::decide::note::Note;
use ratoon::decide::scale::Scaling;

use super::farm::limits;
use super::mood::Mood;
use super::process::Phase;
use super::world::{File, World};

const SECOND: Duration = Duration::from_secs(1);
const POOL: PoolId = PoolId(0);

#[test]
fn a_reload_replaces_every_worker_and_lets_the_old_template_go() {
    let mut world = settled(limits(8));
    let asker = world.reload(Scope::Everything);
    assert_eq!(world.finish_reload(asker), Outcome::Done);
    world.run_for(10 * SECOND);
    assert_serves(&world, Edition(2), 8);
    assert_eq!(world.supervisor().templates().count(), 1);
    // One template, eight workers, twice.
    assert_eq!(world.attempts(POOL), 18);
}

#[test]
fn a_reload_that_fails_on_trial_touches_no_worker_and_spends_nothing() {
    let needs = Limits { prepare: true, ..limits(4) };
    let bad = [
        Mood::PREPARE_FAILS,
        Mood::PREPARE_HANGS,
        Mood::LOAD_FAILS,
        Mood::LOAD_HANGS,
        Mood::FORK_FAILS,
        Mood::FORK_HANGS,
        Mood::FORK_KILLS_TEMPLATE,
        Mood::START_FAILS,
        Mood::START_HANGS,
    ];
    for mood in bad {
        let mut world = settled(limits(4));
        let before = serving(&world);
        for _ in 0..12 {
            let outcome = reload_to(&mut world, needs.clone(), mood);
            assert!(matches!(outcome, Outcome::Failed { pool: Some(POOL), .. }), "{mood:?}: {outcome:?}");
            world.run_for(3 * SECOND);
            assert_eq!(serving(&world), before, "{mood:?}");
            assert_eq!(world.supervisor().templates().count(), 1, "{mood:?}");
        }
        let failures = world.notes(|note| matches!(note, Note::PoolFailed { .. }));
        assert_eq!(failures, 0, "{mood:?} spent the budget");
        // Nor does an innocent death pay for it.
        let victim = world.serving(POOL).next().expect("four serve").who;
        world.murder(victim);
        world.run_for(SECOND);
        assert_serves(&world, Edition(1), 4);
        assert_eq!(reload_to(&mut world, needs.clone(), Mood::CALM), Outcome::Done, "{mood:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_abandoned_and_the_reason_is_the_answer() {
    let mut world = settled(limits(4));
    let before = serving(&world);
    world.file = Some(Err("line 7: what is this".into()));
    let asker = world.reload(Scope::Everything);
    let reason = "line 7: what is this".into();
    assert_eq!(world.finish_reload(asker), Outcome::Failed { pool: None, reason });
    assert_eq!(serving(&world), before);
}

#[test]
fn a_release_that_crashes_on_every_request_is_rolled_back_within_settle_and_the_old_one_serves_in_full() {
    let mut world = settled(Limits { settle: 20 * SECOND, ..limits(4) });
    let began = world.now();
    let outcome = reload_to(&mut world, Limits { settle: 20 * SECOND, ..limits(4) }, Mood::CRASHES);
    assert!(matches!(outcome, Outcome::Failed { pool: Some(POOL), .. }), "{outcome:?}");
    assert!(world.now().since(began) <= 21 * SECOND, "{:?}", world.now().since(began));
    world.run_for(10 * SECOND);
    assert_serves(&world, Edition(1), 4);
    assert_eq!(world.supervisor().templates().count(), 1);
}

#[test]
fn one_bad_pool_takes_the_others_back_with_it() {
    let mut world = World::new(vec![limits(4), limits(3)], vec![Mood::CALM; 2], 7);
    world.run_for(20 * SECOND);
    let mut file = world.present_file(Mood::CALM);
    file.pools[1].2 = Mood::START_FAILS;
    world.file = Some(Ok(file));
    let asker = world.reload(Scope::Everything);
    assert!(matches!(world.finish_reload(asker), Outcome::Failed { pool: Some(PoolId(1)), .. }));
    world.run_for(10 * SECOND);
    assert_serves(&world, Edition(1), 4);
    assert_eq!(world.supervisor().workers().count(), 7);
}

#[test]
fn twenty_five_wishes_within_a_moment_load_twice_and_each_is_answered() {
    let mut world = settled(limits(4));
    let askers: Vec<Asker> = (0..25)
        .map(|_| {
            world.run_for(Duration::from_millis(12));
            world.reload(Scope::Everything)
        })
        .collect();
    for asker in askers {
        assert_eq!(world.finish_reload(asker), Outcome::Done);
    }
    world.run_for(10 * SECOND);
    assert_eq!(world.loads, 2);
    assert_serves(&world, Edition(3), 4);
}

#[test]
fn a_remembered_wish_for_some_pools_and_one_for_all_become_one_for_all() {
    let mut world = World::new(vec![limits(1), limits(1)], vec![Mood::CALM; 2], 7);
    world.run_for(20 * SECOND);
    let first = world.reload(Scope::Pools(vec![POOL]));
    let others = [Scope::Pools(vec![POOL]), Scope::Everything, Scope::Pools(vec![PoolId(1)])];
    let others = others.map(|scope| world.reload(scope));
    assert_eq!(world.finish_reload(first), Outcome::Done);
    assert_serves(&world, Edition(2), 1);
    assert_eq!(world.pools[&PoolId(1)].serving, Edition(1));
    for asker in others {
        assert_eq!(world.finish_reload(asker), Outcome::Done);
    }
    assert_eq!((world.loads, world.pools[&PoolId(1)].serving), (2, Edition(3)));
}

#[test]
fn a_pool_that_is_removed_drains_and_is_closed_only_when_the_reload_has_proven_itself() {
    let mut world = World::new(vec![limits(2), limits(2)], vec![Mood::CALM; 2], 7);
    world.run_for(20 * SECOND);
    let mut file = world.present_file(Mood::LOAD_FAILS);
    file.pools.pop();
    file.removed.push(PoolId(1));
    world.file = Some(Ok(file.clone()));
    let asker = world.reload(Scope::Everything);
    assert!(matches!(world.finish_reload(asker), Outcome::Failed { .. }));
    assert_eq!(world.serving(PoolId(1)).count(), 2);
    file.pools[0].2 = Mood::CALM;
    world.file = Some(Ok(file));
    let asker = world.reload(Scope::Everything);
    assert_eq!(world.finish_reload(asker), Outcome::Done);
    world.run_for(10 * SECOND);
    assert_eq!(world.supervisor().pool(PoolId(1)), None);
    assert_serves(&world, Edition(3), 2);
}

#[test]
fn a_new_pool_starts_with_one_worker_and_one_that_cannot_start_is_gone_again() {
    let on_demand = Scaling::OnDemand { max: 4, idle_timeout: SECOND, spawn_rate: 1 };
    for scaling in [Scaling::Static { workers: 5 }, on_demand] {
        for (mood, expected) in [(Mood::CALM, true), (Mood::START_FAILS, false), (Mood::LOAD_HANGS, false)] {
            let mut world = settled(limits(2));
            let mut file = world.present_file(Mood::CALM);
            file.pools.push((PoolId(1), Limits { scaling: scaling.clone(), ..limits(1) }, mood));
            world.file = Some(Ok(file));
            let asker = world.reload(Scope::Everything);
            assert_eq!(world.finish_reload(asker) == Outcome::Done, expected, "{mood:?}, {scaling:?}");
            world.run_for(10 * SECOND);
            let view = world.supervisor().pool(PoolId(1));
            assert_eq!(view.is_some(), expected, "{mood:?}, {scaling:?}");
            assert_eq!(world.serving(PoolId(1)).count(), view.map_or(0, |view| view.wanted));
        }
    }
}

#[test]
fn an_on_demand_pool_without_workers_is_reloaded_by_one_that_leaves_again() {
    let scaling = Scaling::OnDemand { max: 4, idle_timeout: SECOND, spawn_rate: 1 };
    let mut world = settled(Limits { scaling, ..limits(1) });
    assert_eq!(world.supervisor().workers().count(), 0);
    let asker = world.reload(Scope::Everything);
    assert_eq!(world.finish_reload(asker), Outcome::Done);
    world.run_for(10 * SECOND);
    assert_eq!(world.supervisor().workers().count(), 0);
    assert_eq!(world.supervisor().wake_at(), None);
}

#[test]
fn a_reload_ends_also_where_every_worker_leaves_after_each_request() {
    let once = Limits { max_requests: Some(Bound { most: 1, jitter: 0 }), ..limits(4) };
    let mut world = settled(once.clone());
    world.pools.get_mut(&POOL).expect("it is there").traffic = 1.0;
    world.run_for(5 * SECOND);
    assert_eq!(reload_to(&mut world, once, Mood::CALM), Outcome::Done);
}

#[test]
fn workers_that_nobody_wants_come_back_with_a_reload_and_only_then() {
    let mut world = settled(limits(4));
    world.deliver(Event::WorkersUnwanted);
    world.run_for(60 * SECOND);
    assert_eq!(world.supervisor().workers().count(), 0);
    let asker = world.reload(Scope::Everything);
    assert_eq!(world.finish_reload(asker), Outcome::Done);
    world.run_for(10 * SECOND);
    assert_serves(&world, Edition(2), 4);
}

#[test]
fn the_size_somebody_has_moved_survives_a_reload() {
    let mut world = settled(limits(4));
    for _ in 0..3 {
        world.deliver(Event::SizeWanted(1));
    }
    world.deliver(Event::SizeWanted(-1));
    world.run_for(SECOND);
    assert_serves(&world, Edition(1), 6);
    let asker = world.reload(Scope::Everything);
    assert_eq!(world.finish_reload(asker), Outcome::Done);
    world.run_for(10 * SECOND);
    assert_serves(&world, Edition(2), 6);
}

#[test]
fn a_hundred_reloads_need_no_more_slots_than_one() {
    let mut world = settled(limits(4));
    for _ in 0..100 {
        let asker = world.reload(Scope::Everything);
        assert_eq!(world.finish_reload(asker), Outcome::Done);
    }
    let highest = world.supervisor().workers().map(|(who, ..)| who.slot).max();
    assert!(highest.is_some_and(|slot| slot < 8), "{highest:?}");
}

#[test]
fn a_stop_in_the_middle_of_a_reload_answers_whoever_waits_and_ends_both_generations() {
    for millis in [0, 5, 50, 150, 250, 350, 500, 1_000, 5_000] {
        let mut world = settled(Limits { prepare: true, ..limits(6) });
        world.reload(Scope::Everything);
        world.run_for(Duration::from_millis(millis));
        let actions = world.stop(Stop::Graceful);
        let answers = actions.iter().filter(|action| matches!(action, Action::Answer(..))).count();
        assert_eq!(answers, 1);
        world.run_for(7 * SECOND);
        assert!(world.has_left(), "after {millis} ms");
    }
}

#[test]
fn a_failed_pool_is_repaired_by_a_reload() {
    let mut world = World::new(vec![limits(4)], vec![Mood::START_FAILS], 7);
    world.run_for(60 * SECOND);
    assert_eq!(world.notes(|note| matches!(note, Note::PoolFailed { .. })), 1);
    let repaired = world.present_file(Mood::CALM);
    world.file = Some(Ok(repaired));
    let asker = world.reload(Scope::Everything);
    assert_eq!(world.finish_reload(asker), Outcome::Done);
    assert_serves(&world, Edition(2), 4);
    assert_eq!(world.notes(|note| matches!(note, Note::PoolRecovered(_))), 1);
}

/// One pool with these limits that serves.
fn settled(limits: Limits) -> World {
    let mut world = World::new(vec![limits], vec![Mood::CALM], 7);
    world.run_for(20 * SECOND);
    world
}

fn reload_to(world: &mut World, limits: Limits, mood: Mood) -> Outcome {
    world.file = Some(Ok(File { pools: vec![(POOL, limits, mood)], removed: Vec::new() }));
    let asker = world.reload(Scope::Everything);
    world.finish_reload(asker)
}

fn serving(world: &World) -> Vec<u64> {
    world.serving(POOL).map(|worker| worker.who.life).collect()
}

fn assert_serves(world: &World, edition: Edition, count: usize) {
    let editions: Vec<_> = world.serving(POOL).map(|worker| worker.edition).collect();
    assert_eq!(editions, vec![edition; count]);
}

/// What is killed from outside is not at fault, but a trial that somebody always ends must end.
#[test]
fn an_edition_whose_processes_are_killed_from_outside_on_trial_is_given_up_at_the_second_death() {
    for templates in [false, true] {
        let mut world = settled(limits(4));
        let old = world.supervisor().templates().next().expect("it has one").0;
        let before = serving(&world);
        let asker = world.reload(Scope::Everything);
        let mut deaths = 0;
        while !world.answers.contains_key(&asker) {
            world.step();
            let workers = world.workers.values().filter(|it| it.edition == Edition(2) && it.phase == Phase::Starting);
            let worker = workers.map(|worker| worker.who).next();
            let template = world.templates.values().map(|template| template.who).find(|who| *who != old);
            match (worker, template) {
                (_, Some(who)) if templates => world.murder_template(who),
                (Some(who), _) if !templates => drop(world.murder(who)),
                _ => continue,
            }
            deaths += 1;
            assert!(deaths <= 2, "it is tried for ever");
        }
        let failed = Outcome::Failed { pool: Some(POOL), reason: "killed from outside".into() };
        assert_eq!((&world.answers[&asker], serving(&world)), (&failed, before));
    }
}

#[test]
fn old_templates_wait_for_their_workers_but_no_more_than_a_handful_of_them() {
    let mut world = settled(Limits { stop_timeout: 600 * SECOND, settle: Duration::ZERO, ..limits(2) });
    let trailing = Mood { trails: 1.0, ..Mood::LEAVE_HANGS };
    world.set_mood(trailing);
    world.file = Some(Ok(world.present_file(trailing)));
    let mut seen = 0;
    for _ in 0..10 {
        let asker = world.reload(Scope::Everything);
        assert_eq!(world.finish_reload(asker), Outcome::Done);
        world.run_for(2 * SECOND);
        let templates = world.supervisor().templates().count();
        assert!((seen..=5).contains(&templates), "{templates} after {seen}");
        seen = templates;
    }
    assert_eq!(seen, 5, "four old ones and the one that serves");
    world.run_for(700 * SECOND);
    assert_eq!(world.supervisor().templates().count(), 1);
}

#[test]
fn a_reload_that_had_begun_before_the_workers_were_unwanted_does_not_bring_them_back() {
    let mut world = settled(limits(4));
    let asker = world.reload(Scope::Everything);
    world.deliver(Event::WorkersUnwanted);
    assert_eq!(world.finish_reload(asker), Outcome::Done);
    world.run_for(20 * SECOND);
    assert_eq!(world.supervisor().workers().count(), 0);
    assert_eq!(reload_to(&mut world, limits(4), Mood::CALM), Outcome::Done);
    world.run_for(20 * SECOND);
    assert_serves(&world, Edition(3), 4);
}

#[test]
fn workers_that_nobody_wants_are_gone_again_after_a_reload_that_fails() {
    let mut world = settled(limits(4));
    world.deliver(Event::WorkersUnwanted);
    world.run_for(20 * SECOND);
    let crashing = Limits { settle: 60 * SECOND, ..limits(4) };
    assert!(matches!(reload_to(&mut world, crashing, Mood::CRASHES), Outcome::Failed { .. }));
    assert_eq!(world.notes(|note| matches!(note, Note::Rolling(_))), 1);
    world.run_for(60 * SECOND);
    assert_eq!(world.supervisor().workers().count(), 0);
}

#[test]
fn one_that_starts_for_ever_for_an_edition_given_up_does_not_hold_up_the_next() {
    let patient = Limits { boot_timeout: 60 * SECOND, ..limits(4) };
    let mut world = World::new(vec![patient, limits(1)], vec![Mood::CALM; 2], 7);
    world.run_for(20 * SECOND);
    let mut file = world.present_file(Mood::START_HANGS);
    file.pools[1].2 = Mood::LOAD_HANGS;
    world.file = Some(Ok(file));
    let asker = world.reload(Scope::Everything);
    assert!(matches!(world.finish_reload(asker), Outcome::Failed { pool: Some(PoolId(1)), .. }));
    world.file = None;
    let asker = world.reload(Scope::Everything);
    assert!(world.run_until(30 * SECOND, |world| world.answers.contains_key(&asker)), "it waits for room");
}
