//! How a worker comes by a new session: at the first place that has one, and not all the time while there is none.

use std::cell::RefCell;
use std::rc::Rc;

use super::MILLISECOND;
use super::backoff::Backoff;
use super::deadline::Deadline;
use super::error::Error;
use super::reach::{AttemptError, Opened, Unreachable};
use super::reset::Reset;
use super::session::{Session, Terms};
use super::statements::Learned;
use super::target::{Role, Target};
use crate::clock;
use crate::protocol::DatabaseRules;
use crate::scoreboard::Outage;

/// How many connections a server has for those who are no superusers.
const ROOM: &str = "SELECT pg_catalog.current_setting('max_connections')::int \
                    - pg_catalog.current_setting('superuser_reserved_connections')::int";

/// All it takes to log in.
pub(super) struct Login {
    target: Target,
    pub(super) reset: Reset,
    learned: Rc<RefCell<Learned>>,
    deadline: Deadline,
    backoff: Backoff,
    /// Whether the last session had TLS.
    has_tls: bool,
    /// In nanoseconds, less the jitter; 0: as old as it gets.
    max_lifetime: u64,
    jitter: f64,
    connections_of_all: u32,
    chance: fastrand::Rng,
}

impl Login {
    /// # Errors
    /// What is wrong with the URL, without a word of it.
    pub(super) fn new(rules: &DatabaseRules, deadline: Deadline) -> Result<Login, String> {
        let mut target = Target::of(rules)?;
        if rules.statement_timeout > 0 {
            let given = target.engine.get_options().unwrap_or_default();
            let options = format!("{given} -c statement_timeout={}", rules.statement_timeout);
            target.engine.options(options.trim_start());
        }
        Ok(Login {
            target,
            reset: Reset::of(rules),
            learned: Rc::default(),
            deadline,
            backoff: Backoff::default(),
            has_tls: false,
            max_lifetime: rules.max_lifetime.saturating_mul(MILLISECOND),
            jitter: f64::from(rules.max_lifetime_jitter.min(100)) / 100.0,
            connections_of_all: rules.connections_of_all,
            chance: fastrand::Rng::with_seed(clock::now() ^ u64::from(std::process::id()).rotate_left(32)),
        })
    }

    /// Whether an attempt is worth its while.
    ///
    /// # Errors
    /// Why it is not: the last one has failed, a moment ago.
    pub(super) fn may_try(&self) -> Result<(), Error> {
        match self.backoff.is_on() {
            true => Err(Error::unavailable(&self.backoff.why)),
            false => Ok(()),
        }
    }

    /// Whether sessions have TLS, as far as is known: then none can be passed on.
    pub(super) fn has_tls(&self) -> bool {
        self.has_tls
    }

    /// A new session, until a moment in the clock's nanoseconds.
    ///
    /// # Errors
    /// Why there is none at any of the places.
    pub(super) fn log_in(&mut self, until: u64) -> Result<Session, Unreachable> {
        let lifetime = self.lifetime();
        let Login { target, reset, learned, deadline, connections_of_all, .. } = self;
        let terms = Terms { engine: &target.engine, reset, learned, deadline };
        let connected = target.open_each(until, |Opened { stream, until }, _| {
            let expires = lifetime.map_or(u64::MAX, |lifetime| clock::now().saturating_add(lifetime));
            let mut session = Session::log_in(&terms, stream, expires, until)?;
            let lost = |error: Error| AttemptError::Next(error.in_full());
            if !suits(&mut session, target.role, until).map_err(lost)? {
                return Err(AttemptError::Next(format!("it is not {}", target.role)));
            }
            if deadline.scoreboard().is_first_to_connect() {
                compare_bounds(&mut session, *connections_of_all, until).or_else(unless_objected).map_err(lost)?;
            }
            Ok(session)
        });
        if let Ok(session) = &connected {
            self.has_tls = !session.is_plain;
            self.backoff.succeeded();
            if let Some(away) = self.outage().is_over(clock::now()) {
                tracing::info!(away = away.time(), attempts = away.attempts, "the database is reached again");
            }
        }
        connected
    }

    /// An attempt has failed that had the time to succeed: the next one waits, and the log says that there is an outage.
    pub(super) fn rest(&mut self, why: &Unreachable) {
        self.backoff.failed(why.to_string(), self.chance.f64());
        match self.outage().goes_on(clock::now()) {
            Some(away) => {
                tracing::warn!(%why, away = away.time(), attempts = away.attempts, "cannot connect to the database");
            }
            None => tracing::debug!(%why, "cannot connect to the database"),
        }
    }

    fn outage(&self) -> &Outage {
        &self.deadline.scoreboard().pool.database_outage
    }

    /// The terms of a session, whoever has logged in.
    pub(super) fn terms(&self) -> Terms<'_> {
        let Login { target, reset, learned, deadline, .. } = self;
        Terms { engine: &target.engine, reset, learned, deadline }
    }

    /// How old the next session may become, in nanoseconds; `None`: as old as it gets.
    fn lifetime(&mut self) -> Option<u64> {
        let jitter = self.jitter * self.chance.f64();
        (self.max_lifetime > 0).then(|| self.max_lifetime - (self.max_lifetime as f64 * jitter) as u64)
    }
}

/// Whether a server is what `target_session_attrs` asks for.
fn suits(session: &mut Session, role: Role, until: u64) -> Result<bool, Error> {
    match role.test() {
        Some((question, answer)) => session.says(question, answer, until),
        None => Ok(true),
    }
}

/// A server that does not tell, as some that are not PostgreSQL do not, is none the worse for it.
fn unless_objected(error: Error) -> Result<(), Error> {
    if error.as_db_error().is_some() { Ok(()) } else { Err(error) }
}

/// Whether the server takes as many connections as there may come to be; the log says it if not.
fn compare_bounds(session: &mut Session, connections: u32, until: u64) -> Result<(), Error> {
    if let Some(room) = session.number(ROOM, until)?
        && u64::from(connections) > room
    {
        tracing::warn!(
            connections,
            room,
            "the pools may open more connections than the database takes: lower `connections`, or raise the server's max_connections"
        );
    }
    Ok(())
}
