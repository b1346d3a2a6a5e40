//! Who is alive in a pool, and when each vacant place may be tried again.
//!
//! Owns the places: one [`Seat`] per slot, from 0 up, and of the same kind one for the template. A seat is vacant only
//! when its process has been reaped or never existed; nothing here can empty one that still holds a process without
//! being told of the death. Never decides how many there should be.

use super::event::{Generation, PoolId, Time, WorkerRef};
use super::lifecycle::State;
use super::restart::{Backoff, Meaning};

/// One worker, from its order to its burial.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) life: u64,
    pub(super) generation: Generation,
    pub(super) ordered: Time,
    pub(super) state: State,
}

/// The workers of one pool.
#[derive(Debug)]
pub(super) struct Roster {
    pool: PoolId,
    slots: Vec<Seat<Worker>>,
}

impl Roster {
    /// So many slots, all vacant and free to be tried at once.
    pub(super) fn new(pool: PoolId, workers: u32) -> Self {
        Roster { pool, slots: (0..workers).map(|_| Seat::default()).collect() }
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

    /// Every worker's state, by slot.
    pub(super) fn states(&self) -> impl Iterator<Item = &State> {
        self.workers().map(|(_, worker)| &worker.state)
    }

    /// The vacant slot that may be tried first, and when.
    pub(super) fn first_vacancy(&self) -> Option<(Time, u32)> {
        (0..).zip(&self.slots).filter_map(|(slot, seat)| Some((seat.vacant_until()?, slot))).min()
    }
}

/// A place for one process, with the memory of how those before it ended.
#[derive(Debug)]
pub(super) struct Seat<T> {
    backoff: Backoff,
    place: Place<T>,
}

#[derive(Debug)]
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
}
