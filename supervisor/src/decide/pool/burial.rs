//! What a death leads to: the seat learns from it, the budget may be spent, the edition may be to blame, orders are lost,
//! and a note is written.
//!
//! Runs when a life table has said `Gone`, and only then. The seat is vacated before anything is noted, so the line
//! can say when it is tried again.

use std::time::Duration;

use super::{Pool, Turnover};
use crate::decide::Turn;
use crate::decide::event::{Action, Edition, TemplateRef, Time, WorkerRef};
use crate::decide::lifecycle::{self, Death};
use crate::decide::limits::OnFailure;
use crate::decide::note::Note;
use crate::decide::restart::{self, Change, Health, Meaning};
use crate::decide::stock::Stock;

impl Pool {
    pub(super) fn bury_worker(&mut self, who: WorkerRef, death: Death, turn: &mut Turn<'_>) {
        let Some(seat) = self.roster.seat(who.slot) else {
            return;
        };
        let Some(worker) = seat.held() else { return };
        let (pid, generation, edition) = (worker.state.pid(), worker.generation, worker.edition);
        let lived = turn.now.since(worker.ordered);
        // What does not serve, or not any more, is no fault of the slot: the next one in it is of another make.
        let meaning = if edition == self.serving { restart::meaning(&death, turn.now) } else { Meaning::NoFault };
        let retry_at = seat.vacate(meaning, turn.now, &mut turn.source.rng);
        self.blame(edition, &death.cause);
        if death.cause.is_fault() {
            self.count_fault(edition, turn.now);
        }
        let change = self.account(edition, meaning, turn);
        let (words, is_fault) = (death.cause.to_string(), death.cause.is_fault());

        if pid.is_none() {
            turn.push(Action::Forget(who));
        }
        let (cause, retry, failures) = (death.cause, self.retry(retry_at, turn), self.budget.failures(turn.now));
        turn.note(Note::WorkerDied { worker: who, pid, generation, cause, lived, retry, failures });
        self.note_failure(change, turn);
        if meaning == Meaning::FailedBoot && is_fault {
            self.fail_errands(&words, turn);
        }
    }

    pub(super) fn bury_template(&mut self, who: TemplateRef, death: Death, turn: &mut Turn<'_>) {
        let lost: Vec<_> = self.open_orders(who.life).collect();
        let is_it = |stock: &&mut Stock| stock.template.held().is_some_and(|template| template.life == who.life);
        let Some(stock) = self.stocks.iter_mut().find(is_it) else {
            return;
        };
        let Some(generation) = stock.template.held().map(|template| template.generation) else {
            return;
        };
        let edition = stock.edition;
        let meaning = restart::meaning_of_template(&death, lost.len(), turn.now);
        let retry_at = stock.template.vacate(meaning, turn.now, &mut turn.source.rng);
        self.blame(edition, &death.cause);
        let change = self.account(edition, meaning, turn);

        let retry = self.retry(retry_at, turn).filter(|_| self.is_attempted(edition));
        if edition == self.serving && meaning == Meaning::FailedBoot && death.cause.is_fault() {
            self.fail_errands(&format!("its template: {}", death.cause), turn);
        }
        let (cause, failures) = (death.cause, self.budget.failures(turn.now));
        turn.note(Note::TemplateDied { template: who, generation, cause, retry, failures });
        for worker in lost {
            self.tell_worker(worker, lifecycle::Input::TemplateLost(who.life), turn);
        }
        self.note_failure(change, turn);
    }

    /// The command that must succeed before the serving edition's template has not: as bad as a template that does not
    /// load.
    pub(super) fn count_failed_preparation(&mut self, edition: Edition, turn: &mut Turn<'_>) {
        let place = self.place_of(edition);
        self.stocks[place].template.vacate(Meaning::FailedBoot, turn.now, &mut turn.source.rng);
        let change = self.account(edition, Meaning::FailedBoot, turn);
        self.note_failure(change, turn);
    }

    fn count_fault(&mut self, of: Edition, now: Time) {
        if let Some(stock) = self.stocks.iter_mut().find(|stock| stock.edition == of) {
            stock.faults.add(now);
        }
    }

    /// Counts a failed boot. One on the way out has failed nobody, and an edition on trial only itself.
    fn account(&mut self, edition: Edition, meaning: Meaning, turn: &Turn<'_>) -> Change {
        match meaning {
            Meaning::FailedBoot if !self.rung.is_ending() && edition == self.serving => self.budget.spend(turn.now),
            Meaning::FailedBoot | Meaning::Ended(_) | Meaning::NoFault => Change::None,
        }
    }

    /// How long from now until a vacancy that is free at `at` may be tried; `None` if it never will.
    fn retry(&self, at: Time, turn: &Turn<'_>) -> Option<Duration> {
        let at = match self.budget.health() {
            Health::Sound => at,
            Health::Failed { next } => at.max(next),
        };
        (!self.rung.is_ending()).then(|| at.since(turn.now))
    }

    fn note_failure(&self, change: Change, turn: &mut Turn<'_>) {
        if change == Change::Turned {
            let (pool, failures) = (self.id, self.budget.failures(turn.now));
            turn.note(Note::PoolFailed { pool, failures, retry: restart::LONGEST_PAUSE });
            // While it is tried or watched, what has failed is the reload, and the reload takes it back.
            let is_judged = !matches!(self.turnover, Turnover::None);
            if self.limits().on_failure == OnFailure::Exit && !is_judged {
                turn.gives_up_for.get_or_insert(pool);
            }
        }
    }
}
