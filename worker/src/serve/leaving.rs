//! How a worker comes to leave, and when it may.
//!
//! By the supervisor's order, by TERM, with the last request it may serve, or because there is no supervisor any more.
//! Where the siblings go on it retires; where nobody does it serves what is left. Never breaks anything off.

use std::io::Read;

use super::inlets::Door;
use super::{Server, Stage};
use crate::app::App;
use crate::channel::{Channel, Received};
use crate::last_words;
use crate::protocol::{Order, Report, Why};

/// How long a draining worker keeps idle connections, in nanoseconds: a request may be on its way over one of them.
pub(super) const LAST_CHANCE: u64 = 200_000_000;

impl<A: App> Server<A> {
    pub(super) fn obey(&mut self) {
        loop {
            let Some(channel) = &self.channel else { return };
            match channel.try_receive() {
                Received::Message(Order::Drain, _) => self.leave(Door::Quota),
                Received::Message(Order::Retire, _) => self.retire(),
                Received::Message(Order::Close { listener }, _) => self.inlets.close(listener),
                Received::Message(order, _) => {
                    tracing::error!(?order, "this order is not for a worker")
                }
                Received::Nothing => return,
                Received::Nonsense(what) => {
                    tracing::error!(what, "the supervisor does not make sense: serving what is here, then leaving");
                    self.hang_up();
                }
                Received::End => {
                    tracing::warn!("the supervisor is gone: serving what is here, then leaving");
                    self.hang_up();
                }
            }
        }
    }

    fn hang_up(&mut self) {
        last_words::report_to(None::<&Channel>);
        self.channel = None;
        self.gives_again = None;
        self.leave(Door::Shut);
        if let Stage::Leaving { until, .. } = &mut self.stage {
            *until = self.now.saturating_add(self.request_timeout);
        }
    }

    pub(super) fn depart_on_signal(&mut self) {
        let mut bytes = [0; 16];
        while matches!((&self.terminate).read(&mut bytes), Ok(length) if length > 0) {}
        if self.stage == Stage::Serving {
            self.retire_because(Why::Signal);
        }
    }

    pub(super) fn report(&self, report: &Report) {
        if let Some(channel) = &self.channel
            && let Err(error) = channel.send(report, &[])
        {
            tracing::error!(%error, ?report, "cannot tell the supervisor how far this worker is");
        }
    }

    pub(super) fn leave(&mut self, door: Door) {
        self.inlets.set_door(door, &self.epoll);
        if !matches!(self.stage, Stage::Leaving { .. }) {
            self.stage = Stage::Leaving { since: self.now, until: u64::MAX };
        }
        if self.held.is_none() {
            self.settle();
        }
    }

    /// Leaves, unasked, for this reason.
    pub(super) fn retire_because(&mut self, why: Why) {
        self.report(&Report::Leaving { why });
        self.retire();
    }

    /// The siblings go on with what can be handed over. Where there are none to be had, all of it ends here.
    pub(super) fn retire(&mut self) {
        if self.stage != Stage::Serving {
            return;
        }
        if !self.inlets.has_inbox() {
            self.leave(Door::Shut);
            return;
        }
        self.inlets.set_door(Door::Shut, &self.epoll);
        self.stage = Stage::Retiring { only_sends: false };
        if self.is_free() {
            self.settle();
        }
        self.hand_over();
    }

    pub(super) fn may_leave(&self) -> bool {
        let is_in_peace = match self.stage {
            Stage::Serving => false,
            Stage::Retiring { .. } => self.crowd.between_requests().is_empty(),
            Stage::Leaving { until, .. } if self.now >= until => return true,
            Stage::Leaving { since, .. } => {
                let was_last_chance = self.crowd.len() == 0 || self.now >= since + LAST_CHANCE;
                was_last_chance && (self.rules.budget.is_over() || !self.inlets.may_yield())
            }
        };
        is_in_peace && self.is_free() && self.waiting.is_empty() && !self.crowd.is_engaged()
    }
}
