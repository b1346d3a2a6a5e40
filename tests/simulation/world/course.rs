//! The course of the model world: what comes next, and the weather in which it does.

use std::time::Duration;

use ratoon::decide::event::{Event, PoolId, Time, WorkerRef};

use super::{KILLED, MOST_EVENTS_AT_ONCE, Plan, World};
use crate::simulation::mood::Mood;
use crate::simulation::process::Phase;

impl World {
    /// The next thing that happens: something planned, a deadline, or the alarm.
    pub(in crate::simulation) fn step(&mut self) {
        let at = self.next_at().expect("nothing will ever happen again");
        self.at_once = if at > self.now { 0 } else { self.at_once + 1 };
        assert!(self.at_once < MOST_EVENTS_AT_ONCE, "turns in a circle without time passing");
        self.now = self.now.max(at);
        if self.supervisor.wake_at() == Some(at) {
            self.deliver(Event::Ticked);
            return;
        }
        if let Some((_, who, deadline)) = self.next_due().filter(|(due, ..)| *due <= at) {
            self.deliver(Event::WorkerOverdue(who, deadline));
            return;
        }
        match self.agenda.pop_first().expect("it was just seen").1 {
            Plan::Fact(event) => {
                self.fact(event);
            }
            Plan::Fork(who) => self.fork(who),
            Plan::Gossip(event) => {
                self.deliver(event);
            }
            Plan::Read(edition, scope) => self.read(edition, &scope),
            Plan::Rehearsed(begun, outcome) => self.rehearsed(begun, outcome),
            Plan::Executed(outcome) => self.executed(outcome),
            Plan::Admin(number, event) => self.befalls_admin(number, event),
            Plan::AdminTrouble => self.trouble_admin(),
            Plan::Prepared(pool, edition, outcome) => self.end_preparation(pool, edition, outcome),
            Plan::Done(who, deadline) => {
                if let Some(worker) = self.workers.get_mut(&who.life) {
                    worker.deadline.take_if(|stands| *stands == deadline);
                }
            }
            Plan::Measured(pool) => self.measure(pool),
            Plan::Counted(pool) => self.count(pool),
            Plan::Knock(pool) => {
                self.deliver(Event::Knocked(pool));
            }
            Plan::Weather(pool) => self.change_weather(pool),
            Plan::Murder(pool) => {
                self.murder_somebody(pool);
                let next = Duration::from_millis(self.rng.u64(1..20_000));
                self.plan(next, Plan::Murder(pool));
            }
            Plan::Wish if self.left => {}
            Plan::Wish => self.wish(),
        }
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        let planned = self.agenda.keys().next().map(|(at, _)| *at);
        let due = self.next_due().map(|(due, ..)| due.max(self.now));
        self.supervisor.wake_at().into_iter().chain(planned).chain(due).min()
    }

    /// What the acting half reads in the cells.
    fn next_due(&self) -> Option<(Time, WorkerRef, Time)> {
        let with_deadline = self.workers.values().filter_map(|worker| Some((worker.who, worker.deadline?)));
        with_deadline.filter_map(|(who, deadline)| Some((self.supervisor.due(who, deadline)?, who, deadline))).min()
    }

    fn murder_somebody(&mut self, pool: PoolId) {
        let mut victims: Vec<_> = self
            .workers
            .values()
            .filter(|worker| worker.who.pool == pool && worker.phase != Phase::Ordered)
            .map(|worker| Event::WorkerDied(worker.who, KILLED))
            .collect();
        let templates = self.templates.values().filter(|template| template.who.pool == pool);
        victims.extend(templates.map(|template| Event::TemplateDied(template.who, KILLED)));
        if let Some(event) = self.rng.choice(victims) {
            self.fact(event);
        }
    }

    fn change_weather(&mut self, pool: PoolId) {
        let (mood, traffic) = (Mood::random(&mut self.rng), self.rng.choice([0.0, 0.0, 0.3, 0.9, 1.0]));
        if let Some(farm) = self.pools.get_mut(&pool) {
            farm.traffic = traffic.unwrap_or(0.0);
            for release in farm.releases.values_mut() {
                release.mood = mood;
            }
            let next = Duration::from_secs(self.rng.u64(5..200));
            self.plan(next, Plan::Weather(pool));
        }
    }
}
