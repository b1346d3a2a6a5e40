//! One pool: closes the gap between the workers it has and the workers it should have.
//!
//! Owns the pool's template, its roster and its budget of failed boots. Reports and orders go through the tables of
//! [`lifecycle`] and [`template`]; here is what is done on entering a state. How the gap is closed is in `attempt`, what
//! a death leads to in `burial`. Never touches another pool.

mod attempt;
mod burial;

use super::event::{Action, Cause, Generation, Note, PoolId, TemplateRef, Time, WorkerRef};
use super::lifecycle;
use super::restart::{Budget, Change, Health};
use super::roster::{Roster, Seat};
use super::shutdown::{self, Pressure, Rung};
use super::template::{self, Template};
use super::{Limits, Turn};

/// See the module's header.
#[derive(Debug)]
pub(super) struct Pool {
    id: PoolId,
    limits: Limits,
    template: Seat<Template>,
    roster: Roster,
    budget: Budget,
    /// The newest generation that has loaded, 0 before the first.
    loaded: u32,
    first_ready: Option<Time>,
}

impl Pool {
    pub(super) fn new(id: PoolId, limits: Limits) -> Self {
        Pool {
            id,
            template: Seat::default(),
            roster: Roster::new(id, limits.workers),
            budget: Budget::default(),
            loaded: 0,
            first_ready: None,
            limits,
        }
    }

    /// A worker's report, or an order to it, through the table of its life.
    pub(super) fn tell_worker(&mut self, who: WorkerRef, input: lifecycle::Input, turn: &mut Turn<'_>) {
        let Some(worker) = self.roster.worker(who) else {
            return;
        };
        match lifecycle::step(&worker.state, input, turn.now, self.limits.stop_timeout) {
            lifecycle::Next::Become(state) => {
                worker.state = state;
                self.worker_entered(who, turn);
            }
            lifecycle::Next::Gone(death) => self.bury_worker(who, death, turn),
            lifecycle::Next::Stalled(life) => {
                let template = self.template_ref(life);
                self.tell_template(template, template::Input::Kill(Cause::BootTimeout), turn);
            }
            lifecycle::Next::Gossip | lifecycle::Next::Repeat => {}
            lifecycle::Next::Mistake(what) => turn.note(Note::Mistake(format!("{who:?}: {what}"))),
        }
    }

    /// A template's report, or an order to it, through the table of its life.
    pub(super) fn tell_template(&mut self, who: TemplateRef, input: template::Input, turn: &mut Turn<'_>) {
        let Some(template) = self.template.held_mut().filter(|template| template.life == who.life) else {
            return;
        };
        match template::step(&template.state, input, turn.now) {
            template::Next::Become(state) => {
                template.state = state;
                self.template_entered(who, turn);
            }
            template::Next::Gone(death) => self.bury_template(who, death, turn),
            template::Next::Gossip | template::Next::Repeat => {}
            template::Next::Mistake(what) => turn.note(Note::Mistake(format!("{who:?}: {what}"))),
        }
    }

    /// Everything that is due now, whatever was reported last.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        let late = self.template.held().filter(|template| template.deadline().is_some_and(|at| at <= turn.now));
        if let Some(life) = late.map(|template| template.life) {
            self.tell_template(self.template_ref(life), template::Input::Overdue, turn);
        }
        match turn.rung {
            Rung::Starting | Rung::Serving => {
                self.end_leaving(turn);
                self.reconcile(turn);
            }
            Rung::Draining { .. } | Rung::Killing => self.wind_down(turn),
            Rung::Left => {}
        }
    }

    /// When something will be due if nothing is reported before.
    pub(super) fn wake_at(&self, rung: Rung) -> Option<Time> {
        let next = match rung {
            Rung::Starting | Rung::Serving => {
                let leaving = self.roster.states().filter_map(lifecycle::State::deadline);
                self.next_attempt().map(|(at, _)| at).into_iter().chain(leaving).min()
            }
            Rung::Draining { since } if self.out_of_patience_with().next().is_some() => {
                Some(since.after(self.limits.stop_timeout))
            }
            Rung::Draining { .. } | Rung::Killing | Rung::Left => None,
        };
        next.into_iter().chain(self.template.held().and_then(Template::deadline)).min()
    }

    /// How many workers this moment catches still there although their time to leave is over.
    pub(super) fn out_of_time(&self, rung: Rung, now: Time) -> u32 {
        match rung.pressure(self.limits.stop_timeout, now) {
            Some(Pressure::OutOfTime) => self.out_of_patience_with().map(|_| 1).sum(),
            Some(Pressure::Drain | Pressure::Now) | None => 0,
        }
    }

    pub(super) fn id(&self) -> PoolId {
        self.id
    }

    pub(super) fn has_been_ready(&self) -> bool {
        self.first_ready.is_some() || self.limits.workers == 0
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.budget.health(), Health::Failed { .. })
    }

    pub(super) fn failed_until(&self) -> Option<Time> {
        match self.budget.health() {
            Health::Sound => None,
            Health::Failed { next } => Some(next),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.template.held().is_none() && self.roster.workers().next().is_none()
    }

    pub(super) fn knows(&self, who: WorkerRef) -> bool {
        self.roster.workers().any(|(known, _)| known == who)
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = (WorkerRef, &lifecycle::State, Generation)> {
        self.roster.workers().map(|(who, worker)| (who, &worker.state, worker.generation))
    }

    pub(super) fn template(&self) -> Option<(TemplateRef, &template::State, Generation)> {
        let template = self.template.held()?;
        Some((self.template_ref(template.life), &template.state, template.generation))
    }

    fn template_ref(&self, life: u64) -> TemplateRef {
        TemplateRef { pool: self.id, life }
    }

    /// Kills those that leave of their own accord and have had their time. In a stop everybody has the stop's.
    fn end_leaving(&mut self, turn: &mut Turn<'_>) {
        let late = |state: &lifecycle::State| state.deadline().is_some_and(|at| at <= turn.now);
        let late: Vec<_> =
            self.roster.workers().filter(|(_, worker)| late(&worker.state)).map(|(who, _)| who).collect();
        for who in late {
            self.tell_worker(who, lifecycle::Input::Kill(Cause::StopTimeout), turn);
        }
    }

    /// What a stop asks of everybody here. The template comes last: only then is it known whether it owes a fork.
    fn wind_down(&mut self, turn: &mut Turn<'_>) {
        let Some(pressure) = turn.rung.pressure(self.limits.stop_timeout, turn.now) else {
            return;
        };
        let queue_served = self.roster.states().any(shutdown::serves_queue);
        let inputs: Vec<_> = self
            .roster
            .workers()
            .filter_map(|(who, worker)| Some((who, shutdown::worker_input(pressure, &worker.state, queue_served)?)))
            .collect();
        for (who, input) in inputs {
            self.tell_worker(who, input, turn);
        }
        if let Some(input) = shutdown::template_input(pressure, self.open_orders().count())
            && let Some((who, ..)) = self.template()
        {
            self.tell_template(who, input, turn);
        }
    }

    fn worker_entered(&mut self, who: WorkerRef, turn: &mut Turn<'_>) {
        let Some(worker) = self.roster.worker(who) else {
            return;
        };
        let generation = worker.generation;
        match &worker.state {
            lifecycle::State::Serving { pid, ready } => {
                let boot = ready.since(worker.ordered);
                turn.note(Note::WorkerReady { worker: who, pid: *pid, generation, boot });
                self.first_ready.get_or_insert(turn.now);
                if self.budget.recover() == Change::Turned {
                    turn.note(Note::PoolRecovered(self.id));
                }
            }
            lifecycle::State::Draining { .. } => turn.push(Action::OrderDrain(who)),
            lifecycle::State::Doomed { pid, cause, .. } => {
                turn.note(Note::Killing { worker: who, pid: Some(*pid), generation, cause: cause.clone() });
                turn.push(Action::Kill(who));
            }
            lifecycle::State::Ordered { .. }
            | lifecycle::State::Starting { .. }
            | lifecycle::State::Refused { .. }
            | lifecycle::State::Leaving { .. } => {}
        }
    }

    fn template_entered(&mut self, who: TemplateRef, turn: &mut Turn<'_>) {
        let Some(template) = self.template.held() else {
            return;
        };
        match template.state {
            template::State::Loaded { since } => {
                self.loaded = template.generation.0;
                let load = since.since(template.started);
                turn.note(Note::TemplateLoaded(who, template.generation, load));
            }
            template::State::Dismissed { .. } => turn.push(Action::DismissTemplate(who)),
            template::State::Doomed { .. } => turn.push(Action::KillTemplate(who)),
            template::State::Loading { .. } | template::State::Refused { .. } => {}
        }
    }

    /// Workers the template was told to fork and has not answered for.
    fn open_orders(&self) -> impl Iterator<Item = WorkerRef> {
        let open = |state: &lifecycle::State| matches!(state, lifecycle::State::Ordered { .. });
        self.roster.workers().filter(move |(_, worker)| open(&worker.state)).map(|(who, _)| who)
    }

    /// Workers about whom something is left to be done: not those that were killed, nor those that are unwanted and
    /// whose template was.
    fn out_of_patience_with(&self) -> impl Iterator<Item = &lifecycle::State> {
        let template_doomed =
            self.template.held().is_some_and(|template| matches!(template.state, template::State::Doomed { .. }));
        self.roster.states().filter(move |state| match state {
            lifecycle::State::Doomed { .. } => false,
            lifecycle::State::Ordered { unwanted, .. } => unwanted.is_none() || !template_doomed,
            lifecycle::State::Starting { .. }
            | lifecycle::State::Refused { .. }
            | lifecycle::State::Serving { .. }
            | lifecycle::State::Draining { .. }
            | lifecycle::State::Leaving { .. } => true,
        })
    }
}
