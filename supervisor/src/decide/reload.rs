//! A reload: a transaction over all pools it concerns.
//!
//! Read, try, adopt, watch, conclude; whatever fails on the way takes everything back and says why. Owns the one that
//! runs, the wish for the next, and the count of editions. Never looks into a pool: each says how its trial does. Nothing
//! that the old configuration uses is taken away before the new one is concluded.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Turn;
use super::event::{Action, Asker, Edition, Outcome, PoolId, Proposal, Scope, Step, Stop, Time};
use super::note::Note;
use super::pool::{Pool, Trial, Turnover};
use super::realm::Realm;

/// All there is to know of reloads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reloads {
    pub(super) running: Option<Reload>,
    /// A wish that came during a reload, or an upgrade: granted once that is over, however often it came.
    pub(super) remembered: Option<(Scope, Vec<Asker>)>,
    /// The newest edition there was.
    pub(super) newest: Edition,
    /// When and how the last one ended.
    pub(super) last: Option<(Time, Outcome)>,
}

/// One reload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reload {
    pub(super) edition: Edition,
    pub(super) askers: Vec<Asker>,
    pub(super) stage: Stage,
    /// The pools that get a new generation.
    pub(super) pools: Vec<PoolId>,
    /// The pools that end with it.
    pub(super) removed: Vec<PoolId>,
    /// What whoever waits was last told of each pool.
    told: BTreeMap<PoolId, Step>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The file is read, and what it names is opened.
    Reading,
    /// Every pool tries the new edition beside the old one.
    Trying,
    /// It is adopted: the old workers are replaced.
    Rolling,
    /// The new ones serve alone, and are watched until this moment.
    Settling {
        /// The moment.
        until: Time,
    },
}

impl Reloads {
    /// None so far; the daemon has begun with the first edition.
    pub(super) fn new() -> Self {
        Reloads { running: None, remembered: None, newest: Edition(1), last: None }
    }

    /// Remembers the wish for later, joined with one that is remembered already.
    pub(super) fn remember(&mut self, scope: Scope, asker: Asker) {
        let (wanted, mut askers) = self.remembered.take().unwrap_or((scope.clone(), Vec::new()));
        if !askers.contains(&asker) {
            askers.push(asker);
        }
        self.remembered = Some((join(wanted, scope), askers));
    }

    /// Begins one; returns its edition.
    pub(super) fn begin(&mut self, askers: Vec<Asker>) -> Edition {
        self.newest = Edition(self.newest.0.saturating_add(1));
        let (pools, removed, told) = (Vec::new(), Vec::new(), BTreeMap::new());
        self.running = Some(Reload { edition: self.newest, askers, stage: Stage::Reading, pools, removed, told });
        self.newest
    }
}

fn join(one: Scope, other: Scope) -> Scope {
    match (one, other) {
        (Scope::Pools(mut pools), Scope::Pools(more)) => {
            pools.extend(more);
            pools.sort_unstable();
            pools.dedup();
            Scope::Pools(pools)
        }
        (Scope::Everything, _) | (_, Scope::Everything) => Scope::Everything,
    }
}

impl Realm {
    /// Somebody wants a reload: now, or once the reload or the upgrade under way is over.
    pub(super) fn want_reload(&mut self, scope: Scope, asker: Asker, turn: &mut Turn<'_>) {
        if self.is_stopping() {
            let outcome = Outcome::Failed { pool: None, reason: "the daemon is stopping".into() };
            turn.push(Action::Answer(vec![asker], outcome));
        } else if self.reloads.running.is_some() || self.is_upgrading() {
            if self.reloads.remembered.is_none() {
                turn.note(Note::ReloadRemembered);
            }
            self.reloads.remember(scope, asker);
        } else {
            self.begin_reload(scope, vec![asker], turn);
        }
    }

    /// The file was read, and what it names is open; or not.
    pub(super) fn configuration_read(&mut self, edition: Edition, read: Result<Proposal, String>, turn: &mut Turn<'_>) {
        let Some(reload) = &mut self.reloads.running else {
            return;
        };
        if reload.edition != edition || reload.stage != Stage::Reading {
            return;
        }
        let proposal = match read {
            Ok(proposal) => proposal,
            Err(reason) => return self.fail_reload(None, reason, turn),
        };
        reload.stage = Stage::Trying;
        reload.removed = proposal.removed;
        reload.pools = proposal.plans.iter().map(|plan| plan.pool).collect();
        for plan in proposal.plans {
            match self.pools.get_mut(&plan.pool) {
                Some(pool) => pool.begin_trial(plan, edition),
                None => {
                    self.pools.insert(plan.pool, Pool::new(plan, edition, Turnover::trial(edition), turn.now));
                }
            }
        }
    }

    /// Takes the reload one stage further if it can go; whether it did.
    pub(super) fn advance_reload(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(reload) = &self.reloads.running else {
            return false;
        };
        let (edition, stage) = (reload.edition, reload.stage);
        let pools: Vec<PoolId> = reload.pools.clone();
        let mut proven = true;
        for id in &pools {
            let gone = || Trial::Failed("the pool has ended".into());
            match self.pool(*id).map_or_else(gone, |pool| pool.trial(turn.now)) {
                Trial::Proven => {}
                Trial::Open => proven = false,
                Trial::Failed(reason) => {
                    self.fail_reload(Some(*id), reason, turn);
                    return true;
                }
            }
        }
        let next = match stage {
            Stage::Reading => return false,
            Stage::Trying if proven => {
                turn.note(Note::Rolling(edition));
                turn.push(Action::Adopt(edition));
                self.for_each(&pools, |pool| pool.adopt(turn));
                Stage::Rolling
            }
            Stage::Rolling if proven => {
                turn.note(Note::Settling(edition));
                let settle = pools.iter().filter_map(|id| self.pool(*id)).map(|pool| pool.limits().settle).max();
                Stage::Settling { until: turn.now.after(settle.unwrap_or(Duration::ZERO)) }
            }
            Stage::Settling { until } if until <= turn.now => {
                self.conclude_reload(&pools, turn);
                return true;
            }
            Stage::Trying | Stage::Rolling | Stage::Settling { .. } => return false,
        };
        if let Some(reload) = &mut self.reloads.running {
            reload.stage = next;
        }
        true
    }

    /// When the reload wants to be looked at.
    pub(super) fn reload_is_due(&self) -> Option<Time> {
        match self.reloads.running.as_ref()?.stage {
            Stage::Settling { until } => Some(until),
            Stage::Reading | Stage::Trying | Stage::Rolling => None,
        }
    }

    /// There will be no reload any more.
    pub(super) fn give_up_reloads(&mut self, outcome: Outcome, turn: &mut Turn<'_>) {
        let running = self.reloads.running.take().map(|reload| reload.askers);
        let remembered = self.reloads.remembered.take().map(|(_, askers)| askers);
        let askers: Vec<Asker> = running.into_iter().chain(remembered).flatten().collect();
        if !askers.is_empty() {
            turn.push(Action::Answer(askers, outcome));
        }
    }

    pub(super) fn reloading(&self) -> Option<(Edition, bool)> {
        let reload = self.reloads.running.as_ref()?;
        Some((reload.edition, matches!(reload.stage, Stage::Rolling | Stage::Settling { .. })))
    }

    /// How far a reload is, if one runs.
    pub(super) fn reload_stage(&self) -> Option<Stage> {
        self.reloads.running.as_ref().map(|reload| reload.stage)
    }

    /// How far a pool is with the reload that runs, if it is one of those that get a new generation.
    pub(super) fn reload_of(&self, id: PoolId) -> Option<Step> {
        let reload = self.reloads.running.as_ref()?;
        let pool = self.pool(id).filter(|_| reload.pools.contains(&id))?;
        Some(pool.renewed(reload.edition))
    }

    /// Tells whoever waits how many workers are replaced, whenever that changes.
    pub(super) fn report_reload(&mut self, turn: &mut Turn<'_>) {
        let Some(reload) = self.reloads.running.as_ref().filter(|reload| reload.stage == Stage::Rolling) else {
            return;
        };
        let steps: Vec<(PoolId, Step)> =
            reload.pools.iter().filter_map(|id| Some((*id, self.reload_of(*id)?))).collect();
        if let Some(reload) = &mut self.reloads.running {
            for (id, step) in steps {
                if reload.told.insert(id, step) != Some(step) {
                    turn.push(Action::Report(reload.askers.clone(), id, step));
                }
            }
        }
    }

    pub(super) fn last_reload(&self) -> Option<&(Time, Outcome)> {
        self.reloads.last.as_ref()
    }

    fn begin_reload(&mut self, scope: Scope, askers: Vec<Asker>, turn: &mut Turn<'_>) {
        let edition = self.reloads.begin(askers);
        turn.note(Note::Reloading(edition));
        turn.push(Action::ReadConfiguration(edition, scope));
    }

    fn conclude_reload(&mut self, pools: &[PoolId], turn: &mut Turn<'_>) {
        let Some(reload) = &self.reloads.running else {
            return;
        };
        let removed = reload.removed.clone();
        turn.push(Action::Conclude(reload.edition));
        self.for_each(pools, Pool::conclude);
        for id in &removed {
            turn.note(Note::Removing(*id));
        }
        self.for_each(&removed, |pool| {
            pool.end(Stop::Graceful, turn);
        });
        self.finish_reload(Outcome::Done, turn);
    }

    fn fail_reload(&mut self, pool: Option<PoolId>, reason: String, turn: &mut Turn<'_>) {
        let Some(reload) = &self.reloads.running else {
            return;
        };
        turn.push(Action::Abandon(reload.edition));
        let pools = reload.pools.clone();
        self.for_each(&pools, |pool| pool.revert(turn));
        self.finish_reload(Outcome::Failed { pool, reason }, turn);
    }

    fn finish_reload(&mut self, outcome: Outcome, turn: &mut Turn<'_>) {
        let Some(reload) = self.reloads.running.take() else {
            return;
        };
        turn.note(Note::Reloaded(reload.edition, outcome.clone()));
        turn.push(Action::Answer(reload.askers, outcome.clone()));
        self.reloads.last = Some((turn.now, outcome));
        self.grant_reload(turn);
    }

    /// Begins the reload that was remembered, if one was.
    pub(super) fn grant_reload(&mut self, turn: &mut Turn<'_>) {
        if let Some((scope, askers)) = self.reloads.remembered.take() {
            self.begin_reload(scope, askers, turn);
        }
    }

    fn for_each(&mut self, ids: &[PoolId], mut tell: impl FnMut(&mut Pool)) {
        for id in ids {
            if let Some(pool) = self.pools.get_mut(id) {
                tell(pool);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PoolId = PoolId(1);
    const B: PoolId = PoolId(2);

    #[test]
    fn two_wishes_for_some_pools_are_one_for_all_of_these_and_everything_takes_in_every_other() {
        let some = |pools: &[PoolId]| Scope::Pools(pools.to_vec());
        assert_eq!(join(some(&[B]), some(&[A, B])), some(&[A, B]));
        assert_eq!(join(some(&[]), some(&[])), some(&[]));
        assert_eq!(join(Scope::Everything, some(&[A])), Scope::Everything);
        assert_eq!(join(some(&[A]), Scope::Everything), Scope::Everything);
    }

    #[test]
    fn one_wish_is_remembered_for_everybody_who_has_it() {
        let mut reloads = Reloads::new();
        for (asker, pool) in [(1, B), (2, A), (3, B)] {
            reloads.remember(Scope::Pools(vec![pool]), Asker(asker));
        }
        let remembered = (Scope::Pools(vec![A, B]), vec![Asker(1), Asker(2), Asker(3)]);
        assert_eq!(reloads.remembered, Some(remembered));
    }

    #[test]
    fn editions_are_counted_from_the_one_the_daemon_began_with() {
        let mut reloads = Reloads::new();
        let begun = [1, 2].map(|asker| reloads.begin(vec![Asker(asker)]));
        assert_eq!(begun, [Edition(2), Edition(3)]);
    }
}
