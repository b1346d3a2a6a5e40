//! Where connections come from, the listeners and the inbox: when they are waited for, and what comes out of them.
//!
//! They are shared with all workers of the pool and level-triggered: every free worker is told of a connection, one gets
//! it, the others find nothing. A worker that is not free does not wait for them, so no wake-up is lost on it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
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

/// What a worker that is ahead of others leaves to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Courtesy {
    /// Nothing is taken until then.
    Shown { until: u64 },
    /// Whatever is found in this turn of the loop, of whichever inlet, was there for long enough.
    Over { turn: u64 },
}

/// A listener.
struct Inlet {
    /// By which the scoreboard and the events know it.
    place: u32,
    socket: OwnedFd,
    /// Whether it is given up: then only the quota is taken from it.
    is_closing: bool,
}

pub(super) struct Inlets {
    listeners: Vec<Inlet>,
    inbox: Option<Inbox>,
    door: Door,
    /// Whether the kernel tells us of the listeners.
    waiting: bool,
    /// Whether the kernel tells us of the inbox.
    inbox_waiting: bool,
    /// Whether the inbox was empty when it was last asked.
    inbox_empty: bool,
    rests_until: u64,
    courtesy: Courtesy,
    scoreboard: Rc<Shared<Scoreboard>>,
    tokens: Tokens,
}

/// What the events carry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens {
    /// Those of the listener at place `n`: this and `n`.
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
        listeners: Vec<(u32, OwnedFd)>,
        inbox: Option<Inbox>,
        scoreboard: Rc<Shared<Scoreboard>>,
        tokens: Tokens,
    ) -> Inlets {
        let open = |(place, socket)| Inlet { place, socket, is_closing: false };
        Inlets {
            listeners: listeners.into_iter().map(open).collect(),
            inbox_empty: inbox.is_none(),
            inbox,
            door: Door::Open,
            waiting: false,
            inbox_waiting: false,
            rests_until: 0,
            courtesy: Courtesy::Over { turn: 0 },
            scoreboard,
            tokens,
        }
    }

    /// The places of the listeners.
    pub(super) fn places(&self) -> Vec<u32> {
        self.listeners.iter().map(|listener| listener.place).collect()
    }

    /// Gives a listener up: it is closed when nothing of its quota is left.
    pub(super) fn close(&mut self, place: u32) {
        for listener in self.listeners.iter_mut().filter(|listener| listener.place == place) {
            listener.is_closing = true;
        }
    }

    /// When it must be looked again whether a listener that is given up can be closed.
    pub(super) fn looks_again(&self, now: u64) -> u64 {
        let is_closing = self.listeners.iter().any(|listener| listener.is_closing);
        if is_closing { now.saturating_add(REST) } else { u64::MAX }
    }

    /// Closes the listeners that are given up and have nothing left for us.
    fn close_empty(&mut self, epoll: &Epoll) {
        let (scoreboard, tokens, waiting) = (&self.scoreboard, self.tokens, self.waiting);
        self.listeners.retain(|listener| {
            let is_over = listener.is_closing && scoreboard.quota(listener.place as usize) == 0;
            if is_over && waiting {
                // Others have the same socket, so closing ours would not end its events.
                watch(listener.socket.as_fd(), tokens.first_listener + u64::from(listener.place), false, epoll);
            }
            !is_over
        });
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

    /// Whether any connection may still come.
    pub(super) fn may_yield(&self) -> bool {
        match self.door {
            Door::Open => true,
            Door::Quota => {
                let has_quota = |listener: &Inlet| self.scoreboard.quota(listener.place as usize) > 0;
                !self.inbox_empty || self.listeners.iter().any(has_quota)
            }
            Door::Shut => false,
        }
    }

    /// Waits for newcomers and for what siblings leave, if `takes`, and not otherwise. A draining worker does not wait for
    /// listeners, it asks.
    pub(super) fn wait_if(&mut self, takes: bool, epoll: &Epoll, now: u64) {
        if self.listeners.iter().any(|listener| listener.is_closing) {
            self.close_empty(epoll);
        }
        let rests = now < self.rests_until;
        let mut done = true;
        let wanted = takes && !rests && self.door == Door::Open;
        if wanted != self.waiting {
            for listener in &self.listeners {
                let token = self.tokens.first_listener + u64::from(listener.place);
                done &= watch(listener.socket.as_fd(), token, wanted, epoll);
            }
            self.waiting = if done { wanted } else { self.waiting };
        }
        let wanted = takes && !rests && self.door != Door::Shut;
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

    /// Lets others have what waits here; once, then it is taken by whoever is asked. `now` is the same all through a turn.
    pub(super) fn defer(&mut self, now: u64) -> bool {
        match self.courtesy {
            Courtesy::Shown { until } if now < until => true,
            Courtesy::Shown { .. } => {
                self.courtesy = Courtesy::Over { turn: now };
                false
            }
            Courtesy::Over { turn } if turn == now => false,
            Courtesy::Over { .. } => {
                let until = now + COURTESY;
                (self.courtesy, self.rests_until) = (Courtesy::Shown { until }, until);
                true
            }
        }
    }

    /// There is room again.
    pub(super) fn end_rest(&mut self) {
        self.rests_until = 0;
    }

    /// The next connection of the listener at this place.
    pub(super) fn take(&mut self, place: u32, now: u64) -> Arrival {
        let Some(listener) = self.listeners.iter().find(|listener| listener.place == place) else {
            return Arrival::Nobody;
        };
        let by_quota = self.door == Door::Quota || listener.is_closing;
        let allowed = match self.door {
            _ if now < self.rests_until => false,
            Door::Shut => false,
            Door::Open | Door::Quota => !by_quota || self.scoreboard.take_quota(place as usize),
        };
        if !allowed {
            return Arrival::Nobody;
        }
        match accept(&listener.socket) {
            Ok((socket, peer)) => Arrival::Connection(socket, peer),
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                self.rests_until = now + REST;
                self.give_back(by_quota, place);
                Arrival::NoRoom
            }
            Err(Errno::EAGAIN) => {
                if by_quota {
                    self.scoreboard.set_quota(place as usize, 0);
                }
                Arrival::Nobody
            }
            Err(Errno::EINTR) => {
                self.give_back(by_quota, place);
                Arrival::Nobody
            }
            // A client that gave up, or a firewall's veto: it has left the queue, and the next one may be well.
            Err(_) => Arrival::Nobody,
        }
    }

    /// Who was to be taken still stands in the queue.
    fn give_back(&self, by_quota: bool, place: u32) {
        if by_quota {
            self.scoreboard.return_quota(place as usize);
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
