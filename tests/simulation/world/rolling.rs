//! What holds while workers are replaced: never too few serve, and never too many live.
//!
//! * Whoever is told to retire leaves at least as many others who serve as the pool wants.
//! * Whoever is ordered is within what is wanted and the surge, counting everybody who is neither trailing nor
//!   draining, nor starting or being killed as one of an edition that was given up; only one on trial comes in addition, and only one at a time.

use ratoon::decide::event::{Edition, PoolId, WorkerRef};

use super::World;
use crate::simulation::process::{Phase, Worker};

impl World {
    /// How many this pool wants, before the event that is being answered and after it.
    fn wanted(&self, pool: PoolId) -> [usize; 2] {
        let after = self.supervisor.pool(pool).map_or(0, |view| view.wanted);
        [self.wanted.get(&pool).copied().unwrap_or(after), after]
    }

    pub(super) fn assert_spare(&self, who: WorkerRef) {
        let farm = &self.pools[&who.pool];
        let worker = &self.workers[&who.life];
        assert_ne!(Some(worker.edition), farm.trial, "one on trial was retired");
        let others = self.serving(who.pool).filter(|other| other.who != who && Some(other.edition) != farm.trial);
        let (others, [before, after]) = (others.count(), self.wanted(who.pool));
        assert!(others >= before.min(after), "{who:?} retires and {others} are left of {before} or {after}");
    }

    pub(super) fn assert_room(&self, who: WorkerRef, edition: Edition) {
        let farm = &self.pools[&who.pool];
        assert_eq!(farm.ending, None, "a fork was ordered after the end began");
        let mut mine = self.workers.values().filter(|worker| worker.who.pool == who.pool);
        if farm.trial == Some(edition) {
            assert!(mine.all(|worker| worker.edition != edition), "two on trial at a time");
            return;
        }
        assert_eq!(edition, farm.serving, "a worker of what does not serve");
        let given_up = |worker: &Worker| {
            let starts = matches!(worker.phase, Phase::Ordered | Phase::Starting | Phase::Refused);
            (starts || worker.killed.is_some()) && !farm.wants(worker.edition)
        };
        let alive = mine.filter(|worker| !matches!(worker.phase, Phase::Trailing | Phase::Draining));
        let alive = alive.filter(|worker| !given_up(worker)).count();
        let [before, after] = self.wanted(who.pool);
        let wanted = before.max(after);
        let most = wanted + farm.limits().surge_of(u32::try_from(wanted).unwrap()) as usize;
        assert!(alive < most, "{who:?} would be beyond {most}");
    }
}
