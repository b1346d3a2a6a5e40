//! Numbers that the deciding half asks for, read off the scoreboard, the sockets and `/proc`.

use std::time::Duration;

use ratoon_worker::scoreboard;

use super::{Daemon, Token};
use crate::act::memory;
use crate::decide::event::{Event, PoolId, Time, WorkerRef};
use crate::decide::lifecycle::State;
use crate::decide::scale::Census;
use nix::sys::epoll::{EpollEvent, EpollFlags};

impl Daemon {
    /// The workers in whose cells a deadline stands, with that deadline and when something is due because of it.
    pub(super) fn pressed(&self) -> impl Iterator<Item = (WorkerRef, Time, Time)> {
        self.pools.iter().flat_map(move |pool| {
            pool.workers.values().filter_map(move |worker| {
                let cell = pool.scoreboard.cell(worker.who.slot).filter(|cell| cell.life() == worker.who.life)?;
                let (deadline, begun) = (cell.deadline(), cell.read().busy_since.max(worker.ordered));
                let deadline = (deadline != 0).then(|| self.clock.own(deadline, begun))?;
                Some((worker.who, deadline, self.deciding.due(worker.who, deadline)?))
            })
        })
    }

    /// Finds the workers about whose deadline something is due.
    pub(super) fn find_overdue(&mut self) {
        let now = self.clock.now();
        let late: Vec<(WorkerRef, Time)> =
            self.pressed().filter(|(_, _, due)| *due <= now).map(|(who, deadline, _)| (who, deadline)).collect();
        for (who, deadline) in late {
            let heard = self.events.len();
            if self.is_starting(who) {
                self.read_worker(who);
            }
            // One that has just said it is ready is looked at again in the next turn.
            if self.events.len() == heard {
                self.events.push_back(Event::WorkerOverdue(who, deadline));
            }
        }
    }

    fn is_starting(&self, who: WorkerRef) -> bool {
        let mut workers = self.deciding.workers();
        workers.any(|(known, state, _)| known == who && matches!(state, State::Starting { .. }))
    }

    /// Has each worker's memory measured against what it may have.
    pub(super) fn measure(&mut self, id: PoolId) {
        let Some(pool) = self.pools.iter().find(|pool| pool.id == id) else {
            return;
        };
        let bound = [pool.config.max_memory, pool.config.max_memory_hard].into_iter().flatten().min();
        let bound = bound.unwrap_or(u64::MAX);
        let weights = pool.workers.values().filter_map(|worker| {
            let bytes = memory::of_its_own(worker.process?, bound)?;
            // What is not above the bound is not known exactly, and need not be.
            Some((worker.who, bytes))
        });
        self.events.push_back(Event::Measured(weights.collect()));
    }

    /// Counts the workers of a pool and those who wait for one.
    pub(super) fn count(&mut self, id: PoolId) {
        let Some(pool) = self.pools.iter_mut().find(|pool| pool.id == id) else {
            return;
        };
        let mut census = Census::default();
        let serving = |state: &State| matches!(state, State::Serving { .. });
        for (who, ..) in self.deciding.workers().filter(|(who, state, _)| who.pool == id && serving(state)) {
            let Some(cell) = pool.scoreboard.cell(who.slot) else {
                continue;
            };
            let reading = cell.read();
            census.waited = census.waited.max(Duration::from_nanos(cell.take_waited()));
            census.held = census.held.saturating_add(reading.connections);
            match reading.state {
                scoreboard::State::Busy | scoreboard::State::Deferred => census.busy += 1,
                _ => census.idle += 1,
            }
        }
        let is_deserted = census.idle + census.busy == 0;
        for (address, queue) in pool.sockets.queues() {
            match queue {
                Ok(queue) => census.waiting += queue.waiting,
                Err(error) => {
                    tracing::debug!(pool = %pool.config.name, %error, "no length of the queue at {address}");
                    // It is counted because somebody has knocked, perhaps here.
                    census.waiting += u32::from(is_deserted);
                }
            }
        }
        // Where there are workers, they see to it themselves.
        census.waiting += u32::from(is_deserted && pool.has_parcels());
        let begun = pool.scoreboard.requests();
        census.requests = begun.wrapping_sub(std::mem::replace(&mut pool.requests, begun));
        self.events.push_back(Event::Counted(id, census));
    }

    /// Waits for the next who connects to a pool that has no worker, or is left behind by its last, once.
    pub(super) fn await_knock(&mut self, id: PoolId) {
        let Some(pool) = self.pools.iter().find(|pool| pool.id == id) else {
            return;
        };
        for entrance in pool.entrances() {
            let event = || EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, Token::Listener(id).pack());
            let awaited = self.epoll.modify(entrance, &mut event()).or_else(|_| self.epoll.add(entrance, event()));
            if let Err(error) = awaited {
                tracing::error!(pool = %pool.config.name, %error, "cannot wait for whoever connects");
            }
        }
    }
}
