//! Who is replaced by whom: one edition by another, one worker by the next.
//!
//! A worker is *unfit* when it is of an edition that serves no more, or has reached a limit. It serves on until there is
//! a ready one in its place, and only then retires: so a pool that is replaced is never smaller than it should be, and
//! what goes wrong with the new leaves the old where they are. A reload tries an edition, adopts it, and concludes or
//! reverts; forwards and backwards are the same movement towards the edition that serves.

use serde::{Deserialize, Serialize};

use super::Pool;
use crate::decide::Turn;
use crate::decide::cause::{Cause, Wish};
use crate::decide::event::{Action, Edition, Plan, Step, Stop, Time, WorkerRef};
use crate::decide::lifecycle::{Input, State};
use crate::decide::note::Note;
use crate::decide::restart::{Budget, WINDOW};
use crate::decide::roster::Worker;
use crate::decide::stock::{Preparation, Stock};
use crate::decide::template::{self, Template};

/// So many faults of the new edition's workers are not bad luck, if the one before had fewer.
const FAULTS: usize = 2;

/// So many deaths on trial end it, whoever is to blame for them: of an edition that somebody always kills nothing is
/// learned, and a trial has no pauses between which it could wait for that to end.
const DEATHS_ON_TRIAL: usize = 2;

/// So many old templates stay for the sake of their last workers.
const OLD_TEMPLATES: usize = 4;

/// How far a pool is with a reload.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::decide) enum Turnover {
    /// There is none.
    None,
    /// This edition shows whether it can serve at all; the one before serves, if there was one.
    Trial {
        edition: Edition,
        /// What it has shown: proven once its first worker was ready, whatever limit that one has reached since.
        so_far: Trial,
        /// How many of its processes have died.
        deaths: usize,
    },
    /// The serving edition is new, and is watched.
    Watch {
        /// What it took over from; `None` if the pool itself is new.
        from: Option<Edition>,
        since: Time,
        /// How many of its workers have become ready.
        ready: usize,
        /// Faults of its workers so far, the last one's words.
        faults: usize,
        last: String,
        /// How many faults a second were usual before.
        usual: f64,
    },
}

/// What is known of an edition that is tried or watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::decide) enum Trial {
    /// Nothing yet.
    Open,
    /// It serves: on trial, its first worker was ready; adopted, nobody of the one before serves any more.
    Proven,
    /// It does not, and why.
    Failed(String),
}

impl Turnover {
    /// A trial that begins.
    pub(in crate::decide) fn trial(edition: Edition) -> Turnover {
        Turnover::Trial { edition, so_far: Trial::Open, deaths: 0 }
    }
}

impl Pool {
    /// Begins to try an edition beside the one that serves.
    pub(in crate::decide) fn begin_trial(&mut self, plan: Plan, edition: Edition) {
        self.stocks.push(Stock::new(edition, plan.limits));
        self.turnover = Turnover::trial(edition);
    }

    /// How the edition does.
    pub(in crate::decide) fn trial(&self, now: Time) -> Trial {
        match &self.turnover {
            Turnover::None => Trial::Proven,
            _ if self.is_ending() => Trial::Failed("the pool ends".into()),
            Turnover::Trial { so_far, .. } => so_far.clone(),
            Turnover::Watch { since, faults, last, usual, .. }
                if *faults >= FAULTS && *faults as f64 > usual * now.since(*since).as_secs_f64() =>
            {
                Trial::Failed(format!("{faults} of its workers have died already, the last one of: {last}"))
            }
            Turnover::Watch { last, .. } if self.has_failed() => {
                Trial::Failed(format!("the pool has failed, the last of its workers died of: {last}"))
            }
            Turnover::Watch { ready, .. } if self.has_rolled(*ready) => Trial::Proven,
            Turnover::Watch { .. } => Trial::Open,
        }
    }

    /// How many serve that are of this edition, of as many as there should be.
    pub(in crate::decide) fn renewed(&self, edition: Edition) -> Step {
        let serves = |worker: &Worker| worker.edition == edition && matches!(worker.state, State::Serving { .. });
        let of = self.wanted();
        Step { done: self.roster.workers().filter(|(_, worker)| serves(worker)).count().min(of), of }
    }

    /// From now on the edition on trial serves.
    pub(in crate::decide) fn adopt(&mut self, turn: &mut Turn<'_>) {
        let Turnover::Trial { edition, .. } = self.turnover else {
            return;
        };
        let from = Some(self.serving).filter(|from| *from != edition);
        let before = from.and_then(|from| self.stock(from)).map_or(0, |stock| stock.faults.count(turn.now));
        let usual = before as f64 / WINDOW.as_secs_f64();
        self.turnover = Turnover::Watch { from, since: turn.now, ready: 1, faults: 0, last: String::new(), usual };
        if self.has_failed() {
            turn.note(Note::PoolRecovered(self.id));
        }
        self.serve(edition, turn.now);
    }

    /// The edition has proven itself.
    pub(in crate::decide) fn conclude(&mut self) {
        self.turnover = Turnover::None;
    }

    /// The edition has failed, here or elsewhere: the one before serves again. A pool that had none before ends.
    pub(in crate::decide) fn revert(&mut self, turn: &mut Turn<'_>) {
        match std::mem::replace(&mut self.turnover, Turnover::None) {
            Turnover::None => {}
            Turnover::Trial { edition, .. } if edition != self.serving => {}
            Turnover::Watch { from: Some(from), .. } => self.serve(from, turn.now),
            Turnover::Trial { .. } | Turnover::Watch { from: None, .. } => {
                self.end(Stop::Graceful, turn);
            }
        }
    }

    /// A worker of this edition is ready.
    pub(super) fn praise(&mut self, of: Edition) {
        match &mut self.turnover {
            Turnover::Trial { edition, so_far: so_far @ Trial::Open, .. } if *edition == of => *so_far = Trial::Proven,
            Turnover::Watch { ready, .. } if self.serving == of => *ready += 1,
            Turnover::None | Turnover::Trial { .. } | Turnover::Watch { .. } => {}
        }
    }

    /// A worker or a template of this edition died of this. What is wrong with the edition on trial, or watched, counts;
    /// on trial a second death counts as much.
    pub(super) fn blame(&mut self, of: Edition, cause: &Cause) {
        match &mut self.turnover {
            Turnover::Trial { edition, so_far: so_far @ (Trial::Open | Trial::Proven), deaths } if *edition == of => {
                *deaths += usize::from(!cause.is_expected());
                if cause.is_fault() || *deaths >= DEATHS_ON_TRIAL {
                    *so_far = Trial::Failed(cause.to_string());
                }
            }
            Turnover::Watch { faults, last, .. } if self.serving == of && cause.is_fault() => {
                *faults += 1;
                *last = cause.to_string();
            }
            Turnover::None | Turnover::Trial { .. } | Turnover::Watch { .. } => {}
        }
    }

    /// The command that prepares this edition has ended.
    pub(in crate::decide) fn prepared(&mut self, edition: Edition, outcome: Result<(), String>, turn: &mut Turn<'_>) {
        let place = self.place_of(edition);
        let stock = &mut self.stocks[place];
        if stock.edition != edition || !matches!(stock.preparation, Preparation::Running { .. }) {
            return;
        }
        match outcome {
            Ok(()) => stock.preparation = Preparation::Done,
            Err(reason) => {
                stock.preparation = Preparation::Needed;
                self.fail_preparation(edition, reason, turn);
            }
        }
    }

    /// Nobody waits for a command that prepares what is not wanted any more.
    pub(super) fn abandon_preparations(&mut self, turn: &mut Turn<'_>) {
        let is_wanted = |edition| !self.rung.is_ending() && self.is_wanted(edition);
        let running = |stock: &&Stock| matches!(stock.preparation, Preparation::Running { .. });
        let lost = self.stocks.iter().filter(running).map(|stock| stock.edition).filter(|each| !is_wanted(*each));
        for edition in lost.collect::<Vec<_>>() {
            let place = self.place_of(edition);
            self.stocks[place].preparation = Preparation::Needed;
            turn.push(Action::AbandonPreparation(self.id, edition));
        }
    }

    /// Retires who is not needed: the unfit when there are enough others, then whoever is too many.
    pub(super) fn replace(&mut self, turn: &mut Turn<'_>) {
        // One on trial is not judged, and neither does it replace anybody.
        let judged =
            |worker: &Worker| matches!(worker.state, State::Serving { .. }) && !self.is_on_trial(worker.edition);
        let mut unfit: Vec<(Time, WorkerRef, Cause)> = Vec::new();
        let mut fit: Vec<WorkerRef> = Vec::new();
        for (who, worker) in self.roster.workers().filter(|(_, worker)| judged(worker)) {
            match self.why_unfit(worker) {
                Some(cause) => unfit.push((worker.ordered, who, cause)),
                None => fit.push(who),
            }
        }
        let wanted = self.wanted();
        unfit.sort_by_key(|(ordered, who, _)| (*ordered, who.slot));
        let surplus = (fit.len() + unfit.len()).saturating_sub(wanted);
        for (_, who, cause) in unfit.into_iter().take(surplus) {
            self.tell_worker(who, Input::Retire(cause), turn);
        }
        let wish = if self.is_unwanted() { Wish::Operator } else { Wish::Scaling };
        for who in fit.into_iter().skip(wanted) {
            self.tell_worker(who, Input::Retire(Cause::Retired(wish)), turn);
        }
    }

    /// Templates that nobody needs any more are dismissed, and what is left of their editions goes. Those who start for it are let come, and retire then: one of whom we have not heard that it is ready
    /// may have a request in hand.
    pub(super) fn clear_out(&mut self, turn: &mut Turn<'_>) {
        if !self.rung.is_ending() {
            for life in self.idle_templates() {
                self.tell_template(self.template_ref(life), template::Input::Dismiss(Wish::Reload), turn);
            }
            self.abandon_preparations(turn);
        }
        let kept: Vec<Edition> = self
            .stocks
            .iter()
            .filter(|stock| self.is_wanted(stock.edition) || !stock.is_bare())
            .map(|stock| stock.edition)
            .collect();
        self.stocks.retain(|stock| kept.contains(&stock.edition));
    }

    /// Templates of editions that are not wanted any more. Each stays until the last of its workers is buried, since
    /// only it can name the addresses in that one's last words; where reloads come faster than workers leave, only the
    /// newest do. One that owes a fork stays in any case.
    fn idle_templates(&self) -> Vec<u64> {
        let has_workers =
            |template: &Template| self.roster.workers().any(|(_, worker)| worker.generation == template.generation);
        let old = self.stocks.iter().rev().filter(|stock| !self.is_wanted(stock.edition));
        let (needed, idle): (Vec<_>, Vec<_>) =
            old.filter_map(|stock| stock.template.held()).partition(|template| has_workers(template));
        let crowded_out = needed.into_iter().skip(OLD_TEMPLATES);
        let owes_nothing = |life: &u64| self.open_orders(*life).next().is_none();
        idle.into_iter().chain(crowded_out).map(|template| template.life).filter(owes_nothing).collect()
    }

    /// Whether workers may still be forked of this edition.
    pub(super) fn is_wanted(&self, edition: Edition) -> bool {
        let also = match &self.turnover {
            Turnover::None => None,
            Turnover::Trial { edition, .. } => Some(*edition),
            Turnover::Watch { from, .. } => *from,
        };
        edition == self.serving || also == Some(edition)
    }

    pub(super) fn is_on_trial(&self, edition: Edition) -> bool {
        self.on_trial() == Some(edition)
    }

    /// The edition that is tried, if one is.
    pub(super) fn on_trial(&self) -> Option<Edition> {
        match &self.turnover {
            Turnover::Trial { edition, .. } => Some(*edition),
            Turnover::None | Turnover::Watch { .. } => None,
        }
    }

    /// Whether a template of this edition that dies is followed by another.
    pub(super) fn is_attempted(&self, edition: Edition) -> bool {
        let has_failed = matches!(&self.turnover, Turnover::Trial { so_far: Trial::Failed(_), .. });
        edition == self.serving || (self.is_on_trial(edition) && !has_failed)
    }

    /// Why a worker is to be replaced.
    fn why_unfit(&self, worker: &Worker) -> Option<Cause> {
        if worker.edition == self.serving { worker.due.clone() } else { Some(Cause::Retired(Wish::Reload)) }
    }

    fn serve(&mut self, edition: Edition, now: Time) {
        self.serving = edition;
        self.roster.forgive();
        self.budget = Budget::default();
        let scaling = self.limits().scaling.clone();
        self.scaler.change(scaling, now);
        self.listen_anew();
    }

    /// Whether everybody who serves is of the serving edition, of which as many have become ready as there should be:
    /// not at one moment, since with a small `max_requests` there may never be one.
    fn has_rolled(&self, ready: usize) -> bool {
        let mut serving = self.roster.workers().filter(|(_, worker)| matches!(worker.state, State::Serving { .. }));
        serving.all(|(_, worker)| worker.edition == self.serving) && ready >= self.wanted()
    }

    fn fail_preparation(&mut self, edition: Edition, reason: String, turn: &mut Turn<'_>) {
        turn.note(Note::NotPrepared { pool: self.id, reason: reason.clone() });
        let cause = Cause::NotStarted(format!("its preparation failed: {reason}"));
        self.blame(edition, &cause);
        if edition == self.serving {
            self.count_failed_preparation(edition, turn);
        }
    }
}
