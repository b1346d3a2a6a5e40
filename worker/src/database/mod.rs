//! The database of a pool: a connection that is never connected before it is asked for, never stale when it is given to a
//! handler, and never shows one request what another has left.
//!
//! Here stands what happens between a worker and its one session: [`Database::acquire`] when a handler asks,
//! [`Database::end_request`] when its response has left. Below it, from the wire upwards:
//!
//! * [`target`], [`resolve`], [`reach`], [`tls`], [`socket`]: where the server is, and a connection to it;
//! * [`frames`], [`line`], [`drive`], [`driver`]: the engine, tokio-postgres without its runtime, polled by hand;
//! * [`session`], [`reset`], [`statements`], [`hand`]: one login, and what is done with it;
//! * [`client`], [`rows`], [`copy`], [`error`]: what the handler sees.

mod backoff;
mod client;
mod copy;
mod drive;
mod driver;
mod error;
mod frames;
mod hand;
pub mod lease;
mod line;
mod reach;
mod reset;
mod resolve;
mod rows;
mod session;
mod socket;
mod statements;
mod target;
mod tls;

use std::cell::RefCell;
use std::rc::Rc;

pub use self::client::{Client, Transaction, TransactionBuilder};
pub use self::copy::{CopyInWriter, CopyOutReader};
pub use self::error::Error;
pub use self::rows::RowIter;
pub use self::statements::{Statement, ToStatement};
pub use self::target::check_url;

use self::backoff::Backoff;
pub(crate) use self::driver::Deadline;
use self::driver::Health;
use self::lease::Desk;
use self::reach::{AttemptError, Opened};
use self::reset::Reset;
use self::session::{Session, Terms};
use self::statements::Learned;
use self::target::{Role, Target};
use crate::clock;
use crate::protocol;
use crate::scoreboard::{Cell, Stale};

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// A worker's database.
pub(crate) struct Database {
    rules: protocol::Database,
    target: Target,
    reset: Reset,
    learned: Rc<RefCell<Learned>>,
    /// Where connections are leased.
    desk: Desk,
    deadline: Deadline,
    client: Option<Client>,
    /// Whether the request in hand has asked for it.
    in_hand: bool,
    backoff: Backoff,
    chance: fastrand::Rng,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Database {
    /// A database that nothing is connected to.
    ///
    /// # Errors
    /// What is wrong with its URL, without a word of it.
    pub(crate) fn new(rules: protocol::Database, desk: Desk, deadline: Deadline) -> Result<Database, String> {
        let mut target = Target::of(&rules)?;
        if rules.statement_timeout > 0 {
            let given = target.engine.get_options().unwrap_or_default();
            let options = format!("{given} -c statement_timeout={}", rules.statement_timeout);
            target.engine.options(options.trim_start());
        }
        Ok(Database {
            reset: Reset::of(&rules),
            target,
            learned: Rc::default(),
            desk,
            deadline,
            client: None,
            in_hand: false,
            backoff: Backoff::default(),
            chance: fastrand::Rng::with_seed(clock::now() ^ u64::from(std::process::id()).rotate_left(32)),
            rules,
        })
    }

    /// The connection of the request in hand, fresh and clean.
    ///
    /// # Errors
    /// That there is none to be had, in time.
    pub(crate) fn acquire(&mut self) -> Result<&mut Client, Error> {
        if !self.in_hand {
            self.look_after();
        } else if self.client.as_ref().is_some_and(Client::is_closed) {
            self.give_up(Stale::Closed);
        }
        let client = match self.client.take() {
            Some(client) => client,
            None => Client { session: self.connect()? },
        };
        self.in_hand = true;
        Ok(self.client.insert(client))
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

    /// The request is over: what it has left in its session is undone. Waits for nothing.
    pub(crate) fn end_request(&mut self) {
        if !std::mem::take(&mut self.in_hand) {
            return;
        }
        let Some(Client { session }) = &mut self.client else { return };
        session.idle_since = clock::now();
        match &session.driver.health {
            Health::Sound if session.driver.line.look(|frames| frames.are_copying()) => self.give_up(Stale::Broken),
            Health::Sound => session.begin_reset(&self.reset, false),
            Health::Abandoned => self.give_up(Stale::Broken),
            Health::Ended(_) => self.give_up(Stale::Closed),
        }
    }

    /// The session as the last request has left it: if it is stale, it is given up. In the order of what it costs.
    fn look_after(&mut self) {
        let Some(Client { session }) = &mut self.client else { return };
        let now = clock::now();
        let idle = now.saturating_sub(session.idle_since);
        let patience = self.rules.connect_timeout * MILLISECOND;
        let stale = if session.finish_reset(self.deadline.at_most(patience)).is_err() {
            let is_closed = matches!(session.driver.health, Health::Ended(_));
            Some(if is_closed { Stale::Closed } else { Stale::ResetFailed })
        } else if !session.is_there() {
            Some(Stale::Closed)
        } else if now >= session.expires {
            Some(Stale::Lifetime)
        } else if self.rules.idle_timeout > 0 && idle > self.rules.idle_timeout * MILLISECOND {
            Some(Stale::Idle)
        } else if idle > self.rules.validate_after * MILLISECOND {
            let until = self.deadline.at_most(patience);
            session.answers(until).is_err().then_some(Stale::CheckFailed)
        } else {
            None
        };
        if let Some(stale) = stale {
            self.give_up(stale);
        }
    }

    fn give_up(&mut self, stale: Stale) {
        if let Some(Client { session }) = self.client.take() {
            tracing::debug!(why = stale.name(), "a connection to the database is given up");
            session.end();
            self.note(Cell::database_parted);
            self.note(|cell| cell.database_reconnected(stale));
        }
    }

    fn note(&self, what: impl FnOnce(&Cell)) {
        if let Some(cell) = self.deadline.cell() {
            what(cell);
        }
    }

    /// A new session, at the first place that has one.
    fn connect(&mut self) -> Result<Session, Error> {
        if self.backoff.is_on() {
            return Err(Error::unavailable(&self.backoff.why));
        }
        let until = self.deadline.at_most(self.rules.connect_timeout * MILLISECOND);
        let lifetime = self.lifetime();
        let Database { target, reset, learned, deadline, .. } = self;
        let terms = Terms { engine: &target.engine, reset, learned, deadline };
        let role = target.role;
        let connected = target.open_each(until, |Opened { stream, until }, _| {
            let expires = lifetime.map_or(u64::MAX, |lifetime| clock::now().saturating_add(lifetime));
            let mut session = Session::log_in(&terms, stream, expires, until)?;
            match suits(&mut session, role, until) {
                Ok(true) => Ok(session),
                Ok(false) => Err(AttemptError::Next(format!("it is not {role}"))),
                Err(error) => Err(AttemptError::Next(error.to_string())),
            }
        });
        match connected {
            Ok(session) => {
                self.note(Cell::database_connected);
                self.backoff.succeeded();
                Ok(session)
            }
            Err(why) => {
                self.note(Cell::database_failed);
                tracing::warn!(%why, "cannot connect to the database");
                self.backoff.failed(why.to_string(), self.chance.f64());
                Err(Error::unavailable(why))
            }
        }
    }

    /// How old the next session may become, in nanoseconds; `None`: as old as it gets.
    fn lifetime(&mut self) -> Option<u64> {
        let most = self.rules.max_lifetime.checked_mul(MILLISECOND).filter(|most| *most > 0)?;
        let jitter = f64::from(self.rules.max_lifetime_jitter.min(100)) / 100.0 * self.chance.f64();
        Some(most - (most as f64 * jitter) as u64)
    }
}

/// Whether a server is what `target_session_attrs` asks for.
fn suits(session: &mut Session, role: Role, until: u64) -> Result<bool, Error> {
    match role.test() {
        Some((question, answer)) => session.says(question, answer, until),
        None => Ok(true),
    }
}
