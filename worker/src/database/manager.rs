//! What a kind of connection must be able to do for a [`Keeper`](super::Keeper) to keep one of it fresh and clean.

use std::fmt;

use super::keeper::Freshness;

/// A kind of connection: how one is made, looked at and cleaned.
///
/// It is r2d2's trait of the same name with one thing more, [`reset`](ManageConnection::reset); with the feature `r2d2`,
/// `R2d2` makes the one of the other. Nothing here need be `Send` or `Sync`: a worker has one thread.
///
/// A manager is made in `load` or `start` and must not connect before it is told to: a connection that is open when a
/// worker is forked would be shared by all workers. No method can be interrupted at the request's deadline, so whatever
/// waits should have a timeout of its own, well below `request_timeout`.
pub trait ManageConnection {
    /// What the handler gets.
    type Connection;
    /// Why something failed. It is logged and may reach a client's error page through the application: no password
    /// belongs into it.
    type Error: fmt::Display;

    /// How long a connection is believed in. Where [`has_broken`](ManageConnection::has_broken) does not notice that the
    /// other end has gone, `validate_after` had better be zero.
    fn freshness(&self) -> Freshness {
        Freshness::default()
    }

    /// Makes a new connection.
    ///
    /// # Errors
    /// Why there is none.
    fn connect(&self) -> Result<Self::Connection, Self::Error>;

    /// Whether the other end still answers. May cost a round trip.
    ///
    /// # Errors
    /// Why not; the connection is then replaced.
    fn is_valid(&self, connection: &mut Self::Connection) -> Result<(), Self::Error>;

    /// Whether the connection is known to be of no more use. Costs no round trip.
    fn has_broken(&self, connection: &mut Self::Connection) -> bool;

    /// Undoes what a request may have left behind: an open transaction, settings, temporary things, locks. Runs when the
    /// response has left, and counts against `request_timeout`.
    ///
    /// # Errors
    /// Why it cannot be known to be clean; the connection is then replaced.
    fn reset(&self, connection: &mut Self::Connection) -> Result<(), Self::Error>;
}
