//! The model world: its processes, its time, and what happens next in it.
//!
//! `facts` is what processes do, `answers` what they make of an action, `promises` what is checked after each event;
//! `endings` are the promises about those that leave and those that were given up, each in a world of its own.

mod answers;
mod endings;
mod facts;
mod promises;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ratoon::decide::event::{Action, Event, Exit, Generation, Note, PoolId, Stop, TemplateRef, Time, WorkerRef};
use ratoon::decide::{Limits, Supervisor};

pub(super) use super::process::Mood;
use super::process::{Phase, Template, Worker, up_to};

const KILLED: Exit = Exit::Signal { number: 9, core: false };

/// So many events in one instant are a loop.
const MOST_EVENTS_AT_ONCE: usize = 2_000;

pub(super) struct World {
    now: Time,
    supervisor: Supervisor,
    limits: Vec<Limits>,
    moods: Vec<Mood>,
    chaos: bool,
    rng: fastrand::Rng,
    agenda: BTreeMap<(Time, u64), Plan>,
    plans: u64,
    templates: BTreeMap<u64, Template>,
    workers: BTreeMap<u64, Worker>,
    lives: BTreeSet<u64>,
    been_ready: BTreeSet<PoolId>,
    loaded: BTreeMap<PoolId, Generation>,
    attempts: Vec<Attempt>,
    announced: Vec<Action>,
    notes: Vec<Note>,
    stop: Option<(Stop, Time)>,
    /// Pools in which somebody has served the queue since the stop began.
    queue_served: BTreeSet<PoolId>,
    left: bool,
    delivered: usize,
    at_once: usize,
    trace: VecDeque<String>,
}

/// A template was started, or a worker ordered for a slot.
#[derive(Debug)]
struct Attempt {
    at: Time,
    pool: PoolId,
    slot: Option<u32>,
    life: u64,
}

/// What is going to happen.
#[derive(Debug, Clone)]
enum Plan {
    /// A process does or suffers this, if it still can.
    Fact(Event),
    /// The template makes the process of this life, if it still can; it is told later.
    Fork(WorkerRef),
    /// This is reported whether it is true or not.
    Gossip(Event),
    /// The pool's mood changes.
    Mood(PoolId),
    /// Somebody kills a process of the pool.
    Murder(PoolId),
}

impl World {
    /// A world of these pools in these moods, already begun.
    pub(super) fn new(limits: Vec<Limits>, moods: Vec<Mood>, seed: u64) -> World {
        let mut world = World {
            now: Time(1_000_000_000),
            supervisor: Supervisor::new(limits.clone(), seed),
            limits,
            moods,
            chaos: false,
            rng: fastrand::Rng::with_seed(seed),
            agenda: BTreeMap::new(),
            plans: 0,
            templates: BTreeMap::new(),
            workers: BTreeMap::new(),
            lives: BTreeSet::new(),
            been_ready: BTreeSet::new(),
            loaded: BTreeMap::new(),
            attempts: Vec::new(),
            announced: Vec::new(),
            notes: Vec::new(),
            stop: None,
            queue_served: BTreeSet::new(),
            left: false,
            delivered: 0,
            at_once: 0,
            trace: VecDeque::new(),
        };
        let actions = world.supervisor.begin(world.now);
        world.perform(&actions);
        world
    }

    /// Two pools in moods that change, beside a last one that is always calm and must never notice.
    pub(super) fn random(seed: u64) -> World {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut limits: Vec<_> = (0..2)
            .map(|_| Limits {
                workers: rng.u32(1..=12),
                boot_timeout: Duration::from_millis(rng.u64(1_000..5_000)),
                stop_timeout: Duration::from_millis(rng.u64(500..6_000)),
            })
            .collect();
        limits.push(Limits { workers: 3, boot_timeout: Duration::from_secs(3), stop_timeout: Duration::from_secs(3) });
        let moods = vec![Mood::random(&mut rng), Mood::random(&mut rng), Mood::CALM];
        let mut world = World::new(limits, moods, seed);
        world.chaos = true;
        for pool in [PoolId(0), PoolId(1)] {
            world.plan(Duration::from_secs(10), Plan::Mood(pool));
            world.plan(Duration::from_secs(3), Plan::Murder(pool));
        }
        world
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    pub(super) fn limits(&self) -> &[Limits] {
        &self.limits
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    pub(super) fn longest_stop_timeout(&self) -> Duration {
        self.limits.iter().map(|limits| limits.stop_timeout).max().unwrap_or_default()
    }

    /// How often a template was started or a fork ordered, but for orders lost with their template.
    pub(super) fn attempts(&self, pool: PoolId) -> usize {
        self.attempts.iter().filter(|attempt| attempt.pool == pool).count()
    }

    /// How many such lines were written.
    pub(super) fn notes(&self, such: impl Fn(&Note) -> bool) -> usize {
        self.notes.iter().filter(|note| such(note)).count()
    }

    /// Delivers so many more events.
    pub(super) fn live_through(&mut self, events: usize) {
        let until = self.delivered + events;
        while self.delivered < until {
            self.step();
        }
    }

    /// Lets so much time pass.
    pub(super) fn run_for(&mut self, span: Duration) {
        let until = self.now.after(span);
        while self.next_at().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = until;
    }

    /// From now on nothing new goes wrong.
    pub(super) fn calm_down(&mut self) {
        self.chaos = false;
        self.moods.fill(Mood::CALM);
        self.agenda.retain(|_, plan| matches!(plan, Plan::Fact(_) | Plan::Fork(_) | Plan::Gossip(_)));
    }

    /// Workers and templates do as they like with what the stop asks of them.
    pub(super) fn misbehave_on_the_way_out(&mut self) {
        for mood in &mut self.moods {
            mood.drain_hangs = self.rng.f64();
        }
    }

    pub(super) fn stop(&mut self, stop: Stop) -> Vec<Action> {
        let first = self.stop.is_none();
        if first {
            let serving =
                self.workers.values().filter(|worker| worker.phase == Phase::Serving && worker.killed.is_none());
            self.queue_served = serving.map(|worker| worker.who.pool).collect();
        }
        match (self.stop, stop) {
            (None, _) => self.stop = Some((stop, self.now)),
            (Some((_, began)), Stop::Now) => self.stop = Some((stop, began)),
            (Some(_), Stop::Graceful) => {}
        }
        let actions = self.deliver(Event::StopWanted(stop));
        if first {
            assert_eq!(actions.first(), Some(&Action::AnnounceStopping));
        }
        actions
    }

    /// A worker begins to leave of its own accord.
    pub(super) fn walk_out(&mut self, who: WorkerRef) -> Vec<Action> {
        self.fact(Event::WorkerLeaving(who)).expect("it serves")
    }

    pub(super) fn murder(&mut self, who: WorkerRef) -> Vec<Action> {
        self.fact(Event::WorkerDied(who, KILLED)).expect("it lives")
    }

    pub(super) fn murder_template(&mut self, who: TemplateRef) {
        self.fact(Event::TemplateDied(who, KILLED)).expect("it lives");
    }

    /// The next thing that happens: something planned, or the alarm.
    pub(super) fn step(&mut self) {
        let alarm = self.supervisor.wake_at();
        let planned = self.agenda.keys().next().map(|(at, _)| *at);
        let at = alarm.into_iter().chain(planned).min().expect("nothing will ever happen again");
        self.at_once = if at > self.now { 0 } else { self.at_once + 1 };
        assert!(self.at_once < MOST_EVENTS_AT_ONCE, "turns in a circle without time passing");
        self.now = self.now.max(at);
        if alarm == Some(at) {
            self.deliver(Event::Ticked);
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
            Plan::Mood(pool) => {
                self.moods[pool.0 as usize] = Mood::random(&mut self.rng);
                let next = Duration::from_secs(self.rng.u64(5..200));
                self.plan(next, Plan::Mood(pool));
            }
            Plan::Murder(pool) => {
                self.murder_somebody(pool);
                let next = Duration::from_millis(self.rng.u64(1..20_000));
                self.plan(next, Plan::Murder(pool));
            }
        }
    }

    fn next_at(&self) -> Option<Time> {
        let planned = self.agenda.keys().next().map(|(at, _)| *at);
        self.supervisor.wake_at().into_iter().chain(planned).min()
    }

    fn murder_somebody(&mut self, pool: PoolId) {
        let mut victims: Vec<_> = self
            .workers
            .values()
            .filter(|worker| worker.who.pool == pool && worker.phase != Phase::Ordered)
            .map(|worker| Event::WorkerDied(worker.who, KILLED))
            .collect();
        victims.extend(
            self.templates
                .values()
                .filter(|template| template.who.pool == pool)
                .map(|template| Event::TemplateDied(template.who, KILLED)),
        );
        if let Some(event) = self.rng.choice(victims) {
            self.fact(event);
        }
    }

    fn deliver(&mut self, event: Event) -> Vec<Action> {
        self.delivered += 1;
        self.remember(format!("{:?} {event:?}", self.now));
        let actions = self.supervisor.handle(event, self.now);
        self.perform(&actions);
        actions
    }

    fn chance(&mut self, pool: PoolId, of: impl Fn(&Mood) -> f64) -> bool {
        self.rng.f64() < of(&self.moods[pool.0 as usize])
    }

    fn happens(&mut self, within_millis: u64, event: Event) {
        let delay = up_to(within_millis, &mut self.rng);
        self.plan(delay, Plan::Fact(event));
    }

    fn plan(&mut self, delay: Duration, plan: Plan) {
        self.plans += 1;
        self.agenda.insert((self.now.after(delay), self.plans), plan);
    }

    fn remember(&mut self, line: String) {
        self.trace.push_back(line);
        if self.trace.len() > 60 {
            self.trace.pop_front();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.trace {
                eprintln!("{line}");
            }
        }
    }
}
