//! Those who want another size of a pool, or fresh workers in it, and wait for that.
//!
//! * Everybody is answered once, at the latest when the pool ends.
//! * Whoever is told that workers were replaced finds none of them serving, and whoever is told that they were not keeps them.

use std::collections::BTreeSet;

use ratoon::decide::event::{Asker, Event, Outcome, PoolId, Size, Step};

use super::World;
use crate::simulation::process::Phase;

impl World {
    /// Somebody wants the pool of this size.
    pub(in crate::simulation) fn scale(&mut self, pool: PoolId, size: Size) -> Asker {
        let asker = self.new_errand(pool, BTreeSet::new());
        self.deliver(Event::ScaleWanted(pool, size, asker));
        asker
    }

    /// Somebody wants other workers in the pool, or in the slot.
    pub(in crate::simulation) fn restart(&mut self, pool: PoolId, slot: Option<u32>) -> Asker {
        let trial = self.pools.get(&pool).and_then(|farm| farm.trial);
        let meant = self.serving(pool).filter(|worker| Some(worker.edition) != trial);
        let meant = meant.filter(|worker| slot.is_none_or(|slot| worker.who.slot == slot));
        let lives = meant.map(|worker| worker.who.life).collect();
        let asker = self.new_errand(pool, lives);
        self.deliver(Event::RestartWanted(pool, slot, asker));
        asker
    }

    pub(super) fn wish_for_a_size(&mut self) {
        let size = if self.rng.bool() { Size::To(self.rng.u32(1..9)) } else { Size::By(self.rng.i32(-3..=3)) };
        if let Some(pool) = self.any_pool() {
            self.scale(pool, size);
        }
    }

    pub(super) fn wish_for_fresh_workers(&mut self) {
        let slot = self.rng.bool().then(|| self.rng.u32(0..5));
        if let Some(pool) = self.any_pool() {
            self.restart(pool, slot);
        }
    }

    /// Whether this ends what somebody waits for in a pool.
    pub(super) fn end_errand(&mut self, asker: Asker, outcome: &Outcome) -> bool {
        let Some((pool, lives)) = self.errands.remove(&asker) else {
            return false;
        };
        if *outcome == Outcome::Done {
            let mut serving = self.serving(pool).filter(|worker| worker.phase == Phase::Serving);
            assert!(serving.all(|worker| !lives.contains(&worker.who.life)), "{lives:?} were not replaced");
        }
        self.answers.insert(asker, outcome.clone());
        true
    }

    pub(super) fn hear_report(&self, askers: &[Asker], pool: PoolId, Step { done, of }: Step) {
        assert!(done <= of, "{done} of {of} in {pool:?}");
        let waits = |asker: &Asker| self.errands.contains_key(asker) || self.waiting.contains_key(asker);
        assert!(askers.iter().all(waits), "somebody is told who does not wait");
    }

    fn new_errand(&mut self, pool: PoolId, lives: BTreeSet<u64>) -> Asker {
        self.askers += 1;
        self.errands.insert(Asker(self.askers), (pool, lives));
        Asker(self.askers)
    }

    fn any_pool(&mut self) -> Option<PoolId> {
        let pools: Vec<PoolId> = self.pools.keys().copied().collect();
        self.rng.choice(pools)
    }
}
