//! The promises that must hold after every event, and when a kill is deserved.

use std::collections::BTreeSet;
use std::time::Duration;

use ratoon::decide::event::{Cause, PoolId, Stop, WorkerRef};

use super::World;
use crate::simulation::process::{Phase, Worker};

/// A slot that starts anew after every ten seconds of service could reach 28 attempts a minute, a little more with
/// jitter; nothing may reach more.
const MOST_ATTEMPTS_A_MINUTE: usize = 32;

impl World {
    /// No worker is killed but for the cause that is told, and none that is busy within its time.
    pub(super) fn assert_deserved(&self, who: WorkerRef, cause: &Cause) {
        let worker = &self.workers[&who.life];
        let overdue = worker.reported_overdue;
        let serves = matches!(worker.phase, Phase::Serving | Phase::Leaving | Phase::Draining);
        let deserved = match cause {
            Cause::BootTimeout => overdue && worker.phase == Phase::Starting,
            Cause::BootRefused(_) => overdue && worker.phase == Phase::Refused,
            Cause::RequestTimeout => overdue && serves,
            Cause::StopTimeout => self.is_out_of_time(who.pool) || self.has_overstayed(worker),
            Cause::StoppedNow => match self.stop {
                Some((Stop::Now, _)) => true,
                // Somebody who serves the queue must make up for it; one that leaves may never look at it again.
                Some((Stop::Graceful, _)) => worker.phase == Phase::Starting && self.queue_served.contains(&who.pool),
                None => false,
            },
            Cause::Exited(_) | Cause::Killed { .. } | Cause::NotStarted(_) | Cause::Retired | Cause::TemplateLost => {
                false
            }
        };
        assert!(deserved, "{worker:?} was killed for {cause:?}");
    }

    /// Whether a stop has lasted as long as this pool lets it.
    pub(super) fn is_out_of_time(&self, pool: PoolId) -> bool {
        self.stop.is_some_and(|(_, began)| self.now >= began.after(self.limits[pool.0 as usize].stop_timeout))
    }

    /// Whether it leaves of its own accord and should be gone.
    fn has_overstayed(&self, worker: &Worker) -> bool {
        let limits = &self.limits[worker.who.pool.0 as usize];
        worker.phase == Phase::Leaving
            && worker.leaving_since.is_some_and(|since| self.now >= since.after(limits.stop_timeout))
    }

    /// What must hold after every event.
    pub(super) fn check(&self) {
        for (pool, limits) in (0..).map(PoolId).zip(&self.limits) {
            let mine: Vec<_> = self.workers.values().filter(|worker| worker.who.pool == pool).collect();
            assert!(mine.len() <= limits.workers as usize, "{pool:?} has too many workers");
            let slots: BTreeSet<_> = mine.iter().map(|worker| worker.who.slot).collect();
            assert_eq!(slots.len(), mine.len(), "two lives in one slot of {pool:?}");
        }
        for worker in self.workers.values().filter(|worker| worker.phase == Phase::Ordered) {
            assert!(self.templates.contains_key(&worker.template), "{worker:?} waits for a dead template");
        }
        for worker in self.workers.values().filter(|worker| self.has_overstayed(worker)) {
            assert!(worker.killed.is_some(), "{worker:?} keeps its slot for ever");
        }
        let believed: BTreeSet<_> = self.supervisor.workers().map(|(who, ..)| who.life).collect();
        assert!(believed.iter().eq(self.workers.keys()), "it believes in other workers than there are");
        let believed: BTreeSet<_> = self.supervisor.templates().map(|(who, ..)| who.life).collect();
        assert!(believed.iter().eq(self.templates.keys()), "it believes in other templates than there are");
        assert!(self.supervisor.wake_at().is_none_or(|at| at > self.now), "it asks to be woken in the past");
        self.check_attempts();
        self.check_calm_pool();
    }

    /// No slot, and no template, is tried without pause.
    fn check_attempts(&self) {
        let Some(last) = self.attempts.last() else {
            return;
        };
        let minute = Duration::from_secs(60);
        let recent = self.attempts.iter().rev().take_while(|attempt| last.at.since(attempt.at) < minute);
        let count = recent.filter(|attempt| (attempt.pool, attempt.slot) == (last.pool, last.slot)).count();
        assert!(count <= MOST_ATTEMPTS_A_MINUTE, "{count} attempts in a minute like {last:?}");
    }

    /// One pool's trouble never touches another's.
    fn check_calm_pool(&self) {
        if !self.chaos || self.stop.is_some() {
            return;
        }
        let calm = PoolId(2);
        let touched = self.attempts.iter().filter(|attempt| attempt.pool == calm).count();
        assert!(touched <= 1 + 3, "the calm pool was touched");
    }
}
