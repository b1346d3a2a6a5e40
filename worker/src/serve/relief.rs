//! Room for newcomers where there is none: who is let go for them, and how soon.
//!
//! Owns when that is tried again, and the complaint. Never closes a connection over which anything has come that is not
//! answered yet, and none before its place is needed.

use super::Server;
use super::inlets::Arrival;
use super::turns::COMPLAINT;
use crate::app::App;

/// How long newcomers are left to a sibling that is busy and has room, and how soon it is looked again where nobody can be
/// spared, in nanoseconds.
const PATIENCE: u64 = 50_000_000;

/// How many are let go in one turn of the loop: those who stay wait no longer for it.
const AT_ONCE: usize = 64;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Relief {
    /// When newcomers who find no room are looked at again.
    pub(super) again: u64,
    /// When the next complaint about missing room is due.
    complains_again: u64,
}

impl<A: App> Server<A> {
    /// Whether newcomers are waited for although there is no room for them.
    pub(super) fn may_relieve(&self) -> bool {
        self.is_full() && self.now >= self.relief.again
    }

    /// Takes in who waits at this listener, each in the place of the most dispensable; where a sibling has room, only after
    /// it has had the time to.
    pub(super) fn relieve(&mut self, listener: u32) {
        let has_waited = self.now.saturating_sub(self.relief.again) < PATIENCE;
        if !has_waited && self.scoreboard.has_room(self.crowd.len()) {
            self.relief.again = self.now + PATIENCE;
            return;
        }
        for _ in 0..AT_ONCE {
            let Some(key) = self.spare() else {
                self.relief.again = self.now + PATIENCE;
                return;
            };
            // First, for a sibling may have been quicker, and nobody need go.
            match self.inlets.take(listener, self.now) {
                Arrival::Connection(socket, peer) => self.welcome(listener, socket, peer),
                Arrival::Nobody => return,
                Arrival::NoRoom => return self.make_room(),
            }
            self.complain_of_room();
            self.close(key);
        }
    }

    /// Somebody has to go before anybody can be taken in.
    pub(super) fn make_room(&mut self) {
        self.complain_of_room();
        if let Some(key) = self.spare() {
            self.close(key);
            self.inlets.end_rest();
        }
    }

    /// Lets as many go as a sibling's connections were too many: those cannot be left where they were.
    pub(super) fn let_go_of_excess(&mut self) {
        while self.crowd.len() > self.max_connections {
            let Some(key) = self.spare() else {
                self.relief.again = self.now + PATIENCE;
                return;
            };
            self.complain_of_room();
            self.close(key);
        }
    }

    /// Whose place is to be had: the most dispensable of whom nothing has come. Others are given a turn instead.
    fn spare(&mut self) -> Option<usize> {
        for _ in 0..AT_ONCE {
            let key = self.crowd.most_dispensable()?;
            let wire = &self.crowd.get(key)?.wire;
            if !wire.has_news() {
                return Some(key);
            }
            wire.notice(true, false, false);
            self.enqueue(key);
        }
        None
    }

    fn complain_of_room(&mut self) {
        if self.now >= self.relief.complains_again {
            self.relief.complains_again = self.now + COMPLAINT;
            let connections = self.crowd.len();
            tracing::warn!(connections, "no room for a connection: raise max_connections or the limit on open files");
        }
    }
}
