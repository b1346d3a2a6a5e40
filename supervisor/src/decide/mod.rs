//! The half of the supervisor that decides: what happened goes in, what to do about it comes out.
//!
//! [`Supervisor`] owns all that is believed about pools, templates and workers. It makes no system call, reads no
//! clock, writes no log: time is an argument and the only source of chance is seeded at construction, so that the same
//! events lead to the same actions. It never trusts a report: one that does not fit the life it names is dropped.

pub mod event;
pub mod lifecycle;
mod pool;
pub mod restart;
mod roster;
mod shutdown;
pub mod template;

use std::time::Duration;

use event::{Action, Event, Generation, Note, PoolId, Stop, TemplateRef, Time, WorkerRef};
use pool::Pool;
use shutdown::Rung;

/// What the deciding half needs to know of a pool's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many workers the pool has.
    pub workers: u32,
    /// How long a template may load, and a worker may take from the order to being ready.
    pub boot_timeout: Duration,
    /// How long after the stop began its workers may still be busy.
    pub stop_timeout: Duration,
}

/// Everything that is decided, and everything believed in order to decide it.
#[derive(Debug)]
pub struct Supervisor {
    pools: Vec<Pool>,
    rung: Rung,
    source: Source,
}

impl Supervisor {
    /// A supervisor of these pools in the configuration's order, with nothing running. Only the jitter of pauses
    /// depends on `seed`.
    pub fn new(pools: Vec<Limits>, seed: u64) -> Self {
        let pools = (0..).map(PoolId).zip(pools).map(|(id, limits)| Pool::new(id, limits)).collect();
        let source = Source { lives: 0, rng: fastrand::Rng::with_seed(seed) };
        Supervisor { pools, rung: Rung::Starting, source }
    }

    /// Starts every pool's template.
    pub fn begin(&mut self, now: Time) -> Vec<Action> {
        self.turn(now, |_, _| {})
    }

    /// What to do, in this order, now that this has happened.
    pub fn handle(&mut self, event: Event, now: Time) -> Vec<Action> {
        use lifecycle::Input as Worker;
        use template::Input as Template;

        self.turn(now, |pools, turn| match event {
            Event::TemplateLoaded(who) => tell_template(pools, who, Template::Loaded, turn),
            Event::TemplateRefused(who, reason) => tell_template(pools, who, Template::Refused(reason), turn),
            Event::TemplateNotStarted(who, reason) => tell_template(pools, who, Template::NotStarted(reason), turn),
            Event::TemplateDied(who, exit) => tell_template(pools, who, Template::Died(exit), turn),
            Event::WorkerForked(who, pid) => tell_worker(pools, who, Worker::Forked(pid), turn),
            Event::WorkerNotForked(who, reason) => tell_worker(pools, who, Worker::NotForked(reason), turn),
            Event::WorkerReady(who) => tell_worker(pools, who, Worker::Ready, turn),
            Event::WorkerRefused(who, reason) => tell_worker(pools, who, Worker::Refused(reason), turn),
            Event::WorkerLeaving(who) => tell_worker(pools, who, Worker::Leaving, turn),
            Event::WorkerOverdue(who) => tell_worker(pools, who, Worker::Overdue, turn),
            Event::WorkerDied(who, exit) => tell_worker(pools, who, Worker::Died(exit), turn),
            Event::StopWanted(stop) => begin_stop(pools, stop, turn),
            Event::Ticked => {}
        })
    }

    /// When [`Event::Ticked`] is wanted next; always later than the `now` of the last call.
    pub fn wake_at(&self) -> Option<Time> {
        self.pools.iter().filter_map(|pool| pool.wake_at(self.rung)).min()
    }

    /// Every worker from its order to its burial, by pool and slot.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerRef, &lifecycle::State, Generation)> {
        self.pools.iter().flat_map(Pool::workers)
    }

    /// Every template from its order to its burial, by pool.
    pub fn templates(&self) -> impl Iterator<Item = (TemplateRef, &template::State, Generation)> {
        self.pools.iter().filter_map(Pool::template)
    }

    /// Whether this worker was ordered and is neither buried nor forgotten.
    pub fn is_known(&self, worker: WorkerRef) -> bool {
        pool(&self.pools, worker.pool).is_some_and(|pool| pool.knows(worker))
    }

    /// Whether this template was ordered and is not buried.
    pub fn is_known_template(&self, template: TemplateRef) -> bool {
        pool(&self.pools, template.pool).and_then(Pool::template).is_some_and(|(known, ..)| known == template)
    }

    /// Whether the pool has spent its budget of failed boots and no worker of it has become ready since.
    pub fn has_failed(&self, id: PoolId) -> bool {
        pool(&self.pools, id).is_some_and(Pool::has_failed)
    }

    /// When a pool that [has failed](Supervisor::has_failed) may be tried again.
    pub fn failed_until(&self, id: PoolId) -> Option<Time> {
        pool(&self.pools, id).and_then(Pool::failed_until)
    }

    /// Whether some pool has not had a ready worker yet.
    pub fn is_starting(&self) -> bool {
        matches!(self.rung, Rung::Starting)
    }

    /// Whether nothing may be started any more.
    pub fn is_stopping(&self) -> bool {
        self.rung.is_ending()
    }

    /// One turn: the event itself, then everything that is due, then what all pools together have come to.
    fn turn(&mut self, now: Time, happened: impl FnOnce(&mut [Pool], &mut Turn<'_>)) -> Vec<Action> {
        let mut turn = Turn { now, rung: self.rung, source: &mut self.source, actions: Vec::new() };
        happened(&mut self.pools, &mut turn);

        let late = self.pools.iter().map(|pool| pool.out_of_time(turn.rung, now)).sum();
        if late > 0 {
            turn.note(Note::StopOverdue(late));
        }
        for pool in &mut self.pools {
            pool.settle(&mut turn);
        }
        if turn.rung == Rung::Starting && self.pools.iter().all(Pool::has_been_ready) {
            turn.rung = Rung::Serving;
            turn.push(Action::AnnounceReady);
        }
        if let Some(stop) = turn.rung.stop()
            && self.pools.iter().all(Pool::is_empty)
        {
            turn.rung = Rung::Left;
            turn.push(Action::Leave(stop));
        }
        self.rung = turn.rung;
        turn.actions
    }
}

/// Climbs as far as this wish asks. What the new rung asks of the pools follows when they settle.
fn begin_stop(pools: &[Pool], stop: Stop, turn: &mut Turn<'_>) {
    let before = turn.rung;
    let Some(rung) = before.climb(stop, turn.now) else {
        return;
    };
    if !before.is_ending() {
        turn.push(Action::AnnounceStopping);
    }
    turn.note(Note::Stopping(stop));
    if matches!(rung, Rung::Draining { .. }) {
        turn.actions.extend(pools.iter().map(|pool| Action::StopListening(pool.id())));
    }
    turn.rung = rung;
}

fn tell_template(pools: &mut [Pool], who: TemplateRef, input: template::Input, turn: &mut Turn<'_>) {
    if let Some(pool) = pool_mut(pools, who.pool) {
        pool.tell_template(who, input, turn);
    }
}

fn tell_worker(pools: &mut [Pool], who: WorkerRef, input: lifecycle::Input, turn: &mut Turn<'_>) {
    if let Some(pool) = pool_mut(pools, who.pool) {
        pool.tell_worker(who, input, turn);
    }
}

fn pool(pools: &[Pool], id: PoolId) -> Option<&Pool> {
    pools.get(usize::try_from(id.0).ok()?)
}

fn pool_mut(pools: &mut [Pool], id: PoolId) -> Option<&mut Pool> {
    pools.get_mut(usize::try_from(id.0).ok()?)
}

/// Where new lives and chance come from.
#[derive(Debug)]
struct Source {
    lives: u64,
    rng: fastrand::Rng,
}

/// One call of the deciding half: its moment, how far the stop is, and what has been decided so far.
struct Turn<'a> {
    now: Time,
    rung: Rung,
    source: &'a mut Source,
    actions: Vec<Action>,
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
