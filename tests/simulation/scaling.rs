//! Pools whose size follows the load, one story each. The policy itself has its own tests; here is what becomes of what
//! it wants.

use std::time::Duration;

use ratoon::decide::event::{Action, Event, PoolId};
use ratoon::decide::limits::Limits;
use ratoon::decide::scale::{Census, Scaling};

use super::farm::limits;
use super::mood::Mood;
use super::world::World;

const SECOND: Duration = Duration::from_secs(1);
const POOL: PoolId = PoolId(0);

#[test]
fn a_pool_of_a_given_size_at_rest_asks_for_nothing() {
    let mut world = settled(Scaling::Static { workers: 4 });
    assert_eq!(world.supervisor().wake_at(), None);
    assert_eq!(world.deliver(Event::Ticked), []);
}

#[test]
fn an_on_demand_pool_starts_with_nobody_grows_with_the_first_who_knocks_and_ends_where_it_began() {
    let mut world = settled(Scaling::OnDemand { max: 4, idle_timeout: 10 * SECOND, spawn_rate: 4 });
    assert_eq!((world.supervisor().workers().count(), world.supervisor().wake_at()), (0, None));
    world.deliver(Event::Knocked(POOL));
    world.run_for(SECOND);
    assert_eq!(world.serving(POOL).count(), 1);
    world.run_for(30 * SECOND);
    assert_eq!((world.supervisor().workers().count(), world.supervisor().wake_at()), (0, None));
    // And again.
    world.deliver(Event::Knocked(POOL));
    world.run_for(SECOND);
    assert_eq!(world.serving(POOL).count(), 1);
}

#[test]
fn a_knock_is_counted_once_and_not_waited_for_again_before_that() {
    let mut world = settled(Scaling::OnDemand { max: 4, idle_timeout: SECOND, spawn_rate: 4 });
    assert_eq!(world.deliver(Event::Knocked(POOL)), [Action::Count(POOL)]);
    assert_eq!(world.deliver(Event::Knocked(POOL)), []);
}

#[test]
fn a_dynamic_pool_grows_for_those_who_wait_and_shrinks_when_nobody_needs_it() {
    let min = 2;
    let scaling = Scaling::Dynamic { start: 2, min, max: 10, min_spare: 1, max_spare: 2, spawn_rate: 4 };
    let mut world = settled(scaling);
    world.pools.get_mut(&POOL).expect("it is there").traffic = 1.0;
    assert!(world.run_until(20 * SECOND, |world| world.serving(POOL).count() == 10), "it did not grow");
    world.pools.get_mut(&POOL).expect("it is there").traffic = 0.0;
    assert!(world.run_until(300 * SECOND, |world| world.supervisor().workers().count() == 2), "it did not shrink");
}

#[test]
fn once_somebody_is_busy_the_next_census_comes_soon() {
    let scaling = Scaling::Dynamic { start: 2, min: 2, max: 10, min_spare: 0, max_spare: 2, spawn_rate: 4 };
    let mut world = settled(scaling);
    world.deliver(Event::Counted(POOL, Census { busy: 2, ..Census::default() }));
    let now = world.now();
    assert!(world.supervisor().wake_at().is_some_and(|at| at <= now.after(Duration::from_millis(100))));
}

#[test]
fn nothing_is_measured_where_there_is_nobody() {
    let scaling = Scaling::OnDemand { max: 4, idle_timeout: SECOND, spawn_rate: 4 };
    let limits = Limits { scaling, max_memory: Some(100), ..limits(1) };
    let mut world = World::new(vec![limits], vec![Mood::CALM], 7);
    world.run_for(20 * SECOND);
    assert_eq!(world.supervisor().wake_at(), None);
    world.deliver(Event::Knocked(POOL));
    world.run_for(SECOND);
    assert!(world.supervisor().wake_at().is_some());
}

/// One pool of this kind that serves.
fn settled(scaling: Scaling) -> World {
    let mut world = World::new(vec![Limits { scaling, ..limits(1) }], vec![Mood::CALM], 7);
    world.run_for(20 * SECOND);
    world
}
