//! What can go wrong with a database, for the handler to act on or to pass on.

use std::fmt;

use http::StatusCode;
use tokio_postgres::error::{DbError, SqlState};

use super::driver::said;

/// An error of the database, of the connection to it, or of there being none.
///
/// Passed on by a handler, it is answered 503 with `Retry-After` where there is no connection to be had, 504 where the
/// request's deadline has passed, and 500 where the server says that something is wrong or the connection was lost.
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    NotConfigured,
    Unavailable(String),
    Busy { waited_ms: u64 },
    Late,
    Lost(String),
    Parameters { expected: usize, given: usize },
    Nameless(&'static str),
    Engine(tokio_postgres::Error),
}

impl Error {
    pub(crate) fn not_configured() -> Error {
        Error(Kind::NotConfigured)
    }

    pub(crate) fn unavailable(why: impl fmt::Display) -> Error {
        Error(Kind::Unavailable(why.to_string()))
    }

    pub(crate) fn busy(waited_nanos: u64) -> Error {
        Error(Kind::Busy { waited_ms: waited_nanos / 1_000_000 })
    }

    pub(crate) fn late() -> Error {
        Error(Kind::Late)
    }

    pub(crate) fn lost(why: impl fmt::Display) -> Error {
        Error(Kind::Lost(why.to_string()))
    }

    pub(crate) fn parameters(expected: usize, given: usize) -> Error {
        Error(Kind::Parameters { expected, given })
    }

    pub(crate) fn nameless(instead: &'static str) -> Error {
        Error(Kind::Nameless(instead))
    }

    /// The error and what caused it, in one line.
    pub(crate) fn in_full(&self) -> String {
        match &self.0 {
            Kind::Engine(error) => said(error),
            _ => self.to_string(),
        }
    }

    /// What the server said, if it is the server that objects.
    pub fn as_db_error(&self) -> Option<&DbError> {
        match &self.0 {
            Kind::Engine(error) => error.as_db_error(),
            _ => None,
        }
    }

    /// The server's code for its objection.
    pub fn code(&self) -> Option<&SqlState> {
        self.as_db_error().map(DbError::code)
    }

    /// Whether the connection is gone: [`crate::Context::database`] has another one.
    pub fn is_closed(&self) -> bool {
        match &self.0 {
            Kind::Engine(error) => error.is_closed(),
            Kind::Lost(_) => true,
            _ => false,
        }
    }

    /// Whether no connection was to be had: none is configured, the server is out of reach, or all are in use.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.0, Kind::NotConfigured | Kind::Unavailable(_) | Kind::Busy { .. })
    }

    /// Whether the pool has no database at all.
    pub fn is_not_configured(&self) -> bool {
        matches!(self.0, Kind::NotConfigured)
    }

    /// Whether the request's deadline has passed.
    pub fn is_late(&self) -> bool {
        matches!(self.0, Kind::Late)
    }

    /// What a client sees of it that the handler does not answer otherwise.
    pub(crate) fn status(&self) -> StatusCode {
        match &self.0 {
            Kind::NotConfigured | Kind::Unavailable(_) | Kind::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Late => StatusCode::GATEWAY_TIMEOUT,
            Kind::Lost(_) | Kind::Parameters { .. } | Kind::Nameless(_) | Kind::Engine(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::NotConfigured => {
                f.write_str("no database is configured: [pool.NAME.database] with url, url_file or url_env names one")
            }
            Kind::Unavailable(why) => write!(f, "no connection to the database: {why}"),
            Kind::Busy { waited_ms } => write!(
                f,
                "no connection to the database became free within {waited_ms} ms: `connections` bounds how many there are"
            ),
            Kind::Late => f.write_str("the request's deadline has passed before the database answered"),
            Kind::Lost(why) => write!(f, "the connection to the database is lost: {why}"),
            Kind::Parameters { expected, given } => {
                write!(f, "expected {expected} parameters but got {given}")
            }
            Kind::Nameless(instead) => write!(f, "with `prepared = false` {instead}"),
            Kind::Engine(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Engine(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Error {
        Error(Kind::Engine(error))
    }
}
