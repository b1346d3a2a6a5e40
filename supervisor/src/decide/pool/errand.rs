//! What somebody waits for in this pool: another size, or fresh workers.
//!
//! Owns who waits, and when they are answered: once the pool has come to what was asked for, once something has failed
//! that was started since, or the pool ends. Starts and replaces nothing: how many there should be is the scaler's, who is replaced
//! `turnover`'s.

use serde::{Deserialize, Serialize};

use super::Pool;
use crate::decide::Turn;
use crate::decide::cause::{Cause, Wish};
use crate::decide::event::{Action, Asker, Edition, Outcome, Size, Step};
use crate::decide::lifecycle::State;
use crate::decide::note::Note;
use crate::decide::roster::Worker;

/// Why a worker is replaced that somebody wants replaced.
const BY_OPERATOR: Cause = Cause::Retired(Wish::Operator);

/// One thing that somebody waits for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Errand {
    asker: Asker,
    wanted: Wanted,
    /// How many workers have become ready since.
    ready: usize,
    /// What whoever waits was last told.
    told: Option<Step>,
}

/// What it is that they wait for.
#[derive(Debug, Serialize, Deserialize)]
enum Wanted {
    /// As many workers as there should be, of which so many were missing. Counted as they become ready: with a small
    /// `max_requests` there may be no moment at which all of them are.
    Size { missing: usize },
    /// Others in the place of these lives.
    Fresh { lives: Vec<u64> },
}

impl Pool {
    /// Somebody wants the pool to be of this size.
    pub(in crate::decide) fn scale(&mut self, size: Size, asker: Asker, turn: &mut Turn<'_>) {
        if let Err(reason) = self.scaler.resize(size, turn.now) {
            return self.refuse(asker, reason, turn);
        }
        turn.note(Note::Sized(self.id, self.scaler.wanted()));
        let missing = self.wanted().saturating_sub(self.serving_workers().count());
        self.errands.push(Errand { asker, wanted: Wanted::Size { missing }, ready: 0, told: None });
    }

    /// Somebody wants other processes in the place of those that serve, or of the one in this slot.
    pub(in crate::decide) fn restart(&mut self, slot: Option<u32>, asker: Asker, turn: &mut Turn<'_>) {
        let on_trial = self.on_trial();
        let slots = self.roster.workers().map(|(who, _)| who.slot).max();
        let mut lives = Vec::new();
        let mut found = None;
        for (slot, worker) in self.roster.places_mut().filter(|(each, _)| slot.is_none_or(|slot| *each == slot)) {
            found = Some(slot);
            if matches!(worker.state, State::Serving { .. }) && Some(worker.edition) != on_trial {
                worker.due.get_or_insert(BY_OPERATOR);
                lives.push(worker.life);
            }
        }
        match (slot, found, slots) {
            (Some(slot), None, Some(last)) => {
                let reason = format!("there is no worker in slot {slot}: the last one is in slot {last}");
                return self.refuse(asker, reason, turn);
            }
            (Some(_), None, None) => return self.refuse(asker, "it has no worker".into(), turn),
            (Some(slot), Some(_), _) if lives.is_empty() => {
                let reason = format!("the worker in slot {slot} starts, or leaves, already");
                return self.refuse(asker, reason, turn);
            }
            _ => {}
        }
        turn.note(Note::Restarting(self.id, lives.len()));
        self.errands.push(Errand { asker, wanted: Wanted::Fresh { lives }, ready: 0, told: None });
    }

    /// A worker of this edition has become ready.
    pub(super) fn count_ready(&mut self, edition: Edition) {
        if edition == self.serving {
            self.errands.iter_mut().for_each(|errand| errand.ready += 1);
        }
    }

    /// Answers those who have what they wanted, and tells the others how far it is.
    pub(super) fn settle_errands(&mut self, turn: &mut Turn<'_>) {
        let errands = std::mem::take(&mut self.errands);
        for mut errand in errands {
            let (step, is_done) = self.progress(&errand);
            if is_done {
                turn.push(Action::Answer(vec![errand.asker], Outcome::Done));
                continue;
            }
            if errand.told.replace(step) != Some(step) {
                turn.push(Action::Report(vec![errand.asker], self.id, step));
            }
            self.errands.push(errand);
        }
    }

    /// What was started for those who wait has failed, or will not be: they are told. Those who would have been
    /// replaced, and still serve, stay; a size that was wished for stands, and is tried for on.
    pub(super) fn fail_errands(&mut self, why: &str, turn: &mut Turn<'_>) {
        for errand in std::mem::take(&mut self.errands) {
            if let Wanted::Fresh { lives } = &errand.wanted {
                for worker in self.roster.workers_mut().filter(|worker| lives.contains(&worker.life)) {
                    worker.due.take_if(|due| *due == BY_OPERATOR);
                }
            }
            let outcome = Outcome::Failed { pool: Some(self.id), reason: why.to_owned() };
            turn.push(Action::Answer(vec![errand.asker], outcome));
        }
    }

    fn progress(&self, errand: &Errand) -> (Step, bool) {
        let (serving, wanted) = (self.serving_workers().count(), self.wanted());
        match &errand.wanted {
            Wanted::Size { missing } => {
                let step = Step { done: serving.min(wanted), of: wanted };
                (step, serving >= wanted || errand.ready >= *missing)
            }
            Wanted::Fresh { lives } => {
                let left = self.serving_workers().filter(|worker| lives.contains(&worker.life)).count();
                let step = Step { done: lives.len() - left, of: lives.len() };
                (step, left == 0 && (serving >= wanted || errand.ready >= lives.len()))
            }
        }
    }

    /// Those who serve, but for one on trial.
    fn serving_workers(&self) -> impl Iterator<Item = &Worker> {
        let serves =
            |worker: &&Worker| matches!(worker.state, State::Serving { .. }) && !self.is_on_trial(worker.edition);
        self.roster.workers().map(|(_, worker)| worker).filter(serves)
    }

    fn refuse(&self, asker: Asker, reason: String, turn: &mut Turn<'_>) {
        turn.push(Action::Refuse(asker, self.id, reason));
    }
}
