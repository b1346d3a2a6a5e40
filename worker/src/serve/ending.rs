//! The end of a request, in one place and in this order:
//!
//! 1. its deferred work runs, the last deferred first;
//! 2. its extensions are dropped;
//! 3. its request-local values are dropped;
//! 4. what it has left in the database's session is undone, and in connections of other kinds;
//! 5. the process is put back, and from time to time what is never put back is counted;
//! 6. the supervisor is told that nothing of it runs any more;
//! 7. the worker retires, if the request is a reason to.
//!
//! It comes when the response is out of the application's hands: made, or, where the application itself produces it or
//! has deferred work, sent. Whatever of the application panics on the way is contained, and the rest follows all the
//! same. Until the last step the request's deadline holds.

use std::mem;

use super::connection::Connection;
use super::{Held, Server, Stage};
use crate::app::{App, Context, Ending};
use crate::database::{Database, kept_descriptors};
use crate::log::speak_of;
use crate::panics::contain;
use crate::protocol::{Panics, Why};
use crate::scoreboard::Cell;
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
            database.end_request(worked);
        }
        self.run_endings(mem::take(&mut held.own.endings));
        let cell = self.scoreboard.cell(self.worker.slot);
        let changes = self.cleaner.put_back(|| line_in(cell));
        if self.cleaner.is_to_count() {
            let (owned, line) = (self.passing_descriptors(), self.line());
            self.cleaner.count(owned, &line);
        }

        if let Some(cell) = self.cell() {
            cell.end(self.now, self.shown_state());
        }
        speak_of(None);

        let has_panicked = panics::have_passed() && self.panics == Panics::Recycle;
        let why = has_panicked.then_some(Why::Panic).or(changes.map(|_| Why::Change));
        if let Some(why) = why.filter(|_| self.stage == Stage::Serving) {
            self.retire_because(why);
        }
    }

    fn run_endings(&mut self, endings: Vec<Ending>) {
        if endings.is_empty() {
            return;
        }
        for ending in endings {
            if contain(ending).is_err() {
                tracing::error!(request = self.line(), "the reset of a connection panicked");
            }
        }
        self.now = clock::now();
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
        let mut context = Context { worker: &self.worker, cell, database: self.database.as_mut(), own };
        let began = self.now;
        let panics = run_all(&mut context);
        last_words::end();
        let Context { own, .. } = context;
        if panics > 0 {
            tracing::error!(request = self.line(), panics, "deferred work panicked");
        }
        self.now = clock::now();
        self.records.deferred(&self.line(), self.now.saturating_sub(began));
        Held { own, ..held }
    }

    /// The request line of the request in hand.
    pub(super) fn line(&self) -> String {
        line_in(self.cell())
    }

    /// How many descriptors are ours that come and go: those of clients, of their bodies, and of databases.
    fn passing_descriptors(&self) -> usize {
        let files = self.waiting.iter().filter(|(.., request)| request.body().is_file()).count();
        let database = self.database.as_ref().map_or(0, Database::descriptors) + kept_descriptors();
        self.crowd.descriptors() + files + database
    }
}

fn line_in(cell: Option<&Cell>) -> String {
    cell.map(|cell| String::from_utf8_lossy(&cell.line()).into_owned()).unwrap_or_default()
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
