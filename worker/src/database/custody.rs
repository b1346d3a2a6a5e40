//! A worker and its one session, from request to request: [`Database::acquire`] when a handler asks, [`Database::end_request`]
//! when its response has left, [`Database::let_go_if_wanted`] while nothing else is to be done.
//!
//! To have a session is to have a token. Both stay as long as no other worker waits for them, unless handlers that ask for no
//! database are slow: while one of them runs, nobody who waits is heard.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::MILLISECOND;
use super::client::Client;
use super::deadline::Deadline;
use super::driver::Health;
use super::error::Error;
use super::lease::{Desk, Obtained, Token, Travelling};
use super::login::Login;
use super::session::Session;
use crate::pace::Pace;
use crate::scoreboard::{Cell, Stale};
use crate::{clock, protocol};

/// How long it may take to make a session clean for another worker that waits for it, in nanoseconds.
const CLEANING: u64 = 1_000_000_000;
/// How long it may take in any case, though the deadline of the request that has used it has passed.
const LEAST: u64 = 50_000_000;

/// A worker's database.
pub(crate) struct Database {
    rules: protocol::DatabaseRules,
    login: Login,
    desk: Desk,
    deadline: Deadline,
    hold: Option<Hold>,
    /// Of requests that have not asked for a connection.
    strangers: Pace,
}

/// What a worker has.
struct Hold {
    token: Token,
    client: Client,
    /// Whether the request in hand has asked for it: then it is not to be let go of.
    is_in_use: bool,
}

impl Hold {
    fn new(token: Token, session: Session) -> Hold {
        Hold { token, client: Client { session }, is_in_use: false }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// A database that nothing is connected to.
    ///
    /// # Errors
    /// What is wrong with its URL, without a word of it.
    pub(crate) fn new(rules: protocol::DatabaseRules, desk: Desk, deadline: Deadline) -> Result<Database, String> {
        let login = Login::new(&rules, deadline.clone())?;
        Ok(Database { rules, login, desk, deadline, hold: None, strangers: Pace::default() })
    }

    /// The connection of the request in hand, fresh and clean.
    ///
    /// # Errors
    /// That there is none to be had, in time.
    pub(crate) fn acquire(&mut self) -> Result<&mut Client, Error> {
        let (now, deadline) = (clock::now(), self.deadline.moment());
        if now >= deadline {
            return Err(Error::late());
        }
        let until = deadline.min(now.saturating_add(self.rules.connect_timeout.saturating_mul(MILLISECOND)));
        let hold = match self.hold.take() {
            None => self.obtain(until)?,
            Some(mut hold) => {
                let session = &mut hold.client.session;
                let stale = match hold.is_in_use {
                    true => hold.client.is_closed().then_some(Stale::Closed),
                    false => self.staleness(session, until),
                };
                match stale {
                    None => hold,
                    Some(stale) => {
                        self.end(hold.client.session, stale);
                        self.note(Cell::database_parted);
                        self.log_in(hold.token, until, None)?
                    }
                }
            }
        };
        let hold = self.hold.insert(hold);
        if !hold.is_in_use {
            hold.is_in_use = true;
            hold.client.session.begin_request();
        }
        Ok(&mut hold.client)
    }

    /// Runs `attempt`, and once more on a fresh connection if it failed since the one it had was dead and nothing had
    /// become final through it.
    pub(crate) fn retry<T, E: From<Error>>(
        &mut self,
        mut attempt: impl FnMut(&mut Client) -> Result<T, E>,
    ) -> Result<T, E> {
        let client = self.acquire()?;
        let before = client.session.settled();
        match attempt(client) {
            Err(_) if client.session.is_lost_since(before) => attempt(self.acquire()?),
            done => done,
        }
    }

    /// The request is over, which has taken `worked` nanoseconds: what it has left in its session is undone, unless that is known
    /// to be nothing. Waits for nothing, unless another worker waits for the session, or may come to without being heard.
    pub(crate) fn end_request(&mut self, worked: u64) {
        let may_be_missed = self.may_be_missed();
        let Some(hold) = self.hold.as_mut().filter(|hold| hold.is_in_use) else {
            self.strangers.took(worked);
            if self.may_be_missed() {
                self.let_go();
            }
            return;
        };
        hold.is_in_use = false;
        let session = &mut hold.client.session;
        session.idle_since = clock::now();
        // Rows that nobody took may be here by now. Those that are not would be the next request's to wait for.
        if !session.owes_no_more_than_an_end() {
            session.is_there();
        }
        let stale = match &session.driver.health {
            Health::Sound if !session.owes_no_more_than_an_end() => Stale::Broken,
            Health::Sound => {
                let is_wanted = may_be_missed || self.desk.promises();
                if !is_wanted && session.has_nothing_to_undo(&self.login.reset) {
                    return;
                }
                if is_wanted && !session.is_plain {
                    return self.pass_on(Cleanliness::Own);
                }
                session.begin_reset(&self.login.reset, is_wanted);
                if is_wanted {
                    self.pass_on(Cleanliness::Begun);
                }
                return;
            }
            Health::Abandoned => Stale::Broken,
            Health::Ended(_) => Stale::Closed,
        };
        if let Some(Hold { token, client, .. }) = self.hold.take() {
            self.end(client.session, stale);
            self.note(Cell::database_parted);
            self.desk.release(token, None);
        }
    }

    /// Lets go of the session if another worker waits for one. For a worker that is between requests.
    pub(crate) fn let_go_if_wanted(&mut self) {
        if self.hold.as_ref().is_some_and(|hold| !hold.is_in_use) && self.desk.promises() {
            self.pass_on(Cleanliness::Own);
        }
    }

    /// Lets go of the session, for another worker.
    pub(crate) fn let_go(&mut self) {
        if self.hold.as_ref().is_some_and(|hold| !hold.is_in_use) {
            self.pass_on(Cleanliness::Own);
        }
    }

    /// Whether another worker may come to want the session that this one has, and could be given it, and would not be heard.
    fn may_be_missed(&self) -> bool {
        let can_be_given = || self.hold.as_ref().is_some_and(|hold| hold.client.session.is_plain);
        self.strangers.is_slow()
            && can_be_given()
            && self.deadline.scoreboard().workers() > self.rules.connections as usize
    }

    /// How many descriptors its session takes.
    pub(crate) fn descriptors(&self) -> usize {
        usize::from(self.hold.is_some())
    }

    /// Whether there is a session that could be let go of.
    pub(crate) fn is_holding(&self) -> bool {
        self.hold.is_some()
    }

    /// Rings when another worker begins to wait: for an edge trigger, and never read.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.desk.bell()
    }

    /// A token in this worker's turn, and a session: one that comes with it, or a new one.
    fn obtain(&mut self, until: u64) -> Result<Hold, Error> {
        if self.login.has_tls() {
            // Of another worker there would be the token alone.
            self.login.may_try()?;
        }
        let began = clock::now();
        let waited = || clock::now().saturating_sub(began);
        let Obtained { token, connection, has_waited } = match self.desk.obtain(until) {
            Ok(obtained) => obtained,
            Err(_) => {
                let waited = waited();
                self.note(|cell| cell.database_waited(waited));
                self.note(Cell::database_exhausted);
                return Err(if clock::now() >= self.deadline.moment() { Error::late() } else { Error::busy(waited) });
            }
        };
        if has_waited {
            self.note(|cell| cell.database_waited(waited()));
        }
        match connection.and_then(|connection| self.take_over(connection, until)) {
            Some(session) => {
                self.note(Cell::database_leased);
                Ok(Hold::new(token, session))
            }
            None => match self.login.may_try() {
                Ok(()) => self.log_in(token, until, has_waited.then_some(began)),
                Err(refused) => {
                    self.desk.release(token, None);
                    Err(refused)
                }
            },
        }
    }

    /// A session that another worker has had, unless it is stale.
    fn take_over(&mut self, connection: Travelling<OwnedFd>, until: u64) -> Option<Session> {
        let Travelling { socket, startup, expires, idle_since } = connection;
        let Ok(mut session) = Session::resume(&self.login.terms(), socket, startup, until) else {
            self.note(|cell| cell.database_reconnected(Stale::Closed));
            return None;
        };
        (session.expires, session.idle_since) = (expires, idle_since);
        match self.staleness(&mut session, until) {
            None => Some(session),
            Some(stale) => {
                self.end(session, stale);
                None
            }
        }
    }

    /// A new session for a token that was waited for, since this moment, or was not; without one, the token is another's. Where
    /// the wait has left too little time that says nothing of the server.
    fn log_in(&mut self, token: Token, until: u64, waits_since: Option<u64>) -> Result<Hold, Error> {
        match self.login.log_in(until) {
            Ok(session) => {
                self.note(Cell::database_connected);
                Ok(Hold::new(token, session))
            }
            Err(why) => {
                self.desk.release(token, None);
                if let Some(since) = waits_since.filter(|_| clock::now() >= until) {
                    self.note(Cell::database_exhausted);
                    return Err(Error::busy(clock::now().saturating_sub(since)));
                }
                self.login.rest(&why);
                self.note(Cell::database_failed);
                Err(Error::unavailable(why))
            }
        }
    }

    /// Why a session cannot be used as the last request has left it, in the order of what it costs to know. Half of the time
    /// is left for a new one.
    fn staleness(&self, session: &mut Session, until: u64) -> Option<Stale> {
        let now = clock::now();
        let until = now + until.saturating_sub(now) / 2;
        let idle = now.saturating_sub(session.idle_since);
        let is_more_than = |millis: u64| idle > millis.saturating_mul(MILLISECOND);
        match session.finish_reset(until) {
            Ok(false) => {}
            Ok(true) if session.forget_names(&self.login.terms(), until).is_err() => return Some(Stale::ResetFailed),
            Ok(true) => {}
            Err(_) => {
                let is_closed = matches!(session.driver.health, Health::Ended(_));
                return Some(if is_closed { Stale::Closed } else { Stale::ResetFailed });
            }
        }
        if !session.is_there() {
            return Some(Stale::Closed);
        }
        if now >= session.expires {
            return Some(Stale::Lifetime);
        }
        if self.rules.idle_timeout > 0 && is_more_than(self.rules.idle_timeout) {
            return Some(Stale::Idle);
        }
        let is_silent = is_more_than(self.rules.validate_after) && session.answers(until).is_err();
        is_silent.then_some(Stale::CheckFailed)
    }

    /// Gives the session away, clean and without what is prepared in it, or at least the token.
    fn pass_on(&mut self, cleanliness: Cleanliness) {
        let Some(Hold { token, client: Client { mut session }, .. }) = self.hold.take() else { return };
        self.note(Cell::database_parted);
        if !session.is_plain {
            session.end();
            return self.desk.release(token, None);
        }
        let until = self.deadline.at_most(CLEANING).max(clock::now().saturating_add(LEAST));
        let cleaned = match cleanliness {
            Cleanliness::Begun => session.finish_reset(until),
            Cleanliness::Own => session.finish_reset(until).and_then(|_| {
                session.begin_reset(&self.login.reset, true);
                session.finish_reset(until)
            }),
        };
        if cleaned.is_err() || !session.is_there() || !session.is_at_rest() {
            self.end(session, Stale::ResetFailed);
            return self.desk.release(token, None);
        }
        let (expires, idle_since) = (session.expires, session.idle_since);
        let (socket, startup) = session.parts();
        self.desk.release(token, Some(Travelling { socket, startup, expires, idle_since }));
        session.let_go();
    }

    fn end(&self, session: Session, stale: Stale) {
        tracing::debug!(why = stale.name(), "a connection to the database is given up");
        session.end();
        self.note(|cell| cell.database_reconnected(stale));
    }

    fn note(&self, what: impl FnOnce(&Cell)) {
        if let Some(cell) = self.deadline.cell() {
            what(cell);
        }
    }
}

/// What has been done already to make a session clean for another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleanliness {
    /// What suffices for this one, at the end of the last request.
    Own,
    /// Everything, and the answer is on its way.
    Begun,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
