//! The configuration, those who wish for it to be read, and what becomes of each edition.

use std::time::Duration;

use ratoon::decide::event::{Asker, Edition, Event, Outcome, Plan as Numbers, PoolId, Proposal, Scope, Stop};
use ratoon::decide::limits::Limits;

use super::{CALM, Plan, World};
use crate::simulation::farm::{Farm, Release, random_limits};
use crate::simulation::mood::Mood;
use crate::simulation::process::up_to;

/// No more pools than that at a time.
const MOST_POOLS: usize = 5;

/// What a file says.
#[derive(Debug, Clone, Default)]
pub(in crate::simulation) struct File {
    pub(in crate::simulation) pools: Vec<(PoolId, Limits, Mood)>,
    pub(in crate::simulation) removed: Vec<PoolId>,
}

/// A reload that runs.
#[derive(Debug)]
pub(in crate::simulation) struct Transaction {
    pub(in crate::simulation) edition: Edition,
    pub(super) read: bool,
    pub(in crate::simulation) adopted: bool,
    pub(super) pools: Vec<PoolId>,
    pub(super) new: Vec<PoolId>,
    pub(super) removed: Vec<PoolId>,
}

pub(super) fn plans(pools: impl Iterator<Item = (PoolId, Limits)>) -> Vec<Numbers> {
    pools.map(|(pool, limits)| Numbers { pool, limits }).collect()
}

impl World {
    /// Somebody wants a reload and waits for its outcome.
    pub(in crate::simulation) fn reload(&mut self, scope: Scope) -> Asker {
        self.askers += 1;
        let asker = Asker(self.askers);
        let last = self.running.as_ref().map_or(Edition(0), |running| running.edition);
        self.waiting.insert(asker, last);
        self.deliver(Event::ReloadWanted(scope, asker));
        asker
    }

    /// What all pools are now, as a file that changes nothing.
    pub(in crate::simulation) fn present_file(&self, mood: Mood) -> File {
        let open = self.pools.iter().filter(|(_, farm)| farm.ending.is_none());
        let pools = open.map(|(pool, farm)| (*pool, farm.limits().clone(), mood)).collect();
        File { pools, removed: Vec::new() }
    }

    pub(super) fn wish(&mut self) {
        let some: Vec<PoolId> = self.pools.keys().copied().filter(|_| self.rng.bool()).collect();
        match self.rng.u8(0..14) {
            0 => {
                self.deliver(Event::SizeWanted(1));
            }
            1 => {
                self.deliver(Event::SizeWanted(-1));
            }
            2 => {
                self.deliver(Event::WorkersUnwanted);
            }
            3 => {
                for _ in 0..25 {
                    self.reload(Scope::Everything);
                }
            }
            4 => {
                self.reload(Scope::Pools(some));
            }
            5 | 6 => {
                self.deliver(Event::UpgradeWanted);
            }
            7 => self.wish_for_a_size(),
            8 => self.wish_for_fresh_workers(),
            _ => {
                self.reload(Scope::Everything);
            }
        }
        let next = up_to(60_000, &mut self.rng);
        self.plan(next, Plan::Wish);
    }

    pub(super) fn begin_reading(&mut self, edition: Edition, scope: &Scope) {
        assert!(self.running.is_none(), "two reloads at a time");
        assert!(self.succession.agreed.is_none(), "a reload began that the successor would be handed half done");
        assert_eq!(self.stop, None, "a reload began after the stop");
        assert!(edition > Edition(1) && self.ended.is_none_or(|(last, _)| edition > last), "an edition came again");
        self.loads += 1;
        let [pools, new, removed] = [const { Vec::new() }; 3];
        self.running = Some(Transaction { edition, read: false, adopted: false, pools, new, removed });
        let delay = up_to(20, &mut self.rng);
        self.plan(delay, Plan::Read(edition, scope.clone()));
    }

    pub(super) fn read(&mut self, edition: Edition, scope: &Scope) {
        if self.stop.is_some() {
            return;
        }
        let file = match &self.file {
            Some(file) => file.clone(),
            None if self.chaos => self.random_file(),
            None => Ok(self.present_file(Mood::CALM)),
        };
        let named = |pool: &PoolId| match scope {
            Scope::Everything => true,
            Scope::Pools(pools) => pools.contains(pool),
        };
        let running = self.running.as_mut().expect("a reload is being read");
        assert_eq!(running.edition, edition);
        let read = file.map(|mut file| {
            running.read = true;
            file.pools.retain(|(pool, ..)| named(pool));
            file.removed.retain(|_| *scope == Scope::Everything);
            for (pool, limits, mood) in &file.pools {
                running.pools.push(*pool);
                let release = Release { limits: limits.clone(), mood: *mood };
                match self.pools.get_mut(pool) {
                    Some(farm) => {
                        farm.releases.insert(edition, release);
                        farm.trial = Some(edition);
                    }
                    None => {
                        running.new.push(*pool);
                        let mut farm = Farm::new(edition, release);
                        farm.trial = Some(edition);
                        self.pools.insert(*pool, farm);
                    }
                }
            }
            running.removed = file.removed.clone();
            let plans = plans(file.pools.into_iter().map(|(pool, limits, _)| (pool, limits)));
            Proposal { plans, removed: file.removed }
        });
        let new = running.new.clone();
        self.deliver(Event::ConfigurationRead(edition, read));
        if self.chaos {
            new.into_iter().for_each(|pool| self.trouble(pool));
        }
    }

    fn random_file(&mut self) -> Result<File, String> {
        if self.rng.u8(0..8) == 0 {
            return Err("line 3: unknown key".into());
        }
        let mut file = File::default();
        let open: Vec<PoolId> =
            self.pools.iter().filter(|(_, farm)| farm.ending.is_none()).map(|(pool, _)| *pool).collect();
        for pool in open {
            let present = self.pools[&pool].limits().clone();
            if pool == CALM {
                file.pools.push((pool, present, Mood::CALM));
            } else if self.rng.u8(0..12) == 0 {
                file.removed.push(pool);
            } else {
                let limits = if self.rng.bool() { random_limits(&mut self.rng) } else { present };
                let mood = if self.rng.bool() { Mood::CALM } else { Mood::random(&mut self.rng) };
                file.pools.push((pool, limits, mood));
            }
        }
        if self.rng.u8(0..5) == 0 && self.pools.len() < MOST_POOLS {
            let mood = if self.rng.bool() { Mood::CALM } else { Mood::random(&mut self.rng) };
            file.pools.push((PoolId(self.known), random_limits(&mut self.rng), mood));
            self.known += 1;
        }
        Ok(file)
    }

    pub(super) fn prepare(&mut self, pool: PoolId, edition: Edition) {
        let farm = self.pools.get_mut(&pool).expect("an unknown pool is prepared");
        assert!(farm.ending.is_none() && farm.wants(edition), "what is not wanted is prepared");
        assert!(farm.releases[&edition].limits.prepare, "there is nothing to prepare it by");
        assert!(farm.preparing.is_empty(), "two commands prepare a pool at a time");
        farm.preparing.insert(edition);
        let fails = self.chance(pool, edition, |mood| mood.prepare_fails);
        if !self.chance(pool, edition, |mood| mood.prepare_hangs) {
            let outcome = if fails { Err("exited 1".to_owned()) } else { Ok(()) };
            let delay = up_to(500, &mut self.rng);
            self.plan(delay, Plan::Prepared(pool, edition, outcome));
        }
    }

    pub(super) fn end_preparation(&mut self, pool: PoolId, edition: Edition, outcome: Result<(), String>) {
        // A late report of one that was abandoned is told all the same in a chaos.
        let was_running = self.pools.get_mut(&pool).is_some_and(|farm| farm.preparing.remove(&edition));
        if was_running || self.chaos {
            self.deliver(Event::Prepared(pool, edition, outcome));
        }
    }

    pub(super) fn abandon_preparation(&mut self, pool: PoolId, edition: Edition) {
        let farm = self.pools.get_mut(&pool).expect("an unknown pool's preparation was abandoned");
        assert!(farm.preparing.remove(&edition), "a preparation that does not run was abandoned");
        self.agenda.retain(|_, plan| !matches!(plan, Plan::Prepared(of, which, _) if (*of, *which) == (pool, edition)));
    }

    pub(super) fn adopt(&mut self, edition: Edition) {
        let running = self.running.as_mut().expect("nothing to adopt");
        assert!(running.edition == edition && running.read && !running.adopted, "{running:?}: adopt {edition:?}");
        running.adopted = true;
        for pool in &running.pools {
            let farm = self.pools.get_mut(pool).expect("adopted by a pool that is gone");
            assert!(farm.proven.contains(&edition), "adopted before {pool:?} had a ready worker of it");
            assert_eq!((farm.trial, farm.ending), (Some(edition), None));
            farm.trial = None;
            farm.from = (farm.serving != edition).then_some(farm.serving);
            farm.serving = edition;
            self.tried.retain(|(of, _), _| of != pool);
        }
    }

    pub(super) fn abandon(&mut self, edition: Edition) {
        let running = self.running.take().expect("nothing to abandon");
        assert_eq!(running.edition, edition);
        for pool in &running.pools {
            let farm = self.pools.get_mut(pool).expect("abandoned by a pool that is gone");
            farm.trial = None;
            if let Some(from) = farm.from.take() {
                farm.serving = from;
            }
            self.tried.retain(|(of, _), _| of != pool);
        }
        running.new.iter().for_each(|pool| self.begin_end(*pool, Stop::Graceful));
        self.ended = Some((edition, false));
    }

    pub(super) fn conclude(&mut self, edition: Edition) {
        let running = self.running.take().expect("nothing to conclude");
        assert!(running.edition == edition && running.adopted, "{running:?}: conclude {edition:?}");
        for pool in &running.pools {
            self.pools.get_mut(pool).expect("concluded by a pool that is gone").from = None;
        }
        running.removed.iter().for_each(|pool| self.begin_end(*pool, Stop::Graceful));
        self.ended = Some((edition, true));
    }

    pub(super) fn answer(&mut self, askers: &[Asker], outcome: &Outcome) {
        assert!(!askers.is_empty(), "nobody was answered");
        for asker in askers {
            if self.end_errand(*asker, outcome) {
                continue;
            }
            let since = self.waiting.remove(asker).expect("somebody was answered who does not wait");
            if self.stop.is_none() {
                let (edition, done) = self.ended.expect("answered before a reload has ended");
                assert!(edition > since, "answered with a reload that had begun before it was wished for");
                assert_eq!(*outcome == Outcome::Done, done, "that is not how it ended");
            } else {
                assert_ne!(*outcome, Outcome::Done);
            }
            self.answers.insert(*asker, outcome.clone());
        }
    }

    pub(super) fn close(&mut self, pool: PoolId) {
        let farm = self.pools.remove(&pool).expect("an unknown pool was closed");
        assert!(self.errands.values().all(|(of, _)| *of != pool), "somebody waits for {pool:?}, which is no more");
        assert!(farm.ending.is_some() && farm.preparing.is_empty(), "{pool:?} was closed while it was open");
        assert!(self.workers.values().all(|worker| worker.who.pool != pool), "{pool:?} left workers behind");
        assert!(self.templates.values().all(|template| template.who.pool != pool), "{pool:?} left a template behind");
    }

    /// Nobody waits longer than this for the outcome of a reload, if nothing is wrong.
    pub(in crate::simulation) fn finish_reload(&mut self, asker: Asker) -> Outcome {
        self.run_until(Duration::from_secs(120), |world| world.answers.contains_key(&asker));
        self.answers.get(&asker).expect("never answered").clone()
    }
}
