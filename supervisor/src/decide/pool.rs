//! One pool: closes the gap between the workers it has and the workers it should have.
//!
//! Owns the pool's stocks, its roster, its size and its budget of failed boots. Reports and orders go through the tables
//! of [`lifecycle`] and [`template`]; here is what is done on entering a state. How the gap is closed is in `attempt`, who
//! is replaced in `turnover`, which limit is reached in `measure`, what a death leads to in `burial`, how it ends in
//! `ending`, what somebody waits for in `errand`. Never touches another pool.

mod attempt;
mod burial;
mod ending;
mod errand;
mod measure;
#[cfg(test)]
mod tests;
mod turnover;

use serde::{Deserialize, Serialize};

use super::Turn;
use super::cause::Cause;
use super::event::{Action, Edition, Generation, Plan, PoolId, TemplateRef, Time, WorkerRef};
use super::lifecycle;
use super::limits::Limits;
use super::note::Note;
use super::restart::{Budget, Change, Health};
use super::roster::Roster;
use super::scale::Scaler;
use super::shutdown::Rung;
use super::stock::Stock;
use super::template;
use errand::Errand;
use measure::Schedule;
pub(super) use turnover::{Trial, Turnover};

/// See the module's header.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pool {
    id: PoolId,
    /// What workers are forked from: never empty, and it always has the one of `serving`.
    stocks: Vec<Stock>,
    /// The edition that replacements are forked from.
    serving: Edition,
    turnover: Turnover,
    roster: Roster,
    scaler: Scaler,
    /// All workers are to retire while this edition, the newest there was when that was wished for, or an earlier one
    /// serves: only a reload that begins later brings them back.
    unwanted: Option<Edition>,
    schedule: Schedule,
    budget: Budget,
    rung: Rung,
    /// The newest generation that has loaded, 0 before the first.
    loaded: u32,
    first_ready: Option<Time>,
    errands: Vec<Errand>,
}

impl Pool {
    pub(super) fn new(plan: Plan, edition: Edition, turnover: Turnover, now: Time) -> Self {
        Pool {
            id: plan.pool,
            serving: edition,
            turnover,
            roster: Roster::new(plan.pool),
            scaler: Scaler::new(plan.limits.scaling.clone(), now),
            unwanted: None,
            schedule: Schedule::default(),
            budget: Budget::default(),
            rung: Rung::Open,
            loaded: 0,
            first_ready: None,
            errands: Vec::new(),
            stocks: vec![Stock::new(edition, plan.limits)],
        }
    }

    /// A worker's report, or an order to it, through the table of its life.
    pub(super) fn tell_worker(&mut self, who: WorkerRef, input: lifecycle::Input, turn: &mut Turn<'_>) {
        let stop_timeout = self.limits().stop_timeout;
        let Some(worker) = self.roster.worker(who) else {
            return;
        };
        match lifecycle::step(&worker.state, input, turn.now, stop_timeout) {
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
        let mut templates = self.stocks.iter_mut().filter_map(|stock| stock.template.held_mut());
        let Some(template) = templates.find(|template| template.life == who.life) else {
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
        self.hurry_stocks(turn);
        // Before anything is attempted: those who are stopped here make room for others.
        self.clear_out(turn);
        match self.rung {
            Rung::Open => {
                self.end_leaving(turn);
                self.mind_limits(turn);
                self.replace(turn);
                self.reconcile(turn);
                self.await_knock(turn);
                self.settle_errands(turn);
            }
            Rung::Draining { .. } | Rung::Killing => self.wind_down(turn),
        }
    }

    /// When something will be due if nothing is reported before.
    pub(super) fn wake_at(&self) -> Option<Time> {
        let next = match self.rung {
            Rung::Open => {
                let leaving = self.roster.states().filter_map(lifecycle::State::deadline);
                let attempt = self.next_attempt(Time::default()).map(|(at, _)| at);
                attempt.into_iter().chain(leaving).chain(self.next_measure()).min()
            }
            Rung::Draining { .. } | Rung::Killing => self.end_of_patience(),
        };
        next.into_iter().chain(self.stocks.iter().filter_map(Stock::deadline)).min()
    }

    pub(super) fn id(&self) -> PoolId {
        self.id
    }

    /// The numbers in force.
    pub(super) fn limits(&self) -> &Limits {
        &self.stocks[self.place_of(self.serving)].limits
    }

    /// How many workers there should be.
    pub(super) fn wanted(&self) -> usize {
        if self.is_unwanted() { 0 } else { self.scaler.wanted() as usize }
    }

    /// Whether nobody is to serve here for the time being.
    fn is_unwanted(&self) -> bool {
        self.unwanted.is_some_and(|newest| self.serving <= newest)
    }

    /// The most workers there may be, and what of that the operator has added.
    pub(super) fn most(&self) -> (u32, i32) {
        (self.scaler.most(), self.scaler.offset())
    }

    pub(super) fn has_been_ready(&self) -> bool {
        self.first_ready.is_some() || self.wanted() == 0
    }

    pub(super) fn health(&self) -> Health {
        self.budget.health()
    }

    fn has_failed(&self) -> bool {
        matches!(self.budget.health(), Health::Failed { .. })
    }

    pub(super) fn is_ending(&self) -> bool {
        self.rung.is_ending()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stocks.iter().all(Stock::is_bare) && self.roster.workers().next().is_none()
    }

    pub(super) fn knows(&self, who: WorkerRef) -> bool {
        self.roster.workers().any(|(known, _)| known == who)
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = (WorkerRef, &lifecycle::State, Generation)> {
        self.roster.workers().map(|(who, worker)| (who, &worker.state, worker.generation))
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = (TemplateRef, &template::State, Generation)> {
        let held = self.stocks.iter().filter_map(|stock| stock.template.held());
        held.map(|template| (self.template_ref(template.life), &template.state, template.generation))
    }

    fn template_ref(&self, life: u64) -> TemplateRef {
        TemplateRef { pool: self.id, life }
    }

    /// Where the stock of an edition is; that of the serving one if there is none of this.
    fn place_of(&self, edition: Edition) -> usize {
        let find = |wanted| self.stocks.iter().position(|stock| stock.edition == wanted);
        find(edition).or_else(|| find(self.serving)).unwrap_or(0)
    }

    fn stock(&self, edition: Edition) -> Option<&Stock> {
        self.stocks.iter().find(|stock| stock.edition == edition)
    }

    fn worker_entered(&mut self, who: WorkerRef, turn: &mut Turn<'_>) {
        let max_age = self.limits().max_age;
        let Some(worker) = self.roster.worker(who) else {
            return;
        };
        let (generation, edition) = (worker.generation, worker.edition);
        match &worker.state {
            lifecycle::State::Serving { pid, ready } => {
                worker.expires = max_age.map(|age| ready.after(age.draw(&mut turn.source.rng)));
                let boot = ready.since(worker.ordered);
                turn.note(Note::WorkerReady { worker: who, pid: *pid, generation, boot });
                self.first_ready.get_or_insert(turn.now);
                self.praise(edition);
                self.count_ready(edition);
                if edition == self.serving && self.budget.recover() == Change::Turned {
                    turn.note(Note::PoolRecovered(self.id));
                }
            }
            lifecycle::State::Leaving { .. } => turn.push(Action::OrderRetire(who)),
            lifecycle::State::Draining { .. } => turn.push(Action::OrderDrain(who)),
            lifecycle::State::Doomed { pid, cause, .. } => {
                turn.note(Note::Killing { worker: who, pid: Some(*pid), generation, cause: cause.clone() });
                turn.push(Action::Kill(who));
            }
            lifecycle::State::Ordered { .. }
            | lifecycle::State::Starting { .. }
            | lifecycle::State::Refused { .. }
            | lifecycle::State::Trailing { .. } => {}
        }
    }

    fn template_entered(&mut self, who: TemplateRef, turn: &mut Turn<'_>) {
        let mut held = self.stocks.iter().filter_map(|stock| stock.template.held());
        let Some(template) = held.find(|template| template.life == who.life) else {
            return;
        };
        match template.state {
            template::State::Loaded { since } => {
                self.loaded = self.loaded.max(template.generation.0);
                let load = since.since(template.started);
                turn.note(Note::TemplateLoaded(who, template.generation, load));
            }
            template::State::Dismissed { .. } => turn.push(Action::DismissTemplate(who)),
            template::State::Doomed { .. } => turn.push(Action::KillTemplate(who)),
            template::State::Loading { .. } | template::State::Refused { .. } => {}
        }
    }

    /// Templates, and commands that prepare for them, have their time; then it is over.
    fn hurry_stocks(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let is_late = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let held = self.stocks.iter().filter_map(|stock| stock.template.held());
        let late: Vec<u64> = held.filter(|each| is_late(each.deadline())).map(|each| each.life).collect();
        for life in late {
            self.tell_template(self.template_ref(life), template::Input::Overdue, turn);
        }
        let late = self.stocks.iter().filter(|stock| is_late(stock.deadline()));
        let late: Vec<Edition> = late.map(|stock| stock.edition).collect();
        for edition in late {
            turn.push(Action::AbandonPreparation(self.id, edition));
            self.prepared(edition, Err("it did not end within boot_timeout".into()), turn);
        }
    }

    /// Workers a template was told to fork and has not answered for.
    fn open_orders(&self, template: u64) -> impl Iterator<Item = WorkerRef> {
        let open = move |state: &lifecycle::State| matches!(state, lifecycle::State::Ordered { template: told, .. } if *told == template);
        self.roster.workers().filter(move |(_, worker)| open(&worker.state)).map(|(who, _)| who)
    }

    /// Kills those that leave and have had their time. In a stop everybody has the stop's.
    fn end_leaving(&mut self, turn: &mut Turn<'_>) {
        let late = |state: &lifecycle::State| state.deadline().is_some_and(|at| at <= turn.now);
        let late: Vec<_> =
            self.roster.workers().filter(|(_, worker)| late(&worker.state)).map(|(who, _)| who).collect();
        for who in late {
            self.tell_worker(who, lifecycle::Input::Kill(Cause::StopTimeout), turn);
        }
    }
}
