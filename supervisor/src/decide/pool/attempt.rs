//! The next attempt of a pool: what is started, in which vacancy, and when.
//!
//! Nothing is counted up and down: what is missing is read off the roster each time. What to attempt and when it is due
//! come from one function, which both the attempt and the alarm ask, so they cannot disagree. Never runs once a stop
//! has begun.

use super::{Pool, Trial, Turnover};
use crate::decide::Turn;
use crate::decide::event::{Action, Edition, Generation, Time, WorkerRef};
use crate::decide::lifecycle::State;
use crate::decide::note::Note;
use crate::decide::restart::Health;
use crate::decide::roster::Worker;
use crate::decide::stock::{Preparation, Stock};
use crate::decide::template::{self, Template};

/// How many workers may be on their way at a time. Enough that a pool of the usual size starts at once; few enough
/// that a large one does not ask its database for a hundred connections in one instant, and that a program which
/// cannot start is found out before a hundred processes have tried.
const STARTING_AT_ONCE: usize = 8;

/// A failed pool learns as much from one attempt as from eight.
const STARTING_AT_ONCE_WHEN_FAILED: usize = 1;

/// What a pool would do next.
pub(super) enum Attempt {
    Prepare(Edition),
    Template(Edition),
    Worker { slot: u32, edition: Edition },
}

impl Pool {
    /// Attempts all that is due. Each attempt fills a vacancy, so there is an end to it.
    pub(super) fn reconcile(&mut self, turn: &mut Turn<'_>) {
        while let Some((at, attempt)) = self.next_attempt(turn.now)
            && at <= turn.now
        {
            let filled = match attempt {
                Attempt::Prepare(edition) => self.prepare(edition, turn),
                Attempt::Template(edition) => self.start_template(edition, turn),
                Attempt::Worker { slot, edition } => self.order_fork(slot, edition, turn),
            };
            if !filled {
                turn.note(Note::Mistake(format!("{:?}: a vacancy was not vacant", self.id)));
                return;
            }
        }
    }

    /// What to attempt next, and when: the edition on trial first, then the template, then the slots, then nothing
    /// until something changes. `now` only says which slots are free; when something is due does not depend on it.
    pub(super) fn next_attempt(&self, now: Time) -> Option<(Time, Attempt)> {
        let on_trial = self.next_of_trial(now);
        if on_trial.is_some() || self.is_on_trial(self.serving) {
            return on_trial;
        }
        let workers = self.roster.workers().map(|(_, worker)| worker);
        let on_the_way =
            workers.filter(|worker| is_on_the_way(&worker.state) && self.is_wanted(worker.edition)).count();
        let (most, not_before) = match self.budget.health() {
            Health::Sound => (STARTING_AT_ONCE, Time::default()),
            Health::Failed { next } => (STARTING_AT_ONCE_WHEN_FAILED, next),
        };
        let stock = self.stock(self.serving)?;
        let Some(template) = stock.template.held() else {
            // A sound pool wants its template back whoever is on the way; for a failed one that would be two attempts.
            let blocked = self.has_failed() && on_the_way > 0;
            let retry_at = stock.template.vacant_until().filter(|_| !blocked)?;
            return Some((retry_at.max(not_before), self.next_of(stock)?));
        };
        let missing = self.missing();
        if on_the_way >= most || missing == 0 || !matches!(template.state, template::State::Loaded { .. }) {
            return None;
        }
        let (retry_at, slot) = self.roster.vacancy(missing, now)?;
        Some((retry_at.max(not_before), Attempt::Worker { slot, edition: self.serving }))
    }

    /// A trial has one attempt at everything, and one more for what died without a fault: so it needs no pauses. It ends with one ready worker, also where none is
    /// wanted.
    fn next_of_trial(&self, now: Time) -> Option<(Time, Attempt)> {
        let Turnover::Trial { edition, so_far: Trial::Open, .. } = &self.turnover else {
            return None;
        };
        let stock = self.stock(*edition)?;
        let Some(template) = stock.template.held() else {
            return Some((stock.template.vacant_until()?, self.next_of(stock)?));
        };
        let has_worker = self.roster.workers().any(|(_, worker)| worker.edition == *edition);
        if has_worker || !matches!(template.state, template::State::Loaded { .. }) {
            return None;
        }
        let (at, slot) = self.roster.vacancy(usize::MAX, now)?;
        Some((at, Attempt::Worker { slot, edition: *edition }))
    }

    /// How many workers of the serving edition may be ordered: as many as are wanted and not there, unless those that
    /// are being replaced leave no room beyond the surge.
    fn missing(&self) -> usize {
        let wanted = self.wanted();
        let (mut there, mut alive) = (0, 0);
        for (_, worker) in self.roster.workers() {
            let is_ours = worker.edition == self.serving;
            match &worker.state {
                State::Trailing { .. } | State::Draining { .. } => {}
                State::Leaving { .. } => alive += 1,
                State::Serving { .. } => {
                    alive += 1;
                    there += usize::from(is_ours && worker.due.is_none());
                }
                // Nobody waits for those of an edition that was given up: who becomes ready retires, and counts till then.
                State::Ordered { .. } | State::Starting { .. } | State::Refused { .. } | State::Doomed { .. }
                    if !self.is_wanted(worker.edition) => {}
                // One that is about to be buried keeps its place: what its death means is not known before.
                State::Ordered { .. } | State::Starting { .. } | State::Refused { .. } | State::Doomed { .. } => {
                    alive += 1;
                    there += usize::from(is_ours);
                }
            }
        }
        let room = (wanted + self.surge()).saturating_sub(alive);
        wanted.saturating_sub(there).min(room)
    }

    /// How many workers there may be beyond the wanted ones while some are replaced.
    pub(super) fn surge(&self) -> usize {
        self.limits().surge_of(self.scaler.wanted()) as usize
    }

    fn prepare(&mut self, edition: Edition, turn: &mut Turn<'_>) -> bool {
        let place = self.place_of(edition);
        let stock = &mut self.stocks[place];
        let filled = stock.preparation == Preparation::Needed;
        stock.preparation = Preparation::Running { deadline: turn.now.after(stock.limits.boot_timeout) };
        turn.push(Action::Prepare(self.id, edition));
        filled
    }

    fn start_template(&mut self, edition: Edition, turn: &mut Turn<'_>) -> bool {
        let life = turn.new_life();
        let newest = self.templates().map(|(.., generation)| generation.0).max().unwrap_or(0).max(self.loaded);
        let generation = Generation(newest.saturating_add(1));
        let place = self.place_of(edition);
        let stock = &mut self.stocks[place];
        let state = template::State::Loading { deadline: turn.now.after(stock.limits.boot_timeout) };
        let filled = stock.template.take(Template { life, generation, started: turn.now, state }).is_ok();
        if filled {
            turn.push(Action::StartTemplate(self.template_ref(life), generation, edition));
        }
        filled
    }

    fn order_fork(&mut self, slot: u32, edition: Edition, turn: &mut Turn<'_>) -> bool {
        let Some((template, stock)) =
            self.stock(edition).and_then(|stock| stock.template.held().map(|template| (template, stock)))
        else {
            return false;
        };
        let (template, generation) = (self.template_ref(template.life), template.generation);
        let deadline = turn.now.after(stock.limits.boot_timeout);
        let max_requests = stock.limits.max_requests.map(|bound| bound.draw(&mut turn.source.rng));
        let worker = WorkerRef { pool: self.id, slot, life: turn.new_life() };
        let ordered = Worker {
            life: worker.life,
            generation,
            edition,
            ordered: turn.now,
            state: State::Ordered { template: template.life, unwanted: None },
            expires: None,
            due: None,
            interrupted: None,
        };
        let filled = self.roster.take(slot, ordered);
        if filled {
            turn.push(Action::OrderFork { worker, template, generation, deadline, max_requests });
        }
        filled
    }

    /// What a stock without a template needs next. Two commands that prepare the same pool never run at a time.
    fn next_of(&self, stock: &Stock) -> Option<Attempt> {
        let runs = |stock: &Stock| matches!(stock.preparation, Preparation::Running { .. });
        match stock.preparation {
            Preparation::Needed if self.stocks.iter().any(runs) => None,
            Preparation::Needed => Some(Attempt::Prepare(stock.edition)),
            Preparation::Running { .. } => None,
            Preparation::Done => Some(Attempt::Template(stock.edition)),
        }
    }
}

fn is_on_the_way(state: &State) -> bool {
    matches!(state, State::Ordered { .. } | State::Starting { .. })
}
