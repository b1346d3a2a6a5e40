//! Connections change hands: given to the siblings through the pool's inbox, and taken from it.
//!
//! What is given is between requests: a socket, its leftover, and what is known of it. It is given when this worker
//! retires, when it may take up no further request, and before it is not free for long: so nobody loses a connection
//! because a worker leaves, and nobody waits for this worker whom another could serve.

use std::os::fd::AsFd;

use super::connection::Connection;
use super::wire::Wire;
use super::{Server, Stage};
use crate::app::App;
use crate::inbox::Parcel;
use crate::pace::SLOW;
use crate::protocol::Report;

/// How soon it is tried again, in nanoseconds, when the inbox has no room.
const AGAIN: u64 = 20_000_000;
/// How often a worker looks whether a sibling has less to do, in nanoseconds.
const COMPARES: u64 = 10_000_000;

impl<A: App> Server<A> {
    /// Gives away what this worker is not to keep, if there is such, and says so once nothing but responses is left.
    pub(super) fn hand_over(&mut self) {
        let is_retiring = matches!(self.stage, Stage::Retiring { .. });
        let is_out = self.rules.budget.has_refused() || self.rules.budget.is_used_up();
        let is_blocked = self.held.as_ref().is_some_and(|held| self.now >= held.since.saturating_add(SLOW));
        let wanted = is_retiring || is_out || (is_blocked && self.has_siblings()) || self.gives_again.is_some();
        if wanted && self.channel.is_some() && self.gives_again.is_none_or(|again| self.now >= again) {
            self.gives_again = None;
            if !self.give_away() {
                self.gives_again = Some(self.now + AGAIN);
                // Until then they go on here, as far as they may.
                self.crowd.between_requests().into_iter().for_each(|key| self.enqueue(key));
            }
        }
        if self.stage == (Stage::Retiring { only_sends: false }) && self.only_sends() {
            self.stage = Stage::Retiring { only_sends: true };
            self.report(&Report::Draining);
        }
    }

    /// Where several clients want something of this worker, and a sibling that nobody wants anything of has fewer, it is given
    /// half of the difference: however connections came to be together, they do not stay so while others have time for them.
    pub(super) fn share(&mut self) {
        let is_asked = self.ready.len() > 1 && self.now >= self.compares_again;
        if !is_asked || self.stage != Stage::Serving || !self.is_free() || !self.has_siblings() {
            return;
        }
        self.compares_again = self.now + COMPARES;
        let surplus = self.scoreboard.surplus(self.crowd.len());
        if surplus > 0 {
            let mut keys = self.crowd.between_requests();
            keys.truncate(surplus.min(self.batch));
            self.give(&keys);
        }
    }

    /// Gives the connections that are between requests to the siblings, each its share. False if some are left for want
    /// of room.
    pub(super) fn give_away(&mut self) -> bool {
        let keys = self.crowd.between_requests();
        let share = keys.len().div_ceil(self.scoreboard.slots().max(1)).clamp(1, self.batch);
        keys.chunks(share).all(|keys| self.give(keys))
    }

    fn give(&mut self, mut keys: &[usize]) -> bool {
        while !keys.is_empty() {
            let connections: Vec<&Connection> = keys.iter().filter_map(|key| self.crowd.get(*key)).collect();
            let parcels: Vec<_> = connections.iter().filter_map(|each| parcel(each)).collect();
            let given = match self.inlets.give(&parcels) {
                Ok(given) => given,
                Err(error) => {
                    tracing::debug!(%error, "the inbox takes no connections at the moment");
                    return false;
                }
            };
            for key in &keys[..given] {
                if let Some(connection) = self.crowd.forget(*key, &self.epoll)
                    && let Some(cell) = self.cell()
                {
                    let (received, sent) = connection.wire.take_traffic();
                    cell.moved(received, sent);
                    cell.handed_over();
                }
            }
            keys = &keys[given..];
        }
        true
    }

    /// Takes what the siblings have left in one message.
    pub(super) fn take_over(&mut self) {
        if !(self.may_take() || self.may_relieve()) || self.defers() {
            return;
        }
        // Descriptors for which there is no room are lost on their way in.
        if self.crowd.len() >= self.descriptors / 2 && !self.inlets.can_hold(2 * self.batch, self.now) {
            self.make_room();
            return;
        }
        let parcels = self.inlets.take_parcels(&mut self.scratch.borrow_mut(), self.now);
        for Parcel { socket, label, leftover } in parcels {
            let wire = Wire::new(socket, self.scratch.clone(), &leftover);
            let make = |serial| Connection::taken_over(wire, label, serial, &self.rules, self.now);
            let key = self.crowd.insert(make);
            if let Some(cell) = self.cell() {
                cell.taken_over();
            }
            self.enqueue(key);
        }
        self.let_go_of_excess();
    }

    /// Whether anybody else could go on with a connection. Without a supervisor all leave.
    pub(super) fn has_siblings(&self) -> bool {
        self.channel.is_some() && self.scoreboard.slots() > 1
    }

    fn only_sends(&self) -> bool {
        self.is_free() && self.waiting.is_empty() && self.crowd.len() > 0 && self.crowd.only_ends()
    }
}

fn parcel(connection: &Connection) -> Option<Parcel<std::os::fd::BorrowedFd<'_>>> {
    let label = connection.label()?;
    Some(Parcel { socket: connection.wire.as_fd(), label, leftover: connection.wire.inbound().to_vec() })
}
