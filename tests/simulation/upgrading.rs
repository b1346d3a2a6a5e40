//! The supervisor's own upgrade beside everything else that is wished for.

use std::collections::BTreeSet;
use std::time::Duration;

use ratoon::decide::event::{Action, Event, Outcome, Scope};
use ratoon::decide::note::Note;

use super::farm::limits;
use super::mood::Mood;
use super::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// "Nothing happens if the check fails", and a good one is done once the reload is over that was under way.
#[test]
fn an_upgrade_waits_for_a_reload_and_is_not_done_where_the_new_program_objects_or_says_nothing() {
    let mut upgrades = BTreeSet::new();
    for seed in 0..20 {
        let mut world = World::new(vec![limits(4)], vec![Mood::CALM], seed);
        world.run_for(Duration::from_secs(20));
        let before: Vec<_> = world.supervisor.workers().map(|(who, ..)| who).collect();
        let asker = world.reload(Scope::Everything);
        assert!(!world.deliver(Event::UpgradeWanted).contains(&Action::Rehearse), "rehearsed during a reload");
        world.finish_reload(asker);
        world.run_for(Duration::from_secs(70));
        let failed = world.notes(|note| matches!(note, Note::UpgradeFailed(_)));
        assert_eq!(world.upgrades + failed, 1);
        assert!(world.supervisor.workers().all(|(who, ..)| !before.contains(&who)), "the reload was not finished");
        upgrades.insert(world.upgrades);
    }
    assert_eq!(upgrades, BTreeSet::from([0, 1]), "every one ended alike");
}

/// "An upgrade waits for nobody for longer than a second": and nobody asks a supervisor that is about to be no more.
#[test]
fn the_admin_process_makes_way_for_an_upgrade_and_there_is_another_whatever_comes_of_it() {
    let mut ends = BTreeSet::new();
    for seed in 0..60 {
        let mut world = World::new(vec![limits(1)], vec![Mood::CALM], seed);
        world.want_admin();
        world.run_for(20 * SECOND);
        world.deliver(Event::UpgradeWanted);
        let agreed = world.run_until(20 * SECOND, World::has_agreed);
        let asker = world.reload(Scope::Everything);
        assert_eq!(world.loads, usize::from(!agreed), "reloaded while everybody makes way");
        assert!(world.run_until(2 * SECOND, |world| !world.has_agreed()), "held up for ever");
        assert_eq!(world.finish_reload(asker), Outcome::Done);
        world.run_for(60 * SECOND);
        assert!(world.has_admin(), "nobody took its place");
        ends.insert((agreed, world.upgrades));
    }
    assert_eq!(ends, BTreeSet::from([(false, 0), (true, 0), (true, 1)]));
}

#[test]
fn a_reload_that_is_wished_for_while_the_new_program_is_executed_follows_whatever_comes_of_that() {
    let mut upgrades = BTreeSet::new();
    for seed in 0..20 {
        let mut world = World::new(vec![limits(4)], vec![Mood::CALM], seed);
        world.run_for(20 * SECOND);
        world.deliver(Event::UpgradeWanted);
        if !world.run_until(20 * SECOND, |world| world.upgrading) {
            continue;
        }
        let asker = world.reload(Scope::Everything);
        assert_eq!(world.loads, 0);
        assert_eq!(world.finish_reload(asker), Outcome::Done);
        assert_eq!(world.loads, 1);
        upgrades.insert((world.upgrades, world.notes(|note| matches!(note, Note::UpgradeFailed(_)))));
    }
    assert_eq!(upgrades, BTreeSet::from([(0, 1), (1, 0)]));
}
