//! The half of the supervisor that decides: what happened goes in, what to do about it comes out.
//!
//! [`Supervisor`] owns all that is believed about pools, templates and workers. It makes no system call, reads no
//! clock, writes no log: time is an argument and the only source of chance is seeded at construction, so that the same
//! events lead to the same actions. It never trusts a report: one that does not fit the life it names is dropped.

mod admin;
pub mod cause;
pub mod event;
pub mod lifecycle;
pub mod limits;
mod log;
pub mod note;
mod pool;
mod realm;
mod reload;
pub mod restart;
mod roster;
pub mod scale;
mod shutdown;
mod stock;
pub mod template;
mod upgrade;

use serde::{Deserialize, Serialize};

use admin::Admin;
use cause::Cause;
use event::{Action, Event, Farewell, Generation, Plan, PoolId, TemplateRef, Time, WorkerRef};
use log::Log;
use note::Note;
use pool::Pool;
use realm::Realm;
pub use reload::Stage;

/// Everything that is decided, and everything believed in order to decide it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Supervisor {
    realm: Realm,
    log: Log,
    admin: Admin,
    source: Source,
}

impl Supervisor {
    /// A supervisor of these pools in the first edition of their configuration, with nothing running. Only jitter
    /// depends on `seed`.
    pub fn new(plans: Vec<Plan>, seed: u64, now: Time) -> Self {
        let source = Source { lives: 0, rng: fastrand::Rng::with_seed(seed) };
        Supervisor { realm: Realm::new(plans, now), log: Log::default(), admin: Admin::default(), source }
    }

    /// Starts every pool's template.
    pub fn begin(&mut self, now: Time) -> Vec<Action> {
        self.handle(Event::Ticked, now)
    }

    /// What to do, in this order, now that this has happened.
    pub fn handle(&mut self, event: Event, now: Time) -> Vec<Action> {
        let mut turn = Turn { now, source: &mut self.source, actions: Vec::new(), gives_up_for: None };
        let event = self.log.learn(event, &mut turn).and_then(|event| self.admin.learn(event, &mut turn));
        if let Some(event) = event {
            self.realm.learn(event, &mut turn);
        }
        // Before anybody who may print.
        self.log.settle(&mut turn);
        self.realm.settle(&mut turn);
        if !self.realm.has_left() {
            self.admin.settle(self.realm.is_upgrading(), &mut turn);
        }
        if self.admin.has_made_way() {
            self.realm.execute_upgrade(&mut turn);
        }
        turn.actions
    }

    /// When [`Event::Ticked`] is wanted next; always later than the `now` of the last call.
    pub fn wake_at(&self) -> Option<Time> {
        if self.realm.has_left() {
            return None;
        }
        let admin = self.admin.wake_at(self.realm.is_upgrading());
        [self.realm.wake_at(), self.log.wake_at(), admin].into_iter().flatten().min()
    }

    /// When [`Event::WorkerOverdue`] is wanted about a worker in whose cell this deadline stands; `None` if never.
    pub fn due(&self, who: WorkerRef, deadline: Time) -> Option<Time> {
        self.realm.pool(who.pool)?.due(who, deadline)
    }

    /// Every worker from its order to its burial, by pool and slot.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerRef, &lifecycle::State, Generation)> {
        self.realm.pools().flat_map(Pool::workers)
    }

    /// Every template from its order to its burial, by pool.
    pub fn templates(&self) -> impl Iterator<Item = (TemplateRef, &template::State, Generation)> {
        self.realm.pools().flat_map(Pool::templates)
    }

    /// Whether this worker was ordered and is neither buried nor forgotten.
    pub fn is_known(&self, worker: WorkerRef) -> bool {
        self.realm.pool(worker.pool).is_some_and(|pool| pool.knows(worker))
    }

    /// How a pool does; `None` if it is not known.
    pub fn pool(&self, id: PoolId) -> Option<View> {
        let pool = self.realm.pool(id)?;
        let (most, offset) = pool.most();
        let (wanted, health, is_ending) = (pool.wanted(), pool.health(), pool.is_ending());
        Some(View { wanted, most, offset, health, is_ending, reload: self.realm.reload_of(id) })
    }

    /// The reload that is under way: its edition, and whether it has been adopted.
    pub fn reloading(&self) -> Option<(event::Edition, bool)> {
        self.realm.reloading()
    }

    /// How far that reload is.
    pub fn reload_stage(&self) -> Option<Stage> {
        self.realm.reload_stage()
    }

    /// How far the daemon is.
    pub fn phase(&self) -> Phase {
        self.realm.phase()
    }

    /// When and how the last reload ended.
    pub fn last_reload(&self) -> Option<&(Time, event::Outcome)> {
        self.realm.last_reload()
    }
}

/// How far the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Some pool has not had a ready worker yet.
    Starting,
    /// Every pool has had one.
    Serving,
    /// It is on the way out, or gone.
    Stopping,
}

/// What can be said of a pool as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// How many workers there should be.
    pub wanted: usize,
    /// The most it may have.
    pub most: u32,
    /// What the operator has added to that.
    pub offset: i32,
    /// Whether it has spent its budget of failed boots.
    pub health: restart::Health,
    /// Whether it, or the daemon, is on the way out.
    pub is_ending: bool,
    /// How many of its workers are renewed, while it is reloaded.
    pub reload: Option<event::Step>,
}

/// Where new lives and chance come from.
#[derive(Debug, Serialize, Deserialize)]
struct Source {
    lives: u64,
    #[serde(with = "seed")]
    rng: fastrand::Rng,
}

/// One call of the deciding half: its moment, and what has been decided so far.
struct Turn<'a> {
    now: Time,
    source: &'a mut Source,
    actions: Vec<Action>,
    /// A pool that has failed and is not to be served without.
    gives_up_for: Option<PoolId>,
}

impl Turn<'_> {
    fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn note(&mut self, note: Note) {
        self.actions.push(Action::Note(note));
    }

    /// A number no template and no worker has had.
    fn new_life(&mut self) -> u64 {
        self.source.lives += 1;
        self.source.lives
    }
}

/// What a worker's own reason to leave is called.
fn cause_of_farewell(farewell: Farewell) -> Cause {
    match farewell {
        Farewell::Requests => Cause::Recycled(cause::Limit::Requests),
        Farewell::Signal => Cause::Retired(cause::Wish::Operator),
        Farewell::Panic => Cause::Recycled(cause::Limit::Panic),
        Farewell::Change => Cause::Recycled(cause::Limit::Change),
    }
}

/// For `#[serde(with)]`: chance goes on where it was.
mod seed {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(rng: &fastrand::Rng, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(rng.get_seed())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<fastrand::Rng, D::Error> {
        u64::deserialize(deserializer).map(fastrand::Rng::with_seed)
    }
}
