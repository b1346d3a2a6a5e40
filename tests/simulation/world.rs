//! The model world: its processes, its time, and what happens next in it.
//!
//! `course` takes it a step further; `errands` is what somebody wants of one pool and waits for; `facts` is what processes
//! do, `answers` what they make of an action, `admin` the process of the status page; `transaction` the configuration and
//! those who wish for it to be read, `succession` another program; `numbers` what is measured and counted, `promises` and
//! `rolling` what is checked after each event.

mod admin;
mod answers;
mod course;
mod errands;
mod facts;
mod numbers;
mod promises;
mod rolling;
mod succession;
mod transaction;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ratoon::decide::Supervisor;
use ratoon::decide::event::{
    Action, Asker, Edition, Event, Exit, Farewell, Outcome, PoolId, Scope, Stop, TemplateRef, Time, WorkerRef,
};
use ratoon::decide::limits::Limits;
use ratoon::decide::note::Note;

use super::farm::{Farm, Release, limits, random_limits};
use super::mood::Mood;
use super::process::{Template, Worker, up_to};
use admin::Admin;
use succession::Succession;
pub(super) use transaction::File;
use transaction::Transaction;

pub(super) const KILLED: Exit = Exit::Signal { number: 9, core: false };

/// The pool that is always calm and must never notice.
pub(super) const CALM: PoolId = PoolId(2);

/// So many events in one instant are a loop.
const MOST_EVENTS_AT_ONCE: usize = 2_000;

pub(super) struct World {
    pub(super) now: Time,
    pub(super) supervisor: Supervisor,
    pub(super) pools: BTreeMap<PoolId, Farm>,
    /// The pools there ever were.
    known: u32,
    chaos: bool,
    /// Whether anybody wishes for anything in the chaos.
    wishes: bool,
    rng: fastrand::Rng,
    pub(super) agenda: BTreeMap<(Time, u64), Plan>,
    plans: u64,
    pub(super) templates: BTreeMap<u64, Template>,
    pub(super) workers: BTreeMap<u64, Worker>,
    lives: BTreeSet<u64>,
    attempts: Vec<Attempt>,
    /// Attempts, by pool and slot, that no clean death has excused.
    tried: BTreeMap<(PoolId, Option<u32>), Vec<Tried>>,
    announced: Vec<Action>,
    pub(super) notes: Vec<Note>,
    stop: Option<(Stop, Time)>,
    left: bool,
    delivered: usize,
    at_once: usize,
    trace: VecDeque<String>,
    /// The reload that runs.
    pub(super) running: Option<Transaction>,
    /// How the last one ended, until that is answered.
    ended: Option<(Edition, bool)>,
    /// How often the configuration was read.
    pub(super) loads: usize,
    /// Who waits, and since which edition was the last.
    waiting: BTreeMap<Asker, Edition>,
    pub(super) answers: BTreeMap<Asker, Outcome>,
    /// Who waits for another size or for fresh workers: in which pool, and in the place of which lives.
    pub(super) errands: BTreeMap<Asker, (PoolId, BTreeSet<u64>)>,
    askers: u64,
    /// What the file says, if somebody has written one.
    pub(super) file: Option<Result<File, String>>,
    succession: Succession,
    admin: Admin,
    /// Whether the new program is about to be executed.
    pub(super) upgrading: bool,
    /// How often the supervisor has become its own successor.
    pub(super) upgrades: usize,
    /// How many workers each pool wanted before the event that is being answered.
    wanted: BTreeMap<PoolId, usize>,
}

/// Whose life was tried, of which edition, and when.
type Tried = (u64, Edition, Time);

/// A template was started, or a worker ordered.
#[derive(Debug)]
struct Attempt {
    pool: PoolId,
    life: u64,
}

/// What is going to happen.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    /// A process does or suffers this, if it still can.
    Fact(Event),
    /// The template makes the process of this life, if it still can; it is told later.
    Fork(WorkerRef),
    /// This is reported whether it is true or not.
    Gossip(Event),
    /// The configuration has been read.
    Read(Edition, Scope),
    /// A command that prepares has ended so.
    Prepared(PoolId, Edition, Result<(), String>),
    /// The new program has looked at the state that was written down then.
    Rehearsed(Time, Result<(), String>),
    /// The new program has been executed, or could not be.
    Executed(Result<(), String>),
    /// The admin process of this number does or suffers this, if it still can.
    Admin(u64, Event),
    /// Somebody kills the admin process.
    AdminTrouble,
    /// What was in the worker's hands until this deadline is done.
    Done(WorkerRef, Time),
    Measured(PoolId),
    Counted(PoolId),
    Knock(PoolId),
    /// The pool's mood and traffic change.
    Weather(PoolId),
    /// Somebody kills a process of the pool.
    Murder(PoolId),
    /// Somebody wishes for something.
    Wish,
}

impl World {
    /// A world of these pools in these moods, already begun.
    pub(super) fn new(limits: Vec<Limits>, moods: Vec<Mood>, seed: u64) -> World {
        let now = Time(1_000_000_000);
        let plans = transaction::plans((0..).map(PoolId).zip(limits.iter().cloned()));
        let releases = limits.into_iter().zip(moods).map(|(limits, mood)| Release { limits, mood });
        let farms = releases.map(|release| Farm::new(Edition(1), release));
        let pools: BTreeMap<PoolId, Farm> = (0..).map(PoolId).zip(farms).collect();
        let mut world = World {
            now,
            supervisor: Supervisor::new(plans, seed, now),
            known: u32::try_from(pools.len()).unwrap(),
            pools,
            chaos: false,
            wishes: false,
            rng: fastrand::Rng::with_seed(seed),
            agenda: BTreeMap::new(),
            plans: 0,
            templates: BTreeMap::new(),
            workers: BTreeMap::new(),
            lives: BTreeSet::new(),
            attempts: Vec::new(),
            tried: BTreeMap::new(),
            announced: Vec::new(),
            notes: Vec::new(),
            stop: None,
            left: false,
            delivered: 0,
            at_once: 0,
            trace: VecDeque::new(),
            running: None,
            ended: None,
            loads: 0,
            waiting: BTreeMap::new(),
            answers: BTreeMap::new(),
            errands: BTreeMap::new(),
            askers: 0,
            succession: Succession::default(),
            admin: Admin::default(),
            upgrading: false,
            upgrades: 0,
            file: None,
            wanted: BTreeMap::new(),
        };
        let actions = world.supervisor.begin(world.now);
        world.perform(&actions);
        world
    }

    /// Pools in moods that change, beside one that is always calm; in every second of these worlds somebody wishes for
    /// reloads and other sizes.
    pub(super) fn random(seed: u64) -> World {
        let mut rng = fastrand::Rng::with_seed(seed);
        let wishes = rng.u8(0..4) > 0;
        let all = vec![random_limits(&mut rng), random_limits(&mut rng), limits(3)];
        let moods = vec![Mood::random(&mut rng), Mood::random(&mut rng), Mood::CALM];
        let mut world = World::new(all, moods, seed);
        world.chaos = true;
        world.wishes = wishes;
        for pool in [PoolId(0), PoolId(1)] {
            world.trouble(pool);
        }
        if rng.bool() {
            world.want_admin();
        }
        if wishes {
            world.plan(Duration::from_secs(1), Plan::Wish);
        }
        world
    }

    fn trouble(&mut self, pool: PoolId) {
        self.plan(Duration::from_secs(10), Plan::Weather(pool));
        self.plan(Duration::from_secs(3), Plan::Murder(pool));
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    pub(super) fn longest_stop_timeout(&self) -> Duration {
        self.pools.values().map(|farm| farm.limits().stop_timeout).max().unwrap_or_default()
    }

    /// How often a template was started or a fork ordered, but for orders lost with their template.
    pub(super) fn attempts(&self, pool: PoolId) -> usize {
        self.attempts.iter().filter(|attempt| attempt.pool == pool).count()
    }

    /// How many such lines were written.
    pub(super) fn notes(&self, such: impl Fn(&Note) -> bool) -> usize {
        self.notes.iter().filter(|note| such(note)).count()
    }

    /// The workers of a pool that serve.
    pub(super) fn serving(&self, pool: PoolId) -> impl Iterator<Item = &Worker> {
        self.workers.values().filter(move |worker| worker.who.pool == pool && worker.serves())
    }

    /// Changes how what serves now behaves, and what is to come.
    pub(super) fn set_mood(&mut self, mood: Mood) {
        for release in self.pools.values_mut().flat_map(|farm| farm.releases.values_mut()) {
            release.mood = mood;
        }
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

    /// Lets time pass until this is so, at most so much; whether it came to be so.
    pub(super) fn run_until(&mut self, most: Duration, such: impl Fn(&World) -> bool) -> bool {
        let until = self.now.after(most);
        while !such(self) {
            if self.next_at().is_none_or(|at| at > until) {
                self.now = until;
                return such(self);
            }
            self.step();
        }
        true
    }

    /// From now on nothing new goes wrong, and nobody wants anything.
    pub(super) fn calm_down(&mut self) {
        self.chaos = false;
        self.set_mood(Mood::CALM);
        for farm in self.pools.values_mut() {
            farm.traffic = 0.0;
        }
        self.agenda.retain(|_, plan| {
            !matches!(plan, Plan::Weather(_) | Plan::Murder(_) | Plan::Wish | Plan::Knock(_) | Plan::Gossip(_))
        });
    }

    /// Workers and templates do as they like with what the stop asks of them.
    pub(super) fn misbehave_on_the_way_out(&mut self) {
        let hangs = self.rng.f64();
        for release in self.pools.values_mut().flat_map(|farm| farm.releases.values_mut()) {
            release.mood.drain_hangs = hangs;
        }
    }

    pub(super) fn stop(&mut self, stop: Stop) -> Vec<Action> {
        let first = self.stop.is_none();
        self.begin_stop(stop);
        let actions = self.deliver(Event::StopWanted(stop));
        if first {
            assert_eq!(actions.first(), Some(&Action::AnnounceStopping));
            assert!(self.waiting.is_empty(), "somebody waits for a reload that will never be");
            assert!(self.errands.is_empty(), "somebody waits for what will never be");
        }
        actions
    }

    fn begin_stop(&mut self, stop: Stop) {
        self.succession.agreed = None;
        match (self.stop, stop) {
            (None, _) => self.stop = Some((stop, self.now)),
            (Some((_, began)), Stop::Now) => self.stop = Some((stop, began)),
            (Some(_), Stop::Graceful) => {}
        }
        let all: Vec<PoolId> = self.pools.keys().copied().collect();
        all.into_iter().for_each(|pool| self.begin_end(pool, stop));
    }

    /// A pool ends, alone or with all.
    fn begin_end(&mut self, pool: PoolId, stop: Stop) {
        let serves = self.serving(pool).next().is_some();
        let now = self.now;
        let Some(farm) = self.pools.get_mut(&pool) else { return };
        match (farm.ending, stop) {
            (None, _) => {
                farm.ending = Some((stop, now));
                farm.queue_served = serves;
            }
            (Some((_, began)), Stop::Now) => farm.ending = Some((stop, began)),
            (Some(_), Stop::Graceful) => {}
        }
    }

    /// A worker begins to leave of its own accord.
    pub(super) fn walk_out(&mut self, who: WorkerRef, why: Farewell) -> Vec<Action> {
        self.fact(Event::WorkerLeaving(who, why)).expect("it serves")
    }

    pub(super) fn murder(&mut self, who: WorkerRef) -> Vec<Action> {
        self.fact(Event::WorkerDied(who, KILLED)).expect("it lives")
    }

    pub(super) fn murder_template(&mut self, who: TemplateRef) {
        self.fact(Event::TemplateDied(who, KILLED)).expect("it lives");
    }

    pub(super) fn deliver(&mut self, event: Event) -> Vec<Action> {
        self.delivered += 1;
        self.remember(format!("{:?} {event:?}", self.now));
        self.wanted = self.sizes();
        let actions = self.supervisor.handle(event, self.now);
        self.perform(&actions);
        actions
    }

    fn sizes(&self) -> BTreeMap<PoolId, usize> {
        let wanted = |pool| Some((pool, self.supervisor.pool(pool)?.wanted));
        self.pools.keys().filter_map(|pool| wanted(*pool)).collect()
    }

    /// Whether this happens to a process of this edition.
    fn chance(&mut self, pool: PoolId, edition: Edition, of: impl Fn(&Mood) -> f64) -> bool {
        let release = self.pools.get(&pool).and_then(|farm| farm.releases.get(&edition));
        self.rng.f64() < release.map_or(0.0, |release| of(&release.mood))
    }

    fn happens(&mut self, within_millis: u64, event: Event) {
        let delay = up_to(within_millis, &mut self.rng);
        self.plan(delay, Plan::Fact(event));
    }

    pub(super) fn plan(&mut self, delay: Duration, plan: Plan) {
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
