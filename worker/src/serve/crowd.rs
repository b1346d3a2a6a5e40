//! All connections of a worker: by number, by deadline, by age.
//!
//! Deadlines are kept in the connections, not in a queue: a look at all of them finds the next one, and a look is due
//! only when the nearest deadline found last time has come. Deadlines mostly move away, so looks are rare.

use std::cmp::Reverse;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use slab::Slab;

use super::connection::Connection;
use super::wire::Wire;

/// The least time between two looks at all deadlines, in nanoseconds: what a timeout may be late by.
const LOOK: u64 = 50_000_000;

/// How many of the idle are picked out at one look at all of them.
const AT_A_GLANCE: usize = 64;

#[derive(Default)]
pub(super) struct Crowd {
    connections: Slab<Connection>,
    serial: u32,
    next_look: u64,
    /// Who had been idle for longest at the last look at all, the longest last.
    idlest: Vec<Idle>,
}

/// A connection that is idle, and since when.
#[derive(Debug, PartialEq, Eq)]
struct Idle {
    key: usize,
    serial: u32,
    since: u64,
}

impl Idle {
    fn of(key: usize, connection: &Connection) -> Option<Idle> {
        let is_idle = connection.is_idle() && !connection.queued;
        is_idle.then_some(Idle { key, serial: connection.serial, since: connection.quiet_since })
    }
}

impl Crowd {
    pub(super) fn new() -> Crowd {
        Crowd { next_look: u64::MAX, ..Crowd::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Takes a connection in, made with the serial number it is given.
    pub(super) fn insert(&mut self, make: impl FnOnce(u32) -> Connection) -> usize {
        self.serial = self.serial.wrapping_add(1);
        let connection = make(self.serial);
        self.next_look = self.next_look.min(connection.deadline);
        self.connections.insert(connection)
    }

    pub(super) fn get(&self, key: usize) -> Option<&Connection> {
        self.connections.get(key)
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Connection> {
        self.connections.get_mut(key)
    }

    pub(super) fn remove(&mut self, key: usize) -> Option<Connection> {
        self.connections.try_remove(key)
    }

    /// The connection an event is meant for, unless that one is gone and another has its number.
    pub(super) fn addressed(&mut self, token: u64) -> Option<(usize, &mut Connection)> {
        let key = (token & u64::from(u32::MAX)) as usize;
        let connection = self.get_mut(key)?;
        (connection.serial == (token >> 32) as u32).then_some((key, connection))
    }

    /// Has the kernel tell us of a connection's readiness, at every change.
    pub(super) fn register(&mut self, key: usize, epoll: &Epoll) -> nix::Result<()> {
        let Some(connection) = self.get_mut(key) else {
            return Ok(());
        };
        if !connection.registered {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
            let token = (u64::from(connection.serial) << 32) | key as u64;
            epoll.add::<&Wire>(&connection.wire, EpollEvent::new(flags, token))?;
            connection.registered = true;
        }
        Ok(())
    }

    /// A connection may have a new deadline: looks must not come later.
    pub(super) fn mind(&mut self, key: usize) {
        if let Some(connection) = self.connections.get(key) {
            self.next_look = self.next_look.min(connection.deadline);
        }
    }

    /// The kernel need not tell us any more of a connection that somebody else has got.
    pub(super) fn forget(&mut self, key: usize, epoll: &Epoll) -> Option<Connection> {
        let connection = self.remove(key)?;
        if connection.registered
            && let Err(error) = epoll.delete::<&Wire>(&connection.wire)
        {
            tracing::error!(%error, "cannot forget a connection that was handed over");
        }
        Some(connection)
    }

    /// Those that are between requests.
    pub(super) fn between_requests(&self) -> Vec<usize> {
        let all = self.connections.iter();
        all.filter(|(_, each)| each.is_between_requests()).map(|(key, _)| key).collect()
    }

    /// Whether nothing is left but bytes of responses to be sent.
    pub(super) fn only_ends(&self) -> bool {
        self.connections.iter().all(|(_, each)| each.only_ends())
    }

    /// When the next look is due; `u64::MAX` if never.
    pub(super) fn next_look(&self) -> u64 {
        self.next_look
    }

    /// Those whose deadline has passed; sets when the next look is due.
    pub(super) fn look(&mut self, now: u64) -> Vec<usize> {
        let mut nearest = u64::MAX;
        let mut late = Vec::new();
        for (key, connection) in &self.connections {
            if connection.deadline <= now {
                late.push(key);
            } else {
                nearest = nearest.min(connection.deadline);
            }
        }
        self.next_look = if nearest == u64::MAX { nearest } else { nearest.max(now + LOOK) };
        late
    }

    /// The connection that can best be spared: the one that has been idle for longest, else the one whose head has
    /// kept us waiting for longest.
    pub(super) fn most_dispensable(&mut self) -> Option<usize> {
        if let Some(key) = self.longest_idle() {
            return Some(key);
        }
        let mut idle: Vec<Idle> = self.connections.iter().filter_map(|(key, each)| Idle::of(key, each)).collect();
        if idle.len() > AT_A_GLANCE {
            idle.select_nth_unstable_by_key(AT_A_GLANCE, |each| each.since);
            idle.truncate(AT_A_GLANCE);
        }
        idle.sort_unstable_by_key(|each| Reverse(each.since));
        self.idlest = idle;
        self.longest_idle().or_else(|| {
            let waits = |(_, each): &(usize, &Connection)| each.is_between_requests() && !each.queued;
            let slowest = self.connections.iter().filter(waits).min_by_key(|(_, each)| each.quiet_since);
            slowest.map(|(key, _)| key)
        })
    }

    /// The first of those who were found idle at the last look at all and have been so ever since: who came to be idle
    /// later has not been for longer.
    fn longest_idle(&mut self) -> Option<usize> {
        while let Some(known) = self.idlest.last() {
            if self.connections.get(known.key).and_then(|each| Idle::of(known.key, each)).as_ref() == Some(known) {
                return Some(known.key);
            }
            self.idlest.pop();
        }
        None
    }

    /// How many descriptors all of it takes: sockets, and files that come or go over them.
    pub(super) fn descriptors(&self) -> usize {
        self.connections.iter().map(|(_, each)| 1 + usize::from(each.has_file())).sum()
    }

    /// Whether any connection's end must be waited for.
    pub(super) fn is_engaged(&self) -> bool {
        self.connections.iter().any(|(_, each)| each.is_engaged())
    }
}
