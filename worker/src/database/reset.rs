//! What is undone between two requests, and how the server is asked to.

use std::rc::Rc;

use futures_util::future::try_join4;
use tokio_postgres::{Client as Engine, SimpleQueryMessage};

use super::frames::Transaction;
use crate::protocol::{Database, SessionReset};

/// All that a request can have left, but advisory locks, and statements that it prepared under names of its own.
/// `RESET ALL` alone keeps the role; the role goes with the session's user.
const SESSION: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; DISCARD TEMP; \
                       DISCARD SEQUENCES";
/// The rest. A statement that SQL has prepared is seen here and nowhere else: a function may have done it.
const LEFT: &str = "SELECT pg_catalog.pg_advisory_unlock_all()::pg_catalog.text, \
                    EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)::pg_catalog.text";

/// How a session is reset.
#[derive(Debug)]
pub(crate) struct Reset {
    kind: SessionReset,
    by_name: bool,
    pub(super) init_sql: Option<String>,
}

/// What a reset has brought to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Nothing that was prepared is known to the server any more.
    pub(super) forgets_names: bool,
}

impl Reset {
    pub(super) fn of(database: &Database) -> Reset {
        Reset { kind: database.reset, by_name: database.prepared, init_sql: database.init_sql.clone() }
    }

    /// Whether statements have names.
    pub(super) fn by_name(&self) -> bool {
        self.by_name
    }

    /// The work, all of which is on its way at its first poll. `has_unsent`: something may be before it of which nobody
    /// knows how it leaves the transaction. `wholly`: also what is prepared is forgotten.
    pub(super) fn begin(
        &self,
        engine: Rc<Engine>,
        transaction: Transaction,
        has_unsent: bool,
        wholly: bool,
    ) -> impl Future<Output = Result<Answer, tokio_postgres::Error>> + use<> {
        let rollback = (transaction != Transaction::None || has_unsent).then_some("ROLLBACK");
        let (kind, init) = (self.kind, self.init_sql.clone());
        let deallocate = wholly && self.by_name && kind != SessionReset::DiscardAll;
        async move {
            let base = match kind {
                SessionReset::Session => Some(SESSION),
                SessionReset::DiscardAll => Some("DISCARD ALL"),
                SessionReset::Off => None,
            };
            let left = (kind == SessionReset::Session).then_some(LEFT);
            let (.., found, ()) = try_join4(
                run(&engine, rollback),
                run(&engine, base),
                ask(&engine, left),
                run(&engine, init.as_deref().filter(|_| base.is_some())),
            )
            .await?;
            let forgets_names = deallocate || found || kind == SessionReset::DiscardAll;
            if deallocate || found {
                engine.batch_execute("DEALLOCATE ALL").await?;
            }
            Ok(Answer { forgets_names })
        }
    }
}

async fn run(engine: &Engine, sql: Option<&str>) -> Result<(), tokio_postgres::Error> {
    match sql {
        Some(sql) => engine.batch_execute(sql).await,
        None => Ok(()),
    }
}

/// Whether there is a statement that SQL has prepared.
async fn ask(engine: &Engine, sql: Option<&str>) -> Result<bool, tokio_postgres::Error> {
    let Some(sql) = sql else { return Ok(false) };
    let answers = engine.simple_query(sql).await?;
    Ok(answers.iter().any(|answer| matches!(answer, SimpleQueryMessage::Row(row) if row.get(1) == Some("true"))))
}
