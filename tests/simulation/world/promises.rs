//! The promises that must hold after every event, and when a kill is deserved.

use std::collections::BTreeSet;
use std::time::Duration;

use ratoon::decide::cause::{Cause, Wish};
use ratoon::decide::event::{PoolId, Stop, TemplateRef, WorkerRef};

use super::{CALM, World};
use crate::simulation::process::{Phase, Template, TemplatePhase, Worker};

/// A slot that starts anew after every ten seconds of service could reach 28 attempts a minute, a little more with
/// jitter; nothing may reach more.
const MOST_ATTEMPTS_A_MINUTE: usize = 32;

/// Where reloads come faster than workers leave, only so many old templates wait for the last of theirs.
const MOST_OLD_TEMPLATES: usize = 4;

impl World {
    /// No worker is killed but for the cause that is told, and none that is busy within its time.
    pub(super) fn assert_deserved(&self, who: WorkerRef, cause: &Cause) {
        let worker = &self.workers[&who.life];
        let farm = &self.pools[&who.pool];
        let late = |grace| worker.deadline.is_some_and(|deadline| self.now >= deadline.after(grace));
        let deserved = match cause {
            Cause::BootTimeout => late(Duration::ZERO) && worker.phase == Phase::Starting,
            Cause::BootFailed(_) => late(Duration::ZERO) && worker.phase == Phase::Refused,
            Cause::RequestTimeout => late(farm.limits().kill_grace) && worker.has_been_ready(),
            Cause::Memory => farm.limits().max_memory_hard.is_some_and(|most| worker.weight > most),
            Cause::StopTimeout => self.is_out_of_time(who.pool) || self.has_overstayed(worker),
            Cause::StoppedNow => match farm.ending {
                Some((Stop::Now, _)) => true,
                // Somebody who serves the queue must make up for it; one that leaves may never look at it again.
                Some((Stop::Graceful, _)) => worker.phase == Phase::Starting && farm.queue_served,
                None => false,
            },
            Cause::Retired(Wish::Reload) => worker.phase == Phase::Starting && !farm.wants(worker.edition),
            Cause::Exited(_)
            | Cause::Signal { .. }
            | Cause::KilledFromOutside
            | Cause::KilledForMemory
            | Cause::NotStarted(_)
            | Cause::Recycled(_)
            | Cause::Retired(_)
            | Cause::TemplateLost => false,
        };
        assert!(deserved, "{worker:?} was killed for {cause:?}");
    }

    /// Whether a stop has lasted as long as this pool lets it.
    pub(super) fn is_out_of_time(&self, pool: PoolId) -> bool {
        let farm = &self.pools[&pool];
        farm.ending.is_some_and(|(_, began)| self.now >= began.after(farm.limits().stop_timeout))
    }

    /// Whether it leaves and should be gone.
    fn has_overstayed(&self, worker: &Worker) -> bool {
        matches!(worker.phase, Phase::Leaving | Phase::Trailing)
            && worker.leaves.is_some_and(|(until, _)| self.now >= until)
    }

    /// What must hold after every event.
    pub(super) fn check(&self) {
        let slots: BTreeSet<_> = self.workers.values().map(|worker| (worker.who.pool, worker.who.slot)).collect();
        assert_eq!(slots.len(), self.workers.len(), "two lives in one slot");
        for worker in self.workers.values().filter(|worker| worker.phase == Phase::Ordered) {
            assert!(self.templates.contains_key(&worker.template), "{worker:?} waits for a dead template");
        }
        for worker in self.workers.values().filter(|worker| self.has_overstayed(worker)) {
            assert!(worker.killed.is_some(), "{worker:?} keeps its slot for ever");
        }
        self.check_old_templates();
        for (pool, farm) in &self.pools {
            let runs = |edition| farm.ending.is_none() && farm.wants(edition);
            assert!(farm.preparing.iter().all(|edition| runs(*edition)), "{pool:?} prepares what nobody wants");
        }
        let believed: BTreeSet<_> = self.supervisor.workers().map(|(who, ..)| who.life).collect();
        assert!(believed.iter().eq(self.workers.keys()), "it believes in other workers than there are");
        let believed: BTreeSet<_> = self.supervisor.templates().map(|(who, ..)| who.life).collect();
        assert!(believed.iter().eq(self.templates.keys()), "it believes in other templates than there are");
        assert!(self.supervisor.wake_at().is_none_or(|at| at > self.now), "it asks to be woken in the past");
        let running = self.running.as_ref().map(|running| (running.edition, running.adopted));
        assert_eq!(self.supervisor.reloading(), running, "it believes in another reload than there is");
    }

    /// A template whose edition is not wanted any more is there for the last words of its workers, and goes with the
    /// last of them.
    fn check_old_templates(&self) {
        let stays = |template: &&Template| {
            let farm = &self.pools[&template.who.pool];
            let can = matches!(template.phase, TemplatePhase::Loading | TemplatePhase::Loaded) && !template.killed;
            can && farm.ending.is_none() && !farm.wants(template.edition)
        };
        for template in self.templates.values().filter(stays) {
            assert!(self.workers_of(template.who).next().is_some(), "{template:?} is there for nobody");
        }
    }

    /// Those whom this template has forked, or is to fork.
    pub(super) fn workers_of(&self, template: TemplateRef) -> impl Iterator<Item = &Worker> {
        self.workers.values().filter(move |worker| worker.template == template.life)
    }

    /// Whether a template may be dismissed that still has workers: so many newer ones are as old-fashioned.
    pub(super) fn is_crowded_out(&self, template: &Template) -> bool {
        let farm = &self.pools[&template.who.pool];
        let mine = self.templates.values().filter(|it| it.who.pool == template.who.pool && !farm.wants(it.edition));
        mine.filter(|it| it.generation > template.generation).count() >= MOST_OLD_TEMPLATES
    }

    /// No slot, and no template, is tried without pause.
    pub(super) fn check_attempts(&self, pool: PoolId, slot: Option<u32>) {
        let tried = &self.tried[&(pool, slot)];
        let minute = Duration::from_secs(60);
        let recent = tried.iter().rev().take_while(|(.., at)| self.now.since(*at) < minute).count();
        assert!(recent <= MOST_ATTEMPTS_A_MINUTE, "{recent} attempts in a minute at {slot:?} of {pool:?}");
    }

    /// A death that is nobody's fault, or that of one of which no more are made, asks for no pause.
    pub(super) fn excuse(&mut self, who: WorkerRef, cause: &Cause) {
        let clean = matches!(cause, Cause::Retired(_) | Cause::Recycled(_) | Cause::TemplateLost);
        let makes = self.pools.get(&who.pool).map(|farm| (Some(farm.serving), farm.trial));
        let is_made = |edition| makes.is_some_and(|(serving, trial)| [serving, trial].contains(&Some(edition)));
        if let Some(tried) = self.tried.get_mut(&(who.pool, Some(who.slot))) {
            tried.retain(|(life, edition, _)| *life != who.life || (!clean && is_made(*edition)));
        }
    }

    /// One pool's trouble never touches another's.
    pub(super) fn check_calm_pool(&self) {
        if self.chaos && !self.wishes && self.stop.is_none() {
            assert!(self.attempts(CALM) <= 1 + 3, "the calm pool was touched");
        }
    }
}
