//! The next attempt of a pool: which vacancy is filled, and when.
//!
//! Nothing is counted up and down: what is missing is read off the roster each time. What to attempt and when it is due
//! come from one function, which both the attempt and the alarm ask, so they cannot disagree. Never runs once a stop
//! has begun.

use super::Pool;
use crate::decide::Turn;
use crate::decide::event::{Action, Generation, Note, TemplateRef, Time, WorkerRef};
use crate::decide::lifecycle;
use crate::decide::restart::Health;
use crate::decide::roster::Worker;
use crate::decide::template::{self, Template};

/// How many workers may be on their way at a time. Enough that a pool of the usual size starts at once; few enough
/// that a large one does not ask its database for a hundred connections in one instant, and that a program which
/// cannot start is found out before a hundred processes have tried.
const STARTING_AT_ONCE: usize = 8;

/// A failed pool learns as much from one attempt as from eight.
const STARTING_AT_ONCE_WHEN_FAILED: usize = 1;

/// What a pool would do next.
pub(super) enum Attempt {
    Template,
    Worker { slot: u32, template: TemplateRef, generation: Generation },
}

impl Pool {
    /// Attempts all that is due. Each attempt fills a vacancy, so there is an end to it.
    pub(super) fn reconcile(&mut self, turn: &mut Turn<'_>) {
        while let Some((at, attempt)) = self.next_attempt()
            && at <= turn.now
        {
            let filled = match attempt {
                Attempt::Template => self.start_template(turn),
                Attempt::Worker { slot, template, generation } => self.order_fork(slot, template, generation, turn),
            };
            if !filled {
                turn.note(Note::Mistake(format!("{:?}: a vacancy was not vacant", self.id)));
                return;
            }
        }
    }

    /// What to attempt next, and when: the template first, then the slots, then nothing until something changes.
    pub(super) fn next_attempt(&self) -> Option<(Time, Attempt)> {
        let on_the_way = self.roster.states().filter(|state| is_on_the_way(state)).count();
        let (most, not_before) = match self.budget.health() {
            Health::Sound => (STARTING_AT_ONCE, Time::default()),
            Health::Failed { next } => (STARTING_AT_ONCE_WHEN_FAILED, next),
        };
        let Some(template) = self.template.held() else {
            // A sound pool wants its template back whoever is on the way; for a failed one that would be two attempts.
            let blocked = self.has_failed() && on_the_way > 0;
            let retry_at = self.template.vacant_until().filter(|_| !blocked)?;
            return Some((retry_at.max(not_before), Attempt::Template));
        };
        if on_the_way >= most || !matches!(template.state, template::State::Loaded { .. }) {
            return None;
        }
        let (retry_at, slot) = self.roster.first_vacancy()?;
        let generation = template.generation;
        let template = self.template_ref(template.life);
        Some((retry_at.max(not_before), Attempt::Worker { slot, template, generation }))
    }

    fn start_template(&mut self, turn: &mut Turn<'_>) -> bool {
        let life = turn.new_life();
        let generation = Generation(self.loaded.saturating_add(1));
        let state = template::State::Loading { deadline: turn.now.after(self.limits.boot_timeout) };
        let filled = self.template.take(Template { life, generation, started: turn.now, state }).is_ok();
        if filled {
            turn.push(Action::StartTemplate(self.template_ref(life), generation));
        }
        filled
    }

    fn order_fork(&mut self, slot: u32, template: TemplateRef, generation: Generation, turn: &mut Turn<'_>) -> bool {
        let worker = WorkerRef { pool: self.id, slot, life: turn.new_life() };
        let state = lifecycle::State::Ordered { template: template.life, unwanted: None };
        let ordered = Worker { life: worker.life, generation, ordered: turn.now, state };
        let filled = self.roster.seat(slot).is_some_and(|seat| seat.take(ordered).is_ok());
        if filled {
            let deadline = turn.now.after(self.limits.boot_timeout);
            turn.push(Action::OrderFork { worker, template, generation, deadline });
        }
        filled
    }
}

fn is_on_the_way(state: &lifecycle::State) -> bool {
    matches!(state, lifecycle::State::Ordered { .. } | lifecycle::State::Starting { .. })
}
