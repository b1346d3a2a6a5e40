//! The listeners of a worker: when they are waited for, and what comes out of them.
//!
//! They are shared with all workers of the pool and level-triggered: every free worker is told of a new connection,
//! one gets it, the others find nothing. A worker that is not free does not wait for them, so no wake-up is lost on it.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use crate::scoreboard::Scoreboard;
use crate::sys::accept::accept;
use crate::sys::shared::Shared;

/// How long listeners rest when the kernel has no descriptor or memory for a connection, in nanoseconds.
const REST: u64 = 50_000_000;

/// How long a freer worker is given to take a connection, in nanoseconds.
const COURTESY: u64 = 1_000_000;

/// Whether newcomers are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    /// Only what the scoreboard's quota still allows.
    Quota,
    Shut,
}

pub(super) struct Inlets {
    listeners: Vec<OwnedFd>,
    door: Door,
    waiting: bool,
    rests_until: u64,
    /// Whether the last connection that was offered was left to others.
    deferred: bool,
    scoreboard: Rc<Shared<Scoreboard>>,
    first_token: u64,
}

/// What an attempt to take a connection in brought.
pub(super) enum Arrival {
    Connection(OwnedFd, Option<SocketAddr>),
    Nobody,
    /// There is no room for it: not enough descriptors or memory.
    NoRoom,
}

impl Inlets {
    /// Events of listener `n` carry `first_token + n`.
    pub(super) fn new(listeners: Vec<OwnedFd>, scoreboard: Rc<Shared<Scoreboard>>, first_token: u64) -> Inlets {
        Inlets { listeners, door: Door::Open, waiting: false, rests_until: 0, deferred: false, scoreboard, first_token }
    }

    pub(super) fn len(&self) -> usize {
        self.listeners.len()
    }

    pub(super) fn set_door(&mut self, door: Door) {
        self.door = door;
        if door == Door::Shut {
            // An address is free again once nobody holds its socket.
            self.listeners.clear();
        }
    }

    /// Whether anybody waits to be taken in.
    pub(super) fn somebody_waits(&self) -> bool {
        let mut looked_at: Vec<PollFd> =
            self.listeners.iter().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut looked_at, PollTimeout::ZERO).is_ok_and(|waiting| waiting > 0)
    }

    /// Whether any listener may still yield a connection.
    pub(super) fn may_yield(&self) -> bool {
        match self.door {
            Door::Open => true,
            Door::Quota => (0..self.listeners.len()).any(|index| self.scoreboard.quota(index) > 0),
            Door::Shut => false,
        }
    }

    /// Waits for the listeners if `free`, and not otherwise. A draining worker does not wait for them, it asks.
    pub(super) fn wait_if(&mut self, free: bool, epoll: &Epoll, now: u64) {
        let wanted = free && self.door == Door::Open && now >= self.rests_until;
        if wanted == self.waiting {
            return;
        }
        let mut done = true;
        for (index, listener) in self.listeners.iter().enumerate() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, self.first_token + index as u64);
            match if wanted { epoll.add(listener, event) } else { epoll.delete(listener) } {
                Ok(()) | Err(Errno::EEXIST | Errno::ENOENT) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot change whether a listener is waited for; it is tried again");
                    done = false;
                }
            }
        }
        if done {
            self.waiting = wanted;
        } else {
            self.rests_until = now + REST;
        }
    }

    /// When resting ends; `None` if the listeners do not rest.
    pub(super) fn rest(&self, now: u64) -> Option<u64> {
        (self.rests_until > now).then_some(self.rests_until)
    }

    /// Lets others have the next connection; once, then it is taken by whoever is asked.
    pub(super) fn defer(&mut self, now: u64) -> bool {
        self.deferred = !self.deferred;
        if self.deferred {
            self.rests_until = now + COURTESY;
        }
        self.deferred
    }

    /// There is room again.
    pub(super) fn end_rest(&mut self) {
        self.rests_until = 0;
    }

    /// The next connection of a listener.
    pub(super) fn take(&mut self, index: usize, now: u64) -> Arrival {
        let Some(listener) = self.listeners.get(index) else {
            return Arrival::Nobody;
        };
        let allowed = match self.door {
            _ if now < self.rests_until => false,
            Door::Open => true,
            Door::Quota => self.scoreboard.take_quota(index),
            Door::Shut => false,
        };
        if !allowed {
            return Arrival::Nobody;
        }
        match accept(listener) {
            Ok((socket, peer)) => Arrival::Connection(socket, peer),
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                self.rests_until = now + REST;
                self.give_quota_back(index);
                Arrival::NoRoom
            }
            Err(Errno::EAGAIN) => {
                if self.door == Door::Quota {
                    self.scoreboard.set_quota(index, 0);
                }
                Arrival::Nobody
            }
            Err(Errno::EINTR) => {
                self.give_quota_back(index);
                Arrival::Nobody
            }
            // A client that gave up, or a firewall's veto: it has left the queue, and the next one may be well.
            Err(_) => Arrival::Nobody,
        }
    }

    /// Who was to be taken still stands in the queue.
    fn give_quota_back(&self, index: usize) {
        if self.door == Door::Quota {
            self.scoreboard.return_quota(index);
        }
    }
}
