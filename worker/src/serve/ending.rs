//! The end of a request, in one place and in this order:
//!
//! 1. its deferred work runs, the last deferred first;
//! 2. its extensions are dropped;
//! 3. its request-local values are dropped;
//! 4. the reset of its database session is on its way;
//! 5. the supervisor is told that nothing of it runs any more;
//! 6. the worker retires, if the request is a reason to.
//!
//! It comes when the response is out of the application's hands: made, or, where the application itself produces it or
//! has deferred work, sent. Whatever of the application panics on the way is contained, and the rest follows all the
//! same. Until the last step the request's deadline holds.

use std::mem;

use super::connection::Connection;
use super::{Held, Server, Stage};
use crate::app::{App, Context};
use crate::log::speak_of;
use crate::panics::contain;
use crate::protocol::{Panics, Why};
use crate::{clock, last_words, panics, request_local};

impl<A: App> Server<A> {
    /// Ends the request in hand, if there is one whose end need not be waited for.
    pub(super) fn end_if_sent(&mut self) {
        let Some(held) = &self.held else { return };
        let sends = |each: &mut Connection| each.serial == held.serial && each.is_sending();
        if held.waits() {
            if self.crowd.get_mut(held.key).is_some_and(sends) {
                return;
            }
            self.now = clock::now();
        }
        self.end_request();
    }

    /// See the module's header.
    pub(super) fn end_request(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        self.ready.extend(self.postponed.drain(..));
        let began = self.now;
        held = self.run_deferred(held);
        let worked = held.answered.saturating_sub(held.since) + self.now.saturating_sub(began);
        self.pace.took(worked);

        if contain(|| drop(mem::take(&mut held.own.extensions))).is_err() {
            tracing::error!(request = self.line(), "an extension panicked when it was dropped");
        }
        request_local::end();
        if let Some(database) = &mut self.database {
            database.end_request();
        }

        if let Some(cell) = self.cell() {
            cell.end(self.now, self.shown_state());
        }
        speak_of(None);

        if panics::have_passed() && self.panics == Panics::Recycle && self.stage == Stage::Serving {
            self.retire_because(Why::Panic);
        }
    }

    /// The time that the client took to accept the response is not the application's.
    fn run_deferred(&mut self, held: Held) -> Held {
        if held.own.deferred.is_empty() {
            return held;
        }
        let Held { own, deadline, answered, .. } = held;
        let cell = self.scoreboard.cell(self.worker.slot);
        if let Some(cell) = cell {
            cell.defer(self.now, deadline.saturating_add(self.now.saturating_sub(answered)));
        }
        let database = self.database.as_mut();
        let mut context = Context { worker: &self.worker, cell, database, own };
        let panics = run_all(&mut context);
        last_words::end();
        let Context { own, .. } = context;
        if panics > 0 {
            tracing::error!(request = self.line(), panics, "deferred work panicked");
        }
        self.now = clock::now();
        Held { own, ..held }
    }

    /// The request line of the request in hand.
    pub(super) fn line(&self) -> String {
        self.cell().map(|cell| String::from_utf8_lossy(&cell.line()).into_owned()).unwrap_or_default()
    }
}

/// Runs what is deferred, and what that defers, and has the frames of the stack below this one known as the
/// application's; how much of it panicked.
#[inline(never)]
fn run_all(context: &mut Context<'_>) -> u32 {
    let floor = 0;
    last_words::begin_deferred(&raw const floor);
    let mut panics = 0;
    while let Some(work) = context.own.deferred.pop() {
        panics += u32::from(contain(|| work(context)).is_err());
    }
    panics
}
