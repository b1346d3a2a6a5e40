//! Where connections come from, the listeners and the inbox: when they are waited for, and what comes out of them.
//!
//! They are shared with all workers of the pool and level-triggered: every free worker is told of a connection, one gets
//! it, the others find nothing. A worker that is not free does not wait for them, so no wake-up is lost on it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use crate::inbox::{Inbox, Parcel, Taken};
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
    /// Only what the scoreboard's quota still allows, and what is in the inbox.
    Quota,
    Shut,
}

pub(super) struct Inlets {
    listeners: Vec<OwnedFd>,
    inbox: Option<Inbox>,
    door: Door,
    /// Whether the kernel tells us of the listeners.
    waiting: bool,
    /// Whether the kernel tells us of the inbox.
    inbox_waiting: bool,
    /// Whether the inbox was empty when it was last asked.
    inbox_empty: bool,
    rests_until: u64,
    /// Whether the last connection that was offered was left to others.
    deferred: bool,
    scoreboard: Rc<Shared<Scoreboard>>,
    tokens: Tokens,
}

/// What the events carry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens {
    /// Those of listener `n`: this and `n`.
    pub(super) first_listener: u64,
    pub(super) inbox: u64,
}

/// What an attempt to take a connection in brought.
pub(super) enum Arrival {
    Connection(OwnedFd, Option<SocketAddr>),
    Nobody,
    /// There is no room for it: not enough descriptors or memory.
    NoRoom,
}

impl Inlets {
    pub(super) fn new(
        listeners: Vec<OwnedFd>,
        inbox: Option<Inbox>,
        scoreboard: Rc<Shared<Scoreboard>>,
        tokens: Tokens,
    ) -> Inlets {
        Inlets {
            listeners,
            inbox_empty: inbox.is_none(),
            inbox,
            door: Door::Open,
            waiting: false,
            inbox_waiting: false,
            rests_until: 0,
            deferred: false,
            scoreboard,
            tokens,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.listeners.len()
    }

    pub(super) fn set_door(&mut self, door: Door, epoll: &Epoll) {
        self.door = door;
        if door == Door::Shut {
            // Others have the same sockets, so closing ours would not end their events.
            self.wait_if(false, epoll, 0);
            // An address is free again once nobody holds its socket.
            self.listeners.clear();
        }
    }

    pub(super) fn has_inbox(&self) -> bool {
        self.inbox.is_some()
    }

    /// Gives as many of these connections to the siblings as one message takes; how many it was.
    pub(super) fn give(&self, parcels: &[Parcel<BorrowedFd<'_>>]) -> io::Result<usize> {
        self.inbox.as_ref().ok_or(io::ErrorKind::Unsupported)?.give(parcels)
    }

    /// What siblings have left in one message.
    pub(super) fn take_parcels(&mut self, room: &mut [u8], now: u64) -> Vec<Parcel<OwnedFd>> {
        let Some(inbox) = self.inbox.as_ref().filter(|_| self.door != Door::Shut && now >= self.rests_until) else {
            return Vec::new();
        };
        let taken = inbox.take(room);
        self.inbox_empty = matches!(taken, Taken::Nothing);
        match taken {
            Taken::Parcels(parcels) => parcels,
            Taken::Nothing => Vec::new(),
            Taken::Broken(why, parcels) => {
                tracing::error!(why, "connections were lost on their way from another worker");
                self.rests_until = now + REST;
                parcels
            }
        }
    }

    /// Whether there is room for so many more descriptors; if there is not, nothing is waited for for a while.
    pub(super) fn can_hold(&mut self, descriptors: usize, now: u64) -> bool {
        let Some(inbox) = &self.inbox else { return false };
        let [end, _] = inbox.ends();
        let probes: io::Result<Vec<OwnedFd>> = (0..descriptors).map(|_| end.try_clone_to_owned()).collect();
        if probes.is_err() {
            self.rests_until = now + REST;
        }
        probes.is_ok()
    }

    /// Whether anybody waits to be taken in.
    pub(super) fn somebody_waits(&self) -> bool {
        let mut looked_at: Vec<PollFd> =
            self.listeners.iter().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut looked_at, PollTimeout::ZERO).is_ok_and(|waiting| waiting > 0)
    }

    /// Whether any connection may still come.
    pub(super) fn may_yield(&self) -> bool {
        match self.door {
            Door::Open => true,
            Door::Quota => !self.inbox_empty || (0..self.listeners.len()).any(|index| self.scoreboard.quota(index) > 0),
            Door::Shut => false,
        }
    }

    /// Waits for connections if `free`, and not otherwise. A draining worker does not wait for listeners, it asks.
    pub(super) fn wait_if(&mut self, free: bool, epoll: &Epoll, now: u64) {
        let free = free && now >= self.rests_until;
        let mut done = true;
        let wanted = free && self.door == Door::Open;
        if wanted != self.waiting {
            for (listener, token) in self.listeners.iter().zip(self.tokens.first_listener..) {
                done &= watch(listener.as_fd(), token, wanted, epoll);
            }
            self.waiting = if done { wanted } else { self.waiting };
        }
        let wanted = free && self.door != Door::Shut;
        if wanted != self.inbox_waiting
            && let Some(inbox) = &self.inbox
        {
            let [_, take] = inbox.ends();
            let changed = watch(take, self.tokens.inbox, wanted, epoll);
            self.inbox_waiting = if changed { wanted } else { self.inbox_waiting };
            done &= changed;
        }
        if !done {
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

/// Has the kernel tell us of connections here, or not any more; false if that could not be changed.
fn watch(inlet: BorrowedFd<'_>, token: u64, wanted: bool, epoll: &Epoll) -> bool {
    let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
    match if wanted { epoll.add(inlet, event) } else { epoll.delete(inlet) } {
        Ok(()) | Err(Errno::EEXIST | Errno::ENOENT) => true,
        Err(error) => {
            tracing::error!(%error, "cannot change whether a listener is waited for; it is tried again");
            false
        }
    }
}
