//! Who is alive in a pool, and when each vacant place may be tried again.
//!
//! Owns the places: one [`Seat`] per slot, from 0 up, as many as there ever were workers at a time, and of the same kind
//! one for each template. A seat is vacant only when its process has been reaped or never existed; nothing here can
//! empty one that still holds a process without being told of the death. Never decides how many there should be.

use ratoon_worker::scoreboard::SLOTS;
use serde::{Deserialize, Serialize};

use super::cause::Cause;
use super::event::{Edition, Generation, PoolId, Time, WorkerRef};
use super::lifecycle::State;
use super::restart::{Backoff, Meaning};

/// One worker, from its order to its burial.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) life: u64,
    pub(super) generation: Generation,
    pub(super) edition: Edition,
    pub(super) ordered: Time,
    pub(super) state: State,
    /// When it has lived for its `max_age`, if it has one.
    pub(super) expires: Option<Time>,
    /// Why it is to be replaced, if it is: it serves until its replacement is ready.
    pub(super) due: Option<Cause>,
    /// When it was last told to say where it is stuck.
    pub(super) interrupted: Option<Interruption>,
}

/// A worker was told to say where it is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Interruption {
    /// The deadline that had passed.
    pub(super) deadline: Time,
    /// When.
    pub(super) at: Time,
}

/// The workers of one pool.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Roster {
    pool: PoolId,
    slots: Vec<Seat<Worker>>,
}

impl Roster {
    /// Nobody yet.
    pub(super) fn new(pool: PoolId) -> Self {
        Roster { pool, slots: Vec::new() }
    }

    /// The worker a report means, unless its slot has another by now, or none.
    pub(super) fn worker(&mut self, who: WorkerRef) -> Option<&mut Worker> {
        self.seat(who.slot)?.held_mut().filter(|worker| worker.life == who.life)
    }

    /// The place of this slot.
    pub(super) fn seat(&mut self, slot: u32) -> Option<&mut Seat<Worker>> {
        self.slots.get_mut(usize::try_from(slot).ok()?)
    }

    /// Every worker, by slot.
    pub(super) fn workers(&self) -> impl Iterator<Item = (WorkerRef, &Worker)> {
        (0..).zip(&self.slots).filter_map(|(slot, seat)| {
            let worker = seat.held()?;
            Some((WorkerRef { pool: self.pool, slot, life: worker.life }, worker))
        })
    }

    /// Every worker, to be changed.
    pub(super) fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.slots.iter_mut().filter_map(Seat::held_mut)
    }

    /// Every worker with its slot, to be changed.
    pub(super) fn places_mut(&mut self) -> impl Iterator<Item = (u32, &mut Worker)> {
        (0..).zip(&mut self.slots).filter_map(|(slot, seat)| Some((slot, seat.held_mut()?)))
    }

    /// Every worker's state, by slot.
    pub(super) fn states(&self) -> impl Iterator<Item = &State> {
        self.workers().map(|(_, worker)| &worker.state)
    }

    /// Where the next worker goes if `missing` are missing in all, and when it may. A seat whose process died and which
    /// must wait keeps one of the missing for itself: no other slot makes up for it. Of those that are free `now` it is
    /// the lowest.
    pub(super) fn vacancy(&self, missing: usize, now: Time) -> Option<(Time, u32)> {
        let mut vacant: Vec<(Time, u32)> =
            (0..).zip(&self.slots).filter_map(|(slot, seat)| Some((seat.vacant_until()?, slot))).collect();
        if self.slots.len() < SLOTS {
            vacant.push((Time::default(), u32::try_from(self.slots.len()).unwrap_or(u32::MAX)));
        }
        vacant.sort_unstable();
        let allowed = vacant.len().saturating_sub(missing);
        let (at, _) = *vacant.get(allowed).filter(|_| missing > 0)?;
        let slot = vacant.iter().take_while(|(free, _)| *free <= at.max(now)).map(|(_, slot)| *slot).min()?;
        Some((at, slot))
    }

    /// Puts a worker into a vacant slot, at most one beyond the last; whether it was one.
    pub(super) fn take(&mut self, slot: u32, worker: Worker) -> bool {
        if usize::try_from(slot) == Ok(self.slots.len()) {
            self.slots.push(Seat::default());
        }
        self.seat(slot).is_some_and(|seat| seat.take(worker).is_ok())
    }

    /// What the dead did is forgotten: those who come are of another make.
    pub(super) fn forgive(&mut self) {
        for seat in &mut self.slots {
            seat.forgive();
        }
    }
}

/// A place for one process, with the memory of how those before it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seat<T> {
    backoff: Backoff,
    place: Place<T>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Place<T> {
    Vacant { retry_at: Time },
    Held(T),
}

impl<T> Default for Seat<T> {
    fn default() -> Self {
        Seat { backoff: Backoff::default(), place: Place::Vacant { retry_at: Time::default() } }
    }
}

impl<T> Seat<T> {
    /// Who is here.
    pub(super) fn held(&self) -> Option<&T> {
        match &self.place {
            Place::Held(process) => Some(process),
            Place::Vacant { .. } => None,
        }
    }

    /// Who is here, to be changed.
    pub(super) fn held_mut(&mut self) -> Option<&mut T> {
        match &mut self.place {
            Place::Held(process) => Some(process),
            Place::Vacant { .. } => None,
        }
    }

    /// When it may be tried, if nobody is here.
    pub(super) fn vacant_until(&self) -> Option<Time> {
        match self.place {
            Place::Vacant { retry_at } => Some(retry_at),
            Place::Held(_) => None,
        }
    }

    /// Takes the vacant place; gives `process` back if somebody is here.
    pub(super) fn take(&mut self, process: T) -> Result<(), T> {
        match self.place {
            Place::Vacant { .. } => {
                self.place = Place::Held(process);
                Ok(())
            }
            Place::Held(_) => Err(process),
        }
    }

    /// The process that was here has been buried, which means this for the next; returns when that one may be tried.
    pub(super) fn vacate(&mut self, meaning: Meaning, now: Time, rng: &mut fastrand::Rng) -> Time {
        let retry_at = now.after(self.backoff.pause(meaning, rng));
        self.place = Place::Vacant { retry_at };
        retry_at
    }

    /// Forgets how those before ended; a vacant place is free at once.
    pub(super) fn forgive(&mut self) {
        self.backoff = Backoff::default();
        if let Place::Vacant { retry_at } = &mut self.place {
            *retry_at = Time::default();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn worker(life: u64) -> Worker {
        Worker {
            life,
            generation: Generation(1),
            edition: Edition(1),
            ordered: Time(0),
            state: State::Ordered { template: 1, unwanted: None },
            expires: None,
            due: None,
            interrupted: None,
        }
    }

    #[test]
    fn the_lowest_free_slot_is_taken_and_a_new_one_only_when_there_is_none() {
        let mut roster = Roster::new(PoolId(0));
        for slot in 0..3 {
            assert_eq!(roster.vacancy(1, Time(0)), Some((Time(0), slot)));
            assert!(roster.take(slot, worker(u64::from(slot) + 1)));
        }
        roster.seat(1).unwrap().vacate(Meaning::NoFault, Time(7), &mut fastrand::Rng::with_seed(1));
        assert_eq!(roster.vacancy(1, Time(7)), Some((Time(7), 1)));
        assert!(!roster.take(0, worker(9)), "a slot that is held was taken");
        assert_eq!(roster.vacancy(0, Time(7)), None);
    }

    #[test]
    fn a_seat_that_must_wait_keeps_one_of_the_missing_for_itself() {
        let mut roster = Roster::new(PoolId(0));
        let mut rng = fastrand::Rng::with_seed(1);
        for slot in 0..2 {
            roster.take(slot, worker(u64::from(slot) + 1));
        }
        let now = Time(0).after(Duration::from_secs(1));
        let mut until = now;
        for life in 3..6 {
            until = roster.seat(0).unwrap().vacate(Meaning::FailedBoot, now, &mut rng);
            roster.take(0, worker(life));
        }
        roster.seat(0).unwrap().vacate(Meaning::NoFault, now, &mut rng);
        roster.take(0, worker(7));
        until = until.max(roster.seat(0).unwrap().vacate(Meaning::FailedBoot, now, &mut rng));
        assert!(until > now);
        assert_eq!(roster.vacancy(1, now), Some((until, 0)), "another slot made up for the one that must wait");
        assert_eq!(roster.vacancy(2, now), Some((Time(0), 2)), "the second one missing had to wait, too");
        roster.forgive();
        assert_eq!(roster.vacancy(1, now), Some((Time(0), 0)));
    }

    #[test]
    fn a_seat_that_has_waited_is_taken_before_a_new_slot_is_made() {
        let mut roster = Roster::new(PoolId(0));
        roster.take(0, worker(1));
        roster.seat(0).unwrap().vacate(Meaning::FailedBoot, Time(5), &mut fastrand::Rng::with_seed(1));
        assert_eq!(roster.vacancy(usize::MAX, Time(4)), Some((Time(0), 1)));
        assert_eq!(roster.vacancy(usize::MAX, Time(5)), Some((Time(0), 0)));
    }
}
