//! One slot: what its worker says of itself, and what all its workers have done.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst};

use super::database::Use;
use super::leaving::Leaving;
use super::line::Line;
use super::traffic::Traffic;
use super::words::{LastWords, Why, Words};
use super::{State, add};

/// See the module's header.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Cell {
    life: AtomicU64,
    state: AtomicU32,
    pub(super) connections: AtomicU32,
    deadline: AtomicU64,
    busy_since: AtomicU64,
    waited: AtomicU64,
    pub(super) body_disk: AtomicU64,
    line: Line,
    client: [AtomicU64; 2],
    pub(super) traffic: Traffic,
    pub(super) database: Use,
    words: Words,
    pub(super) leaving: Leaving,
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
        self.traffic.bury();
        self.life.store(0, Relaxed);
        self.state.store(State::Vacant as u32, Relaxed);
        self.deadline.store(0, Relaxed);
        self.busy_since.store(0, Relaxed);
        self.connections.store(0, Relaxed);
        self.body_disk.store(0, SeqCst);
        self.line.clear();
        self.set_client(None);
        self.database.clear();
        self.words.forget();
        self.leaving.clear();
    }
}

/// The worker's pen. It alone writes its cell, so a counter is a load and a store, not a locked instruction.
impl Cell {
    /// A request begins: from now on the supervisor may kill this worker once `deadline` and the grace have passed.
    pub fn begin(&self, now: u64, deadline: u64, line: &[u8]) {
        self.line.write(line);
        add(&self.traffic.requests, 1);
        self.busy_since.store(now, Relaxed);
        self.state.store(State::Busy as u32, Relaxed);
        self.deadline.store(deadline, Release);
    }

    /// Whose the request is that begins, if that is known and wanted.
    pub fn set_client(&self, client: Option<IpAddr>) {
        store_client(&self.client, client);
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
        self.traffic.took(now.saturating_sub(self.busy_since.load(Relaxed)));
    }

    /// The request in hand may take until `deadline`, if that is later than what it had.
    pub fn extend(&self, deadline: u64) {
        self.deadline.store(self.deadline().max(deadline), Release);
    }

    /// The worker's last words, in a signal handler: `walk` is given what takes one address after the other. Makes no
    /// system call and allocates nothing.
    pub(crate) fn speak(&self, now: u64, why: Why, told: u64, walk: impl FnOnce(&dyn Fn(usize))) {
        let since = self.busy_since.load(Relaxed);
        let line = (since != 0).then_some(&self.line);
        self.words.begin(line, line.map_or(0, |_| now.saturating_sub(since)), self.state() == State::Deferred, told);
        walk(&|address| self.words.add(address as u64));
        self.words.finish(why);
    }

    /// Whether the present request line begins with these bytes, at most eight.
    pub(crate) fn line_begins_with(&self, bytes: &[u8]) -> bool {
        self.line.begins_with(bytes)
    }

    /// Not in a request: what the worker does now. Nothing presses any more.
    pub fn settle(&self, state: State) {
        self.deadline.store(0, Relaxed);
        self.state.store(state as u32, Release);
    }

    /// A connection was taken from a listener.
    pub fn accepted(&self) {
        add(&self.traffic.accepted, 1);
        self.taken_over();
    }

    /// A connection was taken over from a sibling.
    pub fn taken_over(&self) {
        self.connections.store(self.connections.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// A connection is gone.
    pub fn closed(&self) {
        self.connections.store(self.connections.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    /// A connection was given to the siblings.
    pub fn handed_over(&self) {
        add(&self.traffic.handed_over, 1);
        self.closed();
    }

    /// A request that is about to begin has waited for so many nanoseconds.
    pub fn has_waited(&self, nanos: u64) {
        if nanos > self.waited.load(Relaxed) {
            self.waited.store(nanos, Relaxed);
        }
    }

    /// Gives back what [`Scoreboard::reserve_disk`](super::Scoreboard::reserve_disk) reserved.
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
            requests: self.traffic.requests.load(Relaxed),
            connections: self.connections.load(Relaxed),
            accepted: self.traffic.accepted.load(Relaxed),
            handed_over: self.traffic.handed_over.load(Relaxed),
            late: self.traffic.late.load(Relaxed),
            gone: self.traffic.gone.load(Relaxed),
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

    /// Whose the present or last request is, if its worker says so.
    pub fn client(&self) -> Option<IpAddr> {
        load_client(&self.client)
    }

    /// Whether a request runs that has had no answer but last words.
    pub fn owes_an_answer(&self) -> bool {
        self.busy_since.load(Relaxed) != 0 && self.traffic.is_short_of_an_answer()
    }

    /// Whose cell this is; 0 if nobody's.
    pub fn life(&self) -> u64 {
        self.life.load(Relaxed)
    }

    /// When the worker must be done; 0 if nothing presses.
    pub fn deadline(&self) -> u64 {
        self.deadline.load(Relaxed)
    }

    /// What the worker does.
    pub fn state(&self) -> State {
        State::read(self.state.load(Relaxed))
    }

    /// Requests begun in this slot, by all its workers.
    pub fn requests(&self) -> u64 {
        self.traffic.requests.load(Relaxed)
    }
}

/// An address in two words; none is 0.
pub(super) fn store_client(words: &[AtomicU64; 2], client: Option<IpAddr>) {
    let bits = match client {
        Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped().to_bits(),
        Some(IpAddr::V6(ip)) => ip.to_bits(),
        None => 0,
    };
    words[0].store((bits >> 64) as u64, Relaxed);
    words[1].store(bits as u64, Relaxed);
}

pub(super) fn load_client(words: &[AtomicU64; 2]) -> Option<IpAddr> {
    let [high, low] = words.each_ref().map(|half| u128::from(half.load(Relaxed)));
    let bits = high << 64 | low;
    (bits != 0).then(|| IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical())
}
