//! What is undone between two requests, and how the server is asked to.

use std::rc::Rc;

use futures_util::future::{try_join, try_join3};
use tokio_postgres::{Client as Engine, Statement};

use super::harmless::{self, Verdict};
use crate::clock;
use crate::protocol::{DatabaseRules, SessionReset};

/// All that a request can have left, but advisory locks, a seed, and statements that it prepared under names of its own.
/// `RESET ALL` alone keeps the role; the role goes with the session's user.
pub(super) const SESSION: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; DISCARD TEMP; \
                       DISCARD SEQUENCES";
/// Seeds `random()` anew, which nothing else undoes once a request has seeded it.
pub(super) const RESEED: &str = "pg_catalog.setseed(pg_catalog.date_part('microseconds', pg_catalog.clock_timestamp()) \
                                 OPERATOR(pg_catalog./) 6e7::pg_catalog.float8)";
/// The rest: whether SQL has prepared a statement is seen here and nowhere else, for a function may have done it. Behind it
/// stands [`RESEED`].
const LEFT: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) \
                    FROM pg_catalog.pg_advisory_unlock_all(),";

/// How a session is reset.
#[derive(Debug, Clone)]
pub(crate) struct Reset {
    kind: SessionReset,
    by_name: bool,
    pub(super) init_sql: Option<String>,
}

/// What a reset has found and made.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Nothing that was prepared is known to the server any more.
    pub(super) forgets_names: bool,
    /// [`LEFT`], prepared: it is asked after every request.
    pub(super) left: Option<Statement>,
    /// What the server says of the statement in question, if it was asked.
    pub(super) verdict: Option<Verdict>,
}

/// What is known of a session that is to be reset.
pub(super) struct Before {
    pub(super) engine: Rc<Engine>,
    /// Whether a transaction may be open.
    pub(super) may_be_open: bool,
    /// It goes to another worker, who knows no name of what is prepared.
    pub(super) is_given_away: bool,
    /// Settings had other values than usual, of which what was prepared meanwhile may have kept some in its constants.
    pub(super) has_other_settings: bool,
    /// [`LEFT`], if it is prepared.
    pub(super) left: Option<Statement>,
}

impl Reset {
    pub(super) fn of(database: &DatabaseRules) -> Reset {
        Reset { kind: database.reset, by_name: database.prepared, init_sql: database.init_sql.clone() }
    }

    /// Whether statements have names.
    pub(super) fn by_name(&self) -> bool {
        self.by_name
    }

    /// Whether it does nothing that would not be done as well by leaving it out after statements that leave nothing behind.
    pub(super) fn may_be_left_out(&self) -> bool {
        self.kind == SessionReset::Session && self.by_name
    }

    /// The work. All that has no need of an answer is on its way at its first poll. A question is asked of the clean session;
    /// what the server runs in order to answer it is undone as well.
    pub(super) fn begin(
        &self,
        before: Before,
        question: Option<String>,
    ) -> impl Future<Output = Result<Answer, Failure>> + use<> {
        let Reset { kind, by_name, init_sql } = self.clone();
        async move {
            let engine = Rc::clone(&before.engine);
            let answer = undo(kind, by_name, init_sql.as_deref(), before).await?;
            let Some(question) = question.filter(|_| !answer.forgets_names) else { return Ok(answer) };
            let verdict = harmless::ask(&engine, &question, clock::now()).await?;
            let before = Before {
                engine,
                may_be_open: false,
                is_given_away: false,
                has_other_settings: false,
                left: answer.left,
            };
            let answer = undo(kind, by_name, init_sql.as_deref(), before).await?;
            Ok(Answer { verdict: Some(verdict), ..answer })
        }
    }
}

async fn undo(kind: SessionReset, by_name: bool, init: Option<&str>, before: Before) -> Result<Answer, Failure> {
    let Before { engine, may_be_open, is_given_away, has_other_settings, left } = before;
    let rollback = may_be_open.then_some("ROLLBACK");
    let answer = match kind {
        SessionReset::Session if is_given_away || has_other_settings || !by_name => {
            // In one message: each costs both sides a turn.
            let all = format!("{SESSION}; SELECT pg_catalog.pg_advisory_unlock_all(), {RESEED}; DEALLOCATE ALL");
            try_join(run(&engine, rollback), run(&engine, Some(&all))).await?;
            // Dropped, it would have something to say to the server.
            Answer { forgets_names: true, left, verdict: None }
        }
        SessionReset::Session => {
            let ask = async {
                let left = match left {
                    Some(left) => left,
                    None => engine.prepare(&format!("{LEFT} {RESEED}")).await?,
                };
                let found: bool = engine.query_one(&left, &[]).await?.try_get(0)?;
                Ok((left, found))
            };
            let (_, _, (left, found)) = try_join3(run(&engine, rollback), run(&engine, Some(SESSION)), ask).await?;
            if found {
                engine.batch_execute("DEALLOCATE ALL").await?;
            }
            Answer { forgets_names: found, left: (!found).then_some(left), verdict: None }
        }
        SessionReset::DiscardAll => {
            try_join(run(&engine, rollback), run(&engine, Some("DISCARD ALL"))).await?;
            Answer { forgets_names: true, ..Answer::default() }
        }
        SessionReset::Off => {
            let names = is_given_away.then_some("DEALLOCATE ALL");
            try_join(run(&engine, rollback), run(&engine, names)).await?;
            Answer { forgets_names: names.is_some(), ..Answer::default() }
        }
    };
    if kind != SessionReset::Off {
        run(&engine, init).await?;
    }
    Ok(answer)
}

type Failure = tokio_postgres::Error;

async fn run(engine: &Engine, sql: Option<&str>) -> Result<(), Failure> {
    match sql {
        Some(sql) => engine.batch_execute(sql).await,
        None => Ok(()),
    }
}
