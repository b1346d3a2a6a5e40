//! What is measured and counted in the model world, and what must be true of those who ask.

use std::time::Duration;

use ratoon::decide::event::{Event, PoolId};
use ratoon::decide::scale::Census;

use super::{Plan, World};
use crate::simulation::process::{Phase, up_to};

impl World {
    pub(super) fn measure(&mut self, pool: PoolId) {
        let workers: Vec<_> = self
            .workers
            .values()
            .filter(|worker| worker.who.pool == pool && worker.phase != Phase::Ordered)
            .map(|worker| (worker.who, worker.edition))
            .collect();
        let mut weights = Vec::new();
        for (who, edition) in workers {
            let bloats = self.chance(pool, edition, |mood| mood.bloats);
            let weight = if bloats { self.rng.u64(50..1_200) } else { 10 };
            if let Some(worker) = self.workers.get_mut(&who.life) {
                worker.weight = weight;
            }
            weights.push((who, weight));
        }
        self.deliver(Event::Measured(weights));
    }

    pub(super) fn count(&mut self, pool: PoolId) {
        let Some(farm) = self.pools.get(&pool) else { return };
        let serving = self.serving(pool).count() as f64;
        let busy = (serving * farm.traffic).round();
        let waits = farm.traffic >= 1.0;
        let census = Census {
            idle: (serving - busy) as u32,
            busy: busy as u32,
            waiting: if waits { self.rng.u32(0..4) } else { 0 },
            held: busy as u32,
            waited: if waits { up_to(400, &mut self.rng) } else { Duration::ZERO },
            requests: u64::from(farm.traffic > 0.0),
        };
        self.deliver(Event::Counted(pool, census));
    }

    pub(super) fn await_knock(&mut self, pool: PoolId) {
        let farm = &self.pools[&pool];
        assert!(farm.ending.is_none(), "a pool that ends waits for somebody");
        if farm.traffic > 0.0 {
            let delay = up_to(2_000, &mut self.rng);
            self.plan(delay, Plan::Knock(pool));
        }
    }
}
