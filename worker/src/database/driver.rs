//! The hand that turns a session's engine, and what it has noticed meanwhile.

use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::{AsyncMessage, Connection};

use super::deadline::Deadline;
use super::drive::{Late, step_until};
use super::error::Error;
use super::harmless;
use super::line::Line;
use super::socket::Readiness;
use crate::woken::Woken;

/// How many messages a look takes in that nobody has asked for.
const MOST_TURNS: u32 = 64;

/// How it stands with the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    Sound,
    /// The server or the way to it has ended it, for this reason.
    Ended(String),
    /// A wait was given up: what the server does now nobody knows.
    Abandoned,
}

/// A session's engine and its line.
pub(crate) struct Driver {
    engine: Connection<Line, Line>,
    pub(super) line: Line,
    pub(super) socket: Rc<OwnedFd>,
    readiness: Readiness,
    woken: Woken,
    pub(super) health: Health,
    pub(super) deadline: Deadline,
}

impl Driver {
    pub(super) fn new(
        engine: Connection<Line, Line>,
        line: Line,
        (socket, readiness): (Rc<OwnedFd>, Readiness),
        deadline: Deadline,
    ) -> Driver {
        Driver { engine, line, socket, readiness, woken: Woken::new(), health: Health::Sound, deadline }
    }

    /// Runs what the engine has to do until it is done, or the request's deadline has passed.
    pub(super) fn run<T>(&mut self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
        let until = self.deadline.moment();
        self.run_until(until, work)
    }

    /// The same until another moment.
    pub(super) fn run_until<T>(
        &mut self,
        until: u64,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        match &self.health {
            Health::Sound => {}
            Health::Ended(why) => return Err(Error::lost(why)),
            Health::Abandoned => return Err(Error::lost("a statement was given up on it")),
        }
        let mut work = pin!(work);
        let Driver { engine, readiness, socket, woken, health, .. } = self;
        let step = |context: &mut Context<'_>| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                // The server's last words, even if it has not hung up yet.
                if let Some(error) = done.as_ref().err().filter(|error| is_fatal(error)) {
                    *health = Health::Ended(said(error));
                }
                return Poll::Ready(done.map_err(Error::from));
            }
            turn(engine, health, context);
            match health {
                Health::Ended(why) => match work.as_mut().poll(context) {
                    Poll::Ready(done) => Poll::Ready(done.map_err(|error| lost(error, why))),
                    Poll::Pending => Poll::Ready(Err(Error::lost(why))),
                },
                _ => Poll::Pending,
            }
        };
        step_until(woken, socket.as_fd(), readiness, until, step).unwrap_or_else(|Late| {
            self.health = Health::Abandoned;
            Err(Error::late())
        })
    }

    /// The first number of the server's version.
    pub(super) fn server_version(&self) -> Option<u32> {
        self.engine.parameter("server_version").and_then(harmless::major)
    }

    /// Nobody knows any more what the server is at: the session is not to be used again.
    pub(super) fn abandon(&mut self) {
        if self.health == Health::Sound {
            self.health = Health::Abandoned;
        }
    }

    /// Has the engine send what it has been given and take in what is there, without waiting.
    pub(super) fn look(&mut self) {
        self.readiness.set_readable();
        self.readiness.grant();
        let mut turns = 0;
        while self.health == Health::Sound && turns < MOST_TURNS {
            turn(&mut self.engine, &mut self.health, &mut self.woken.context());
            turns += 1;
            // What has been taken in may have something to be sent.
            if !self.woken.take() && turns > 1 {
                break;
            }
        }
    }

    /// Begins work whose end somebody else waits for, unless it is through already.
    pub(super) fn begin<T>(&mut self, work: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
        let begun = std::pin::Pin::new(work).poll(&mut self.woken.context());
        if self.health == Health::Sound {
            turn(&mut self.engine, &mut self.health, &mut self.woken.context());
        }
        begun
    }
}

fn is_fatal(error: &tokio_postgres::Error) -> bool {
    let severity = error.as_db_error().and_then(DbError::parsed_severity);
    matches!(severity, Some(Severity::Fatal | Severity::Panic))
}

/// An error's own words where the server has said something, and else what ended the connection.
fn lost(error: tokio_postgres::Error, why: &str) -> Error {
    if error.as_db_error().is_some() { Error::from(error) } else { Error::lost(why) }
}

/// One turn of the engine.
fn turn(engine: &mut Connection<Line, Line>, health: &mut Health, context: &mut Context<'_>) {
    match engine.poll_message(context) {
        Poll::Pending => {}
        Poll::Ready(Some(Ok(message))) => {
            if let AsyncMessage::Notice(notice) = message {
                tracing::debug!(severity = notice.severity(), "the database says: {}", notice.message());
            }
            // However many there are, the clock is looked at in between.
            context.waker().wake_by_ref();
        }
        Poll::Ready(Some(Err(error))) => *health = Health::Ended(said(&error)),
        Poll::Ready(None) => *health = Health::Ended("it is closed".into()),
    }
}

/// An error of the engine and what caused it, in one line.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{}: {} ({})", error.severity(), error.message(), error.code().code()),
        None => {
            let mut words = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(deeper) = cause {
                words = format!("{words}: {deeper}");
                cause = deeper.source();
            }
            words
        }
    }
}
