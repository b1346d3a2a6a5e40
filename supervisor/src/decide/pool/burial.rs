//! What a death leads to: a vacant seat, a pause, perhaps a failed pool, and always a line for the operator.
//!
//! What the death means is asked of [`restart`]; here it is put into effect. The seat is vacated first, so that the line
//! can say when it is tried again.

use std::time::Duration;

use super::Pool;
use crate::decide::Turn;
use crate::decide::event::{Action, Note, TemplateRef, Time, WorkerRef};
use crate::decide::lifecycle::{self, Death};
use crate::decide::restart::{self, Change, Health};

impl Pool {
    pub(super) fn bury_worker(&mut self, who: WorkerRef, death: Death, turn: &mut Turn<'_>) {
        let Some(seat) = self.roster.seat(who.slot) else {
            return;
        };
        let Some(worker) = seat.held() else { return };
        let (pid, generation, lived) = (worker.state.pid(), worker.generation, turn.now.since(worker.ordered));
        let meaning = restart::meaning(&death, turn.now);
        let retry_at = seat.vacate(meaning, turn.now, &mut turn.source.rng);
        let change = self.account(meaning, turn);

        if pid.is_none() {
            turn.push(Action::Forget(who));
        }
        let (cause, retry, failures) = (death.cause, self.retry(retry_at, turn), self.budget.failures(turn.now));
        turn.note(Note::WorkerDied { worker: who, pid, generation, cause, lived, retry, failures });
        self.note_failure(change, turn);
    }

    pub(super) fn bury_template(&mut self, who: TemplateRef, death: Death, turn: &mut Turn<'_>) {
        let Some(template) = self.template.held() else {
            return;
        };
        let generation = template.generation;
        let lost: Vec<_> = self.open_orders().collect();
        let meaning = restart::meaning_of_template(&death, lost.len(), turn.now);
        let retry_at = self.template.vacate(meaning, turn.now, &mut turn.source.rng);
        let change = self.account(meaning, turn);

        let (cause, retry, failures) = (death.cause, self.retry(retry_at, turn), self.budget.failures(turn.now));
        turn.note(Note::TemplateDied { template: who, generation, cause, retry, failures });
        for worker in lost {
            self.tell_worker(worker, lifecycle::Input::TemplateLost(who.life), turn);
        }
        self.note_failure(change, turn);
    }

    /// Counts a failed boot. One on the way out has failed nobody.
    fn account(&mut self, meaning: restart::Meaning, turn: &Turn<'_>) -> Change {
        match meaning {
            restart::Meaning::FailedBoot if !turn.rung.is_ending() => self.budget.spend(turn.now),
            restart::Meaning::FailedBoot | restart::Meaning::Ended(_) | restart::Meaning::NoFault => Change::None,
        }
    }

    /// How long from now until a vacancy that is free at `at` may be tried; `None` if it never will.
    fn retry(&self, at: Time, turn: &Turn<'_>) -> Option<Duration> {
        let at = match self.budget.health() {
            Health::Sound => at,
            Health::Failed { next } => at.max(next),
        };
        (!turn.rung.is_ending()).then(|| at.since(turn.now))
    }

    fn note_failure(&self, change: Change, turn: &mut Turn<'_>) {
        if change == Change::Turned {
            let (pool, failures) = (self.id, self.budget.failures(turn.now));
            turn.note(Note::PoolFailed { pool, failures, retry: restart::LONGEST_PAUSE });
        }
    }
}
