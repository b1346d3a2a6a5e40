//! Who goes on: connections are taken in, given turns, granted what they wish, and closed.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::connection::{Connection, Wish};
use super::inlets::Arrival;
use super::wire::Wire;
use super::{Server, Stage};
use crate::app::App;

/// How often the same trouble is complained of, in nanoseconds.
pub(super) const COMPLAINT: u64 = 10_000_000_000;

impl<A: App> Server<A> {
    pub(super) fn take_in(&mut self, listener: u32) {
        if self.may_relieve() {
            return self.relieve(listener);
        }
        if !self.may_take() {
            return;
        }
        // Connections stay where they were taken: a worker that was quick when many came would have too many for long.
        if self.defers() {
            return;
        }
        match self.inlets.take(listener, self.now) {
            Arrival::Connection(socket, peer) => self.welcome(listener, socket, peer),
            Arrival::Nobody => {}
            Arrival::NoRoom => self.make_room(),
        }
    }

    /// Makes a connection of what a listener has yielded.
    pub(super) fn welcome(&mut self, listener: u32, socket: OwnedFd, peer: Option<SocketAddr>) {
        let wire = Wire::new(socket, self.scratch.clone(), &[]);
        let queued = peer.map(|_| self.time_in_queue(&wire));
        let came = self.found_since;
        let from = (peer, self.rules.proxies.announced.contains(&listener));
        let key = self.crowd.insert(|serial| Connection::new(wire, from, serial, &self.rules, came, self.now));
        if let Some(cell) = self.cell() {
            cell.accepted();
            if let Some(nanos) = queued {
                cell.has_queued(nanos);
            }
        }
        self.enqueue(key);
    }

    /// How long a TCP connection that was just accepted had waited for it, in nanoseconds: not at all if this worker slept
    /// until it came, else as long as the kernel has had all that has come over it.
    fn time_in_queue(&self, wire: &Wire) -> u64 {
        if self.now > self.found_since { wire.silence() } else { 0 }
    }

    /// Whether a sibling that has less to do is given the time to take the next connection.
    pub(super) fn defers(&mut self) -> bool {
        let is_ahead = || self.scoreboard.has_freer(self.crowd.len());
        self.stage == Stage::Serving && is_ahead() && self.inlets.defer(self.now)
    }

    /// At TERM: what the queues and the inbox still hold is ours too.
    pub(super) fn take_what_is_left(&mut self) {
        if !self.has_room() {
            self.make_room();
        }
        for listener in self.inlets.places() {
            self.take_in(listener);
        }
        self.take_over();
    }

    pub(super) fn enqueue(&mut self, key: usize) {
        if let Some(connection) = self.crowd.get_mut(key)
            && !connection.queued
        {
            connection.queued = true;
            self.ready.push_back(key);
        }
    }

    /// Lets every connection that can go on do so, once; then the requests that had to wait.
    pub(super) fn give_turns(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else {
                break;
            };
            let is_held = self.held.is_some() && self.has_siblings();
            let Some(connection) = self.crowd.get_mut(key) else {
                continue;
            };
            if is_held && connection.is_between_requests() {
                // A request that is read here is served here, however long that takes.
                self.postponed.push(key);
                continue;
            }
            connection.queued = false;
            self.turn(key);
        }
        self.end_if_sent();
        while self.is_free() {
            let Some((key, serial, request)) = self.waiting.pop_front() else {
                break;
            };
            if self.crowd.get_mut(key).is_some_and(|each| each.serial == serial) {
                self.serve(key, *request);
            }
        }
    }

    /// Lets a connection go on, and does what it then wishes.
    pub(super) fn turn(&mut self, key: usize) {
        let Some(connection) = self.crowd.get_mut(key) else {
            return;
        };
        let wish = connection.advance(&self.rules, self.now);
        // With every turn, and not when it is closed: what a worker that is killed has done is not forgotten.
        if let Some(cell) = self.scoreboard.cell(self.worker.slot) {
            let (received, sent) = connection.wire.take_traffic();
            cell.moved(received, sent);
            if let Some(refused) = connection.take_refused(false) {
                self.records.refused(refused, connection, &self.rules.proxies, Some(cell));
            }
            if let Some(record) = &connection.record {
                record.has_sent(connection.wire.traffic().1, cell);
            }
        }
        if let Some((record, is_whole)) = connection.take_record() {
            self.records.end(record, connection.wire.traffic().1, is_whole, self.scoreboard.cell(self.worker.slot));
        }
        self.grant(key, wish);
    }

    fn grant(&mut self, key: usize, wish: Wish) {
        let Some(connection) = self.crowd.get_mut(key) else {
            return;
        };
        let (serial, peer) = (connection.serial, connection.peer);
        self.crowd.mind(key);
        match wish {
            Wish::Wait => {
                if let Err(error) = self.crowd.register(key, &self.epoll) {
                    tracing::error!(%error, "cannot wait for a connection; it is closed");
                    self.close(key);
                }
            }
            Wish::Again => self.enqueue(key),
            Wish::Close => self.close(key),
            Wish::TurnAway(why) => {
                self.turned_away.note(peer, why, self.now);
                self.close(key);
            }
            Wish::Serve(request) if self.is_free() => self.serve(key, *request),
            Wish::Serve(request) => {
                self.waiting.push_back((key, serial, request));
                self.grant(key, Wish::Wait);
            }
        }
    }

    pub(super) fn close(&mut self, key: usize) {
        let Some(mut connection) = self.crowd.remove(key) else {
            return;
        };
        if let Some(record) = connection.record.take() {
            self.records.end(record, connection.wire.traffic().1, false, self.cell());
        }
        if let Some(refused) = connection.take_refused(true) {
            self.records.refused(refused, &connection, &self.rules.proxies, self.cell());
        }
        if let Some(cell) = self.cell() {
            let (received, sent) = connection.wire.take_traffic();
            cell.moved(received, sent);
            cell.closed();
        }
    }

    /// Those whose deadline has passed have one more turn, for what they waited for may have come while this worker was
    /// busy; whoever is late even so is expired.
    pub(super) fn look_at_deadlines(&mut self) {
        let now = self.now;
        for key in self.crowd.look(now) {
            let Some(connection) = self.crowd.get_mut(key) else {
                continue;
            };
            let serial = connection.serial;
            connection.wire.notice(true, true, false);
            self.turn(key);
            let late = |each: &&mut Connection| each.serial == serial && each.deadline <= now;
            let Some(connection) = self.crowd.get_mut(key).filter(late) else {
                continue;
            };
            if connection.is_sending() && connection.wire.was_taken() {
                // It reads, if slowly: what counts is its own pause, not ours.
                connection.deadline = now.saturating_add(self.rules.send_timeout);
                self.crowd.mind(key);
                continue;
            }
            let wish = connection.expire(self.now);
            self.grant(key, wish);
        }
    }
}
