//! What a slot's workers have done for their clients.
//!
//! Written by the worker alone, but for what its death leaves unanswered, which the supervisor counts when it buries it;
//! read by anybody. Every number only grows, and belongs to the slot: it outlives its workers, a reload, and an upgrade.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::{Histogram, Times};
use super::{Cell, Scoreboard, add};

/// The place for it in a cell.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) requests: AtomicU64,
    answers: [AtomicU64; CLASSES],
    lost: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) gone: AtomicU64,
    refused: [AtomicU64; CLASSES],
    pub(super) accepted: AtomicU64,
    pub(super) handed_over: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    duration: Histogram,
    queue: Histogram,
}

/// How many classes of status there are: `1xx` to `5xx`.
pub const CLASSES: usize = 5;

/// What was done for clients: by all workers of a slot, or of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficReading {
    /// Requests that the application has begun to run.
    pub requests: u64,
    /// How many of these were answered, by the class of the status: `1xx` first.
    pub answers: [u64; CLASSES],
    /// How many of these ended with their worker, unanswered but for its last words.
    pub lost: u64,
    /// Requests answered 503 and not run, since they had waited longer than `queue_timeout`.
    pub late: u64,
    /// Requests not run, since their client had gone.
    pub gone: u64,
    /// Requests that the library refused and the application never saw, by the class of the status.
    pub refused: [u64; CLASSES],
    /// Connections taken from a listener.
    pub accepted: u64,
    /// Connections given to siblings.
    pub handed_over: u64,
    /// Bytes read from clients.
    pub received: u64,
    /// Bytes written to clients.
    pub sent: u64,
    /// From a handler's start to the end of its request, deferred work aside.
    pub duration: Times,
    /// What TCP connections had waited in a listener's queue when they were accepted.
    pub queue: Times,
}

impl TrafficReading {
    fn join(self, other: TrafficReading) -> TrafficReading {
        let sum = u64::wrapping_add;
        let classes = |own: [u64; CLASSES], others: [u64; CLASSES]| std::array::from_fn(|n| sum(own[n], others[n]));
        TrafficReading {
            requests: sum(self.requests, other.requests),
            answers: classes(self.answers, other.answers),
            lost: sum(self.lost, other.lost),
            late: sum(self.late, other.late),
            gone: sum(self.gone, other.gone),
            refused: classes(self.refused, other.refused),
            accepted: sum(self.accepted, other.accepted),
            handed_over: sum(self.handed_over, other.handed_over),
            received: sum(self.received, other.received),
            sent: sum(self.sent, other.sent),
            duration: self.duration.join(&other.duration),
            queue: self.queue.join(&other.queue),
        }
    }
}

impl Traffic {
    /// The worker is dead: what it had begun nobody answers. It ran one request at a time, so it is one at the most,
    /// whatever a worker gone astray has written here.
    pub(super) fn bury(&self) {
        if self.is_short_of_an_answer() {
            add(&self.lost, 1);
        }
    }

    /// Whether more has begun than was answered, or lost.
    pub(super) fn is_short_of_an_answer(&self) -> bool {
        let answered = self.answers.iter().chain([&self.lost]).map(|counter| counter.load(Relaxed));
        self.requests.load(Relaxed) > answered.fold(0, u64::wrapping_add)
    }

    pub(super) fn took(&self, nanos: u64) {
        self.duration.observe(nanos);
    }
}

/// The worker's pen, as for the rest of the cell.
impl Cell {
    /// The request in hand has its answer.
    pub fn answered(&self, status: u16) {
        count(&self.traffic.answers, status);
    }

    /// A request was refused before the application could see it.
    pub fn refused(&self, status: u16) {
        count(&self.traffic.refused, status);
    }

    /// A TCP connection that was just accepted had waited in the queue for so many nanoseconds.
    pub fn has_queued(&self, nanos: u64) {
        self.traffic.queue.observe(nanos);
    }

    /// So many bytes came and went.
    pub fn moved(&self, received: u64, sent: u64) {
        add(&self.traffic.received, received);
        add(&self.traffic.sent, sent);
    }

    /// A request had waited for too long and was not run.
    pub fn was_late(&self) {
        add(&self.traffic.late, 1);
    }

    /// A request's client had gone, and it was not run.
    pub fn was_gone(&self) {
        add(&self.traffic.gone, 1);
    }
}

/// Anybody's eyes.
impl Cell {
    /// What the workers of this slot have done for their clients.
    pub fn traffic(&self) -> TrafficReading {
        let own = &self.traffic;
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        TrafficReading {
            requests: read(&own.requests),
            answers: std::array::from_fn(|class| read(&own.answers[class])),
            lost: read(&own.lost),
            late: read(&own.late),
            gone: read(&own.gone),
            refused: std::array::from_fn(|class| read(&own.refused[class])),
            accepted: read(&own.accepted),
            handed_over: read(&own.handed_over),
            received: read(&own.received),
            sent: read(&own.sent),
            duration: own.duration.read(),
            queue: own.queue.read(),
        }
    }
}

impl Scoreboard {
    /// What all workers there ever were have done for their clients.
    pub fn traffic(&self) -> TrafficReading {
        self.in_use().map(Cell::traffic).fold(TrafficReading::default(), TrafficReading::join)
    }
}

fn count(classes: &[AtomicU64; CLASSES], status: u16) {
    let class = usize::from(status / 100).clamp(1, CLASSES) - 1;
    add(&classes[class], 1);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::sys::shared::Shared;

    #[test]
    fn a_request_that_dies_with_its_worker_is_lost_and_one_that_was_answered_is_not() {
        let board: Shared<Scoreboard> = Shared::create("test").unwrap();
        board.set_slots(1);
        let cell = board.cell(0).unwrap();
        cell.assign(1, 0);
        cell.begin(1, 9, b"GET / HTTP/1.1");
        cell.answered(204);
        cell.end(2, State::Idle);
        cell.clear();
        assert_eq!((board.traffic().answers, board.traffic().lost), ([0, 1, 0, 0, 0], 0));

        cell.assign(2, 0);
        cell.begin(3, 9, b"GET / HTTP/1.1");
        cell.clear();
        cell.assign(3, 0);
        assert_eq!((board.traffic().requests, board.traffic().lost), (2, 1));

        cell.begin(4, 9, b"GET / HTTP/1.1");
        cell.answered(999);
        cell.clear();
        assert_eq!((board.traffic().answers, board.traffic().lost), ([0, 1, 0, 0, 1], 1));
    }

    #[test]
    fn a_pool_sums_what_its_slots_have_done() {
        let board: Shared<Scoreboard> = Shared::create("test").unwrap();
        board.set_slots(2);
        for slot in 0..2 {
            let cell = board.cell(slot).unwrap();
            cell.accepted();
            cell.moved(10, 20);
            cell.has_queued(3_000_000);
            cell.refused(413);
            cell.was_late();
            cell.begin(0, 9, b"");
            cell.end(5_000, State::Idle);
        }
        let sum = board.traffic();
        assert_eq!((sum.accepted, sum.received, sum.sent, sum.late), (2, 20, 40, 2));
        assert_eq!((sum.refused, sum.requests), ([0, 0, 0, 2, 0], 2));
        assert_eq!((sum.queue.sum, sum.queue.buckets[12], sum.duration.buckets[3]), (6_000_000, 2, 2));
    }
}
