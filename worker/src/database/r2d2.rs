//! The managers of r2d2, of which there is one for nearly every database, as kinds of connection a `Keeper` keeps.
//!
//! Takes r2d2's trait and nothing of its pool: no thread is started. r2d2 knows no reset, so each manager comes with one;
//! those for the `postgres` crate and for SQLite are here.

#[cfg(feature = "r2d2-postgres")]
mod postgres;
#[cfg(feature = "r2d2-sqlite")]
mod sqlite;

use std::fmt;
use std::time::Duration;

use super::keeper::Freshness;
use super::manager::ManageConnection;

/// What is done with a connection.
type Deed<C> = Box<dyn Fn(&mut C) -> Result<(), String>>;

/// A manager of r2d2, and how its connections are cleaned.
///
/// As in r2d2's own pool, a connection is asked whether it still works each time a request first asks for it: few of
/// these managers notice by themselves that the other end has gone. Give their connections timeouts of their own.
pub struct R2d2<M: r2d2::ManageConnection> {
    manager: M,
    /// With a new connection.
    welcome: Deed<M::Connection>,
    /// With one that a request has used.
    reset: Deed<M::Connection>,
}

impl<M: r2d2::ManageConnection> R2d2<M> {
    /// `reset` undoes what a request may have left behind: see [`ManageConnection::reset`].
    pub fn new(manager: M, reset: impl Fn(&mut M::Connection) -> Result<(), M::Error> + 'static) -> R2d2<M> {
        let reset = move |connection: &mut M::Connection| reset(connection).map_err(|error| error.to_string());
        R2d2 { manager, welcome: Box::new(|_| Ok(())), reset: Box::new(reset) }
    }
}

impl<M: r2d2::ManageConnection> ManageConnection for R2d2<M> {
    type Connection = M::Connection;
    type Error = String;

    fn freshness(&self) -> Freshness {
        Freshness { validate_after: Duration::ZERO, ..Freshness::default() }
    }

    fn connect(&self) -> Result<M::Connection, String> {
        let mut connection = self.manager.connect().map_err(|error| error.to_string())?;
        (self.welcome)(&mut connection)?;
        Ok(connection)
    }

    fn is_valid(&self, connection: &mut M::Connection) -> Result<(), String> {
        self.manager.is_valid(connection).map_err(|error| error.to_string())
    }

    fn has_broken(&self, connection: &mut M::Connection) -> bool {
        self.manager.has_broken(connection)
    }

    fn reset(&self, connection: &mut M::Connection) -> Result<(), String> {
        (self.reset)(connection)
    }
}

impl<M: r2d2::ManageConnection> fmt::Debug for R2d2<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("R2d2").finish_non_exhaustive()
    }
}
