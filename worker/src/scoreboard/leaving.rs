//! The responses of one worker that are on their way out: what the access log is to say of them, should their worker die.
//!
//! Owns a few places, for what takes longer than one write is the exception; beyond them it is only counted. Written by the
//! worker alone, read by the supervisor after its burial.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release};

use super::Cell;
use super::line::Line;

/// How many of them are known by more than their number.
const PLACES: usize = 8;
/// No worker has more than this many connections, whatever stands in its cell.
const MOST: u64 = 4096;

/// See the module's header.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Leaving {
    places: [Place; PLACES],
    /// Those that have no place.
    others: AtomicU64,
}

/// One of them.
#[repr(C)]
#[derive(Debug)]
struct Place {
    /// When its handler began; 0 if nobody has this place.
    begun: AtomicU64,
    answered: AtomicU64,
    /// How much of it had been written, in bytes.
    sent: AtomicU64,
    status: AtomicU32,
    client: [AtomicU64; 2],
    line: Line,
}

/// Where a response stands that is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// In this place.
    Place(usize),
    /// Among those that are counted.
    Counted,
}

/// A response that was on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// When its handler began, in the clock's nanoseconds.
    pub begun: u64,
    /// When that had answered.
    pub answered: u64,
    /// What the client was told, as far as it heard.
    pub status: u16,
    /// How much of it had been written, in bytes.
    pub sent: u64,
    /// Whose it is, if that is known.
    pub client: Option<IpAddr>,
    /// The first bytes of its request line.
    pub line: Vec<u8>,
}

impl Leaving {
    pub(super) fn clear(&self) {
        self.places.iter().for_each(|place| place.begun.store(0, Relaxed));
        self.others.store(0, Relaxed);
    }
}

/// The worker's pen.
impl Cell {
    /// A response does not leave at once.
    pub(crate) fn leaves(&self, left: &Left) -> Stand {
        let free = self.leaving.places.iter().position(|place| place.begun.load(Relaxed) == 0);
        let Some(number) = free else {
            super::add(&self.leaving.others, 1);
            return Stand::Counted;
        };
        let place = &self.leaving.places[number];
        place.answered.store(left.answered, Relaxed);
        place.sent.store(left.sent, Relaxed);
        place.status.store(left.status.into(), Relaxed);
        super::cell::store_client(&place.client, left.client);
        place.line.write(&left.line);
        place.begun.store(left.begun.max(1), Release);
        Stand::Place(number)
    }

    /// More of it has been written: so much by now, in bytes.
    pub(crate) fn has_sent(&self, stand: Stand, sent: u64) {
        if let Stand::Place(number) = stand
            && let Some(place) = self.leaving.places.get(number)
        {
            place.sent.store(sent, Relaxed);
        }
    }

    /// It has left, or its client has.
    pub(crate) fn has_left(&self, stand: Stand) {
        match stand {
            Stand::Place(number) => {
                if let Some(place) = self.leaving.places.get(number) {
                    place.begun.store(0, Release);
                }
            }
            Stand::Counted => super::add(&self.leaving.others, u64::MAX),
        }
    }
}

/// The supervisor's eyes.
impl Cell {
    /// The responses that were on their way out, and how many more there were.
    pub fn left(&self) -> (Vec<Left>, u64) {
        let read = |place: &Place| {
            let begun = place.begun.load(Relaxed);
            (begun != 0).then(|| Left {
                begun,
                answered: place.answered.load(Relaxed),
                status: place.status.load(Relaxed) as u16,
                sent: place.sent.load(Relaxed),
                client: super::cell::load_client(&place.client),
                line: place.line.read(),
            })
        };
        (self.leaving.places.iter().filter_map(read).collect(), self.leaving.others.load(Relaxed).min(MOST))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Scoreboard;
    use super::*;
    use crate::sys::shared::Shared;

    fn left(number: u64) -> Left {
        let client = (number != 1).then(|| "192.0.2.1".parse().unwrap());
        let line = format!("GET /{number} HTTP/1.1").into_bytes();
        Left { begun: number + 1, answered: number + 5, status: 200 + number as u16, sent: 7, client, line }
    }

    #[test]
    fn the_first_have_places_and_the_others_are_counted_until_they_have_left() {
        let board: Shared<Scoreboard> = Shared::create("test").unwrap();
        let cell = &board.cells[0];
        let stands: Vec<Stand> = (0..PLACES as u64 + 3).map(|number| cell.leaves(&left(number))).collect();
        assert_eq!(cell.left(), ((0..PLACES as u64).map(left).collect(), 3));
        cell.has_left(stands[PLACES]);
        cell.has_left(stands[2]);
        let (known, others) = cell.left();
        assert_eq!((known.len(), others), (PLACES - 1, 2));
        assert_eq!(cell.leaves(&left(99)), Stand::Place(2));
        cell.clear();
        assert_eq!(cell.left(), (Vec::new(), 0));
    }
}
