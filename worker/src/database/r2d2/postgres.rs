//! Connections of the `postgres` crate: for code that is written for it, where the pool's own database will not do.

use r2d2_postgres::PostgresConnectionManager;
use r2d2_postgres::postgres::error::SqlState;
use r2d2_postgres::postgres::tls::{MakeTlsConnect, TlsConnect};
use r2d2_postgres::postgres::{Client, Error, SimpleQueryMessage, Socket};

use super::R2d2;
use crate::database::reset::{RESEED, SESSION};

/// Ends whatever transaction is open, without a complaint in the server's log if there is none.
const ROLLBACK: &str = "BEGIN; ROLLBACK";
/// What is not undone by words alone; the names are those of statements that SQL has prepared.
const LEFT: &str = "SELECT pg_catalog.pg_advisory_unlock_all(); \
                    SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql";

impl<T> R2d2<PostgresConnectionManager<T>>
where
    T: MakeTlsConnect<Socket> + Clone + 'static + Sync + Send,
    T::TlsConnect: Send,
    T::Stream: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    /// Connections of the `postgres` crate. Of a request's session nothing is left to the next: no transaction, setting,
    /// role, cursor, temporary table, advisory lock, `LISTEN`, nor a statement prepared by SQL.
    ///
    /// Set `connect_timeout` and `tcp_user_timeout` in its configuration. A host's name has that crate start a thread to
    /// resolve it; `hostaddr` or a Unix socket spares the worker that.
    pub fn postgres(manager: PostgresConnectionManager<T>) -> R2d2<PostgresConnectionManager<T>> {
        R2d2::new(manager, reset)
    }
}

fn reset(client: &mut Client) -> Result<(), Error> {
    let undo = format!("{ROLLBACK}; {SESSION}; SELECT {RESEED}; {LEFT}");
    let left = match client.simple_query(&undo) {
        Err(error) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {
            client.batch_execute("ROLLBACK")?;
            client.simple_query(&undo)?
        }
        left => left?,
    };
    for name in left.iter().filter_map(prepared) {
        client.batch_execute(&format!("DEALLOCATE \"{}\"", name.replace('"', "\"\"")))?;
    }
    Ok(())
}

fn prepared(message: &SimpleQueryMessage) -> Option<&str> {
    match message {
        SimpleQueryMessage::Row(row) => row.try_get("name").ok().flatten(),
        _ => None,
    }
}
