//! The scoreboard: one piece of shared memory per pool, one cell per slot.
//!
//! A worker writes its own cell and nothing else; the supervisor writes a cell only while its slot has no worker
//! (before the fork, after the burial); anybody may read. There is no lock and no pointer in it, so a dying worker
//! cannot hurt it. Nothing keeps one that has gone astray from writing into other cells: so what is read here is
//! believed only as far as it does no harm. Counters belong to the slot and outlive its workers; the rest belongs to
//! the worker whose `life` stands in the cell.

mod database;
mod words;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst};

use self::database::Use;
pub use self::database::{DatabaseReading, Stale};
pub(crate) use self::words::INNERMOST;
use self::words::Words;
pub use self::words::{LastWords, Why};

/// How many slots a pool can have: what `workers` may be, and room for replacements beside them.
pub const SLOTS: usize = 2048;
/// How many listeners a pool can have.
pub const LISTENERS: usize = 64;
/// How many bytes of a request line a cell keeps.
pub const LINE: usize = 128;
/// How many buckets the latency histogram has: bucket `n` counts requests of less than 2^n microseconds and not less
/// than half of that, the last one all that are longer.
pub const BUCKETS: usize = 28;

/// The shared memory of one pool.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Scoreboard {
    /// What concerns the pool as a whole.
    pub pool: PoolCell,
    /// One per slot.
    pub cells: [Cell; SLOTS],
}

/// What concerns the pool as a whole.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct PoolCell {
    slots: AtomicU64,
    database_counted: AtomicU32,
    /// Per listener, how many connections its queue may still yield to draining workers.
    pub quota: [AtomicU64; LISTENERS],
}

/// The state of a worker as it says itself; the supervisor's own view is its life table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// No worker has the slot.
    Vacant = 0,
    /// Ordered, forked or running the application's `start`.
    Starting = 1,
    /// Waits for work.
    Idle = 2,
    /// Runs a request.
    Busy = 3,
    /// Serves what it holds, then leaves.
    Draining = 4,
    /// Runs what a request that has been answered has deferred.
    Deferred = 5,
}

/// One slot.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Cell {
    life: AtomicU64,
    state: AtomicU32,
    connections: AtomicU32,
    deadline: AtomicU64,
    busy_since: AtomicU64,
    requests: AtomicU64,
    accepted: AtomicU64,
    handed_over: AtomicU64,
    late: AtomicU64,
    gone: AtomicU64,
    waited: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    body_disk: AtomicU64,
    line: Line,
    latency: [AtomicU64; BUCKETS],
    database: Use,
    words: Words,
}

/// The first bytes of a request line.
#[repr(C)]
#[derive(Debug, Default)]
struct Line {
    length: AtomicU64,
    bytes: [AtomicU64; LINE / 8],
}

impl Line {
    fn write(&self, line: &[u8]) {
        let shown = line.len().min(LINE);
        for (word, bytes) in self.bytes.iter().zip(line[..shown].chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Relaxed);
        }
        self.length.store(shown as u64, Relaxed);
    }

    fn copy(&self, other: &Line) {
        for (word, its) in self.bytes.iter().zip(&other.bytes) {
            word.store(its.load(Relaxed), Relaxed);
        }
        self.length.store(other.length.load(Relaxed), Relaxed);
    }

    fn clear(&self) {
        self.length.store(0, Relaxed);
    }

    fn read(&self) -> Vec<u8> {
        let mut line: Vec<u8> = self.bytes.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        line.truncate(self.length.load(Relaxed).min(LINE as u64) as usize);
        line
    }
}

/// What a cell says at one moment; each number is true by itself, not all of the same instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Whose numbers these are.
    pub life: u64,
    /// What the worker does.
    pub state: State,
    /// When it must be done, in the clock's nanoseconds; 0 if nothing presses.
    pub deadline: u64,
    /// When the present request began; 0 if none runs.
    pub busy_since: u64,
    /// The first bytes of the present or last request line, as the client sent them.
    pub line: Vec<u8>,
    /// Requests begun in this slot, by all its workers.
    pub requests: u64,
    /// Open connections.
    pub connections: u32,
    /// Connections taken from a listener, by all workers of this slot.
    pub accepted: u64,
    /// Connections given to siblings, by all workers of this slot.
    pub handed_over: u64,
    /// Requests answered 503 and not run, since they had waited longer than `queue_timeout`.
    pub late: u64,
    /// Requests not run, since their client had gone.
    pub gone: u64,
}

impl Scoreboard {
    /// The cell of a slot; `None` beyond the last.
    pub fn cell(&self, slot: u32) -> Option<&Cell> {
        self.cells.get(slot as usize)
    }

    /// Says how many slots, from the first, can have a worker: before the first of them is forked.
    pub fn set_slots(&self, slots: u32) {
        self.pool.slots.store(slots.into(), SeqCst);
    }

    /// How many slots, from the first, can have a worker.
    pub fn slots(&self) -> usize {
        self.pool.slots.load(SeqCst).min(SLOTS as u64) as usize
    }

    /// Requests begun, in all slots, by all workers there ever were.
    pub fn requests(&self) -> u64 {
        self.in_use().map(Cell::requests).fold(0, u64::wrapping_add)
    }

    /// The cells of the slots that can have a worker.
    fn in_use(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().take(self.slots())
    }

    /// Whether another worker has nothing to do and clearly fewer connections than `connections`. A hint: it may be
    /// past before it is acted on.
    pub fn has_freer(&self, connections: usize) -> bool {
        let fewer = |cell: &Cell| cell.connections.load(Relaxed) as usize + 1 < connections;
        self.in_use().any(|cell| cell.state() == State::Idle && fewer(cell))
    }

    /// Reserves `more` bytes of temporary files for the worker of `cell`, unless the pool then exceeds `bound`.
    pub fn reserve_disk(&self, cell: &Cell, more: u64, bound: u64) -> bool {
        // Written first and counted afterwards: of two workers that ask at the same time at least one sees both.
        cell.body_disk.fetch_add(more, SeqCst);
        let total = self.in_use().fold(0u64, |sum, cell| sum.saturating_add(cell.body_disk.load(SeqCst)));
        if total > bound {
            cell.body_disk.fetch_sub(more, SeqCst);
            return false;
        }
        true
    }

    /// Takes one connection from what the queue of `listener` may still yield; false if nothing is left.
    pub fn take_quota(&self, listener: usize) -> bool {
        let Some(quota) = self.pool.quota.get(listener) else {
            return false;
        };
        quota.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    /// Gives back what was taken and could not be used.
    pub fn return_quota(&self, listener: usize) {
        if let Some(quota) = self.pool.quota.get(listener) {
            quota.fetch_add(1, SeqCst);
        }
    }

    /// Says how many connections the queue of `listener` may still yield.
    pub fn set_quota(&self, listener: usize, connections: u64) {
        if let Some(quota) = self.pool.quota.get(listener) {
            quota.store(connections, SeqCst);
        }
    }

    /// How many connections the queue of `listener` may still yield.
    pub fn quota(&self, listener: usize) -> u64 {
        self.pool.quota.get(listener).map_or(0, |quota| quota.load(SeqCst))
    }
}

/// The supervisor's pen: only for slots without a worker, but for what it takes away once it has read it.
impl Cell {
    /// Before the fork: the slot is now this life's, which must be ready by `deadline`.
    pub fn assign(&self, life: u64, deadline: u64) {
        self.clear();
        self.deadline.store(deadline, Relaxed);
        self.state.store(State::Starting as u32, Relaxed);
        self.life.store(life, Release);
    }

    /// The longest that a request has waited, in nanoseconds, of those that have begun since this was last asked.
    pub fn take_waited(&self) -> u64 {
        self.waited.swap(0, Relaxed)
    }

    /// After the burial: nothing presses, nothing is held. The counters stay.
    pub fn clear(&self) {
        self.life.store(0, Relaxed);
        self.state.store(State::Vacant as u32, Relaxed);
        self.deadline.store(0, Relaxed);
        self.busy_since.store(0, Relaxed);
        self.connections.store(0, Relaxed);
        self.body_disk.store(0, SeqCst);
        self.line.clear();
        self.database.clear();
        self.words.forget();
    }
}

/// The worker's pen. It alone writes its cell, so a counter is a load and a store, not a locked instruction.
impl Cell {
    /// A request begins: from now on the supervisor may kill this worker once `deadline` and the grace have passed.
    pub fn begin(&self, now: u64, deadline: u64, line: &[u8]) {
        self.line.write(line);
        add(&self.requests, 1);
        self.busy_since.store(now, Relaxed);
        self.state.store(State::Busy as u32, Relaxed);
        self.deadline.store(deadline, Release);
    }

    /// The request has been answered, and runs what it has deferred until `deadline`: its client's time ends here.
    pub fn defer(&self, now: u64, deadline: u64) {
        self.count_latency(now);
        self.extend(deadline);
        self.state.store(State::Deferred as u32, Release);
    }

    /// The request is over.
    pub fn end(&self, now: u64, then: State) {
        self.deadline.store(0, Relaxed);
        if self.state() != State::Deferred {
            self.count_latency(now);
        }
        self.busy_since.store(0, Relaxed);
        self.state.store(then as u32, Release);
    }

    fn count_latency(&self, now: u64) {
        let micros = now.saturating_sub(self.busy_since.load(Relaxed)) / 1000;
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        add(&self.latency[bucket.min(BUCKETS - 1)], 1);
    }

    /// The request in hand may take until `deadline`, if that is later than what it had.
    pub fn extend(&self, deadline: u64) {
        self.deadline.store(self.deadline().max(deadline), Release);
    }

    /// The worker's last words, in a signal handler: `walk` is given what takes one address after the other. Makes no
    /// system call and allocates nothing.
    pub(crate) fn speak(&self, now: u64, why: Why, walk: impl FnOnce(&dyn Fn(usize))) {
        let since = self.busy_since.load(Relaxed);
        let line = (since != 0).then_some(&self.line);
        self.words.begin(line, line.map_or(0, |_| now.saturating_sub(since)), self.state() == State::Deferred);
        walk(&|address| self.words.add(address as u64));
        self.words.finish(why);
    }

    /// Whether the present request line begins with these bytes, at most eight.
    pub(crate) fn line_begins_with(&self, bytes: &[u8]) -> bool {
        self.line.bytes[0].load(Relaxed).to_ne_bytes().starts_with(bytes)
    }

    /// Not in a request: what the worker does now. Nothing presses any more.
    pub fn settle(&self, state: State) {
        self.deadline.store(0, Relaxed);
        self.state.store(state as u32, Release);
    }

    /// A connection was taken from a listener.
    pub fn accepted(&self) {
        add(&self.accepted, 1);
        self.taken_over();
    }

    /// A connection was taken over from a sibling.
    pub fn taken_over(&self) {
        self.connections.store(self.connections.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// A connection is gone; so many bytes came and went over it.
    pub fn closed(&self, received: u64, sent: u64) {
        self.connections.store(self.connections.load(Relaxed).wrapping_sub(1), Relaxed);
        add(&self.received, received);
        add(&self.sent, sent);
    }

    /// A connection was given to the siblings; so many bytes came and went over it while it was here.
    pub fn handed_over(&self, received: u64, sent: u64) {
        add(&self.handed_over, 1);
        self.closed(received, sent);
    }

    /// A request that is about to begin has waited for so many nanoseconds.
    pub fn has_waited(&self, nanos: u64) {
        if nanos > self.waited.load(Relaxed) {
            self.waited.store(nanos, Relaxed);
        }
    }

    /// A request had waited for too long and was not run.
    pub fn was_late(&self) {
        add(&self.late, 1);
    }

    /// A request's client had gone, and it was not run.
    pub fn was_gone(&self) {
        add(&self.gone, 1);
    }

    /// Gives back what [`Scoreboard::reserve_disk`] reserved.
    pub fn release_disk(&self, bytes: u64) {
        self.body_disk.fetch_sub(bytes, SeqCst);
    }
}

/// Anybody's eyes.
impl Cell {
    /// What the cell says now.
    pub fn read(&self) -> Reading {
        Reading {
            life: self.life.load(Relaxed),
            state: self.state(),
            deadline: self.deadline(),
            busy_since: self.busy_since.load(Relaxed),
            line: self.line.read(),
            requests: self.requests.load(Relaxed),
            connections: self.connections.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            handed_over: self.handed_over.load(Relaxed),
            late: self.late.load(Relaxed),
            gone: self.gone.load(Relaxed),
        }
    }

    /// What the worker said when it was overdue or dying, if it was; of several the last.
    pub fn last_words(&self) -> Option<LastWords> {
        self.words.read()
    }

    /// The first bytes of the present or last request line, as the client sent them.
    pub fn line(&self) -> Vec<u8> {
        self.line.read()
    }

    /// Whose cell this is; 0 if nobody's.
    pub fn life(&self) -> u64 {
        self.life.load(Relaxed)
    }

    /// When the worker must be done; 0 if nothing presses.
    pub fn deadline(&self) -> u64 {
        self.deadline.load(Relaxed)
    }

    /// What the worker does; a number nobody knows counts as idle, which presses nobody.
    pub fn state(&self) -> State {
        match self.state.load(Relaxed) {
            0 => State::Vacant,
            1 => State::Starting,
            3 => State::Busy,
            4 => State::Draining,
            5 => State::Deferred,
            _ => State::Idle,
        }
    }

    /// Requests begun in this slot, by all its workers.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}
