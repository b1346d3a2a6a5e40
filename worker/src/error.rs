//! The error a handler returns: any error, with the status its client is to see.

use std::fmt;

use http::StatusCode;

/// What an application's function returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, and the status of the response that is sent in its place: 500 unless [`Error::with_status`] says
/// otherwise. The error's text goes to the log, never to the client, who sees the status and its standard phrase.
///
/// Every [`std::error::Error`] converts into it, so `?` works. For the same reason it is not one itself.
pub struct Error {
    status: StatusCode,
    cause: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    /// An error that is only a sentence.
    pub fn msg(message: impl Into<String>) -> Error {
        Error { status: StatusCode::INTERNAL_SERVER_ERROR, cause: message.into().into() }
    }

    /// The same error, answered with this status. A status below 400 is not an error's and counts as 500.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Error {
        self.status = if status.as_u16() < 400 { StatusCode::INTERNAL_SERVER_ERROR } else { status };
        self
    }

    /// Whether it is worth the client's while to ask again, a little later.
    pub(crate) fn is_temporary(&self) -> bool {
        self.cause.downcast_ref().is_some_and(crate::database::Error::is_unavailable)
    }

    /// The status its client sees.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Error {
        let cause: Box<dyn std::error::Error + Send + Sync> = Box::new(cause);
        let database = cause.downcast_ref::<crate::database::Error>();
        Error { status: database.map_or(StatusCode::INTERNAL_SERVER_ERROR, crate::database::Error::status), cause }
    }
}

/// The error and what caused it, in one line: `cannot read cart: No such file or directory (os error 2)`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        let mut cause = self.cause.source();
        while let Some(deeper) = cause {
            write!(f, ": {deeper}")?;
            cause = deeper.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self, self.status.as_u16())
    }
}
