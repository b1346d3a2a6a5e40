//! Statements that leave nothing behind in a session, because the server says so: after them nothing has to be undone.
//!
//! PostgreSQL knows of each of its functions whether it may run in a parallel worker, which is forbidden to whatever changes a
//! setting, a role, a sequence, a cursor, a prepared statement, a temporary table, or takes a lock beyond its transaction.
//! And it knows of each statement whether all of it may, views and policies included: asked to (`debug_parallel_query`), it
//! puts the whole of its plan under one Gather. That is looked for here. It looks at the statement as it is written, though,
//! and not at what planner and types put in its place (negators, casts, comparisons, checks of domains, constants that are
//! folded): so it is believed only where there is nothing to be put there but PostgreSQL's own. Nor does it look at that by which
//! a sample of a table is repeated (REPEATABLE): a plan with a sample is not believed.
//!
//! Owns the question, how its answer is read, and for how long it is believed. Never says when it is asked: that is the
//! [`reset`](super::reset)'s affair, for it has to be asked of a clean session, which may be unclean afterwards.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client as Engine, Error, SimpleQueryMessage, Statement};

/// The first version of the server whose own functions were gone through, each label with what the function does.
const FIRST_VERSION: u32 = 15;
/// So long a statement is believed to leave nothing behind: a view or a policy may become another thing meanwhile.
const BELIEVED: u64 = 1_000_000_000;
/// So long it is not asked again about one that may leave something.
const REMEMBERED: u64 = 60_000_000_000;
/// So often a statement is executed before it is asked about: the question costs as much as some ten resets.
const OFTEN: u32 = 64;
/// So long no other question is asked in a session, since each has all that is prepared there planned anew.
pub(super) const PAUSE: u64 = 250_000_000;
/// Types from here on are not PostgreSQL's own, and what their functions do is not known.
const FIRST_OF_USERS: u32 = 16384;

/// What is known of a prepared statement.
#[derive(Debug, Default)]
pub(super) struct Standing {
    verdict: Verdict,
    /// How often it was executed while its verdict was unknown.
    runs: u32,
}

/// What the server has said of it, until a moment in the clock's nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Verdict {
    /// Nothing.
    #[default]
    Unknown,
    /// It leaves nothing behind.
    Harmless { until: u64 },
    /// It may.
    Harmful { until: u64 },
}

/// What it means that a statement has been executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// It has left nothing.
    Harmless,
    /// It may have left something.
    Harmful,
    /// It may have left something, and is executed so often that it would be worth knowing.
    Questionable,
}

impl Verdict {
    /// Of one that cannot be vouched for, whatever the server says.
    pub(super) const NEVER: Verdict = Verdict::Harmful { until: u64::MAX };
}

impl Standing {
    /// It has been executed.
    pub(super) fn run(&mut self, now: u64) -> Run {
        match self.verdict {
            Verdict::Harmless { until } if now < until => return Run::Harmless,
            Verdict::Harmful { until } if now < until => return Run::Harmful,
            Verdict::Unknown => {}
            Verdict::Harmless { .. } | Verdict::Harmful { .. } => *self = Standing::default(),
        }
        self.runs = self.runs.saturating_add(1);
        if self.runs < OFTEN { Run::Harmful } else { Run::Questionable }
    }

    /// The server has said this.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        *self = Standing { verdict, runs: 0 };
    }
}

/// Whether there is anything in the database that could run unseen: a function that is not PostgreSQL's own and not a
/// trigger's, or, since one of PostgreSQL's own could stand behind it, an operator, a member of an operator class, a cast
/// with a function, or the CHECK of a domain. Whose it is does not matter.
const SOMETHING_COULD_RUN_UNSEEN: &str = "SELECT \
    EXISTS (SELECT FROM pg_catalog.pg_proc WHERE oid OPERATOR(pg_catalog.>=) 16384 \
    AND prorettype OPERATOR(pg_catalog.<>) 2279 AND prorettype OPERATOR(pg_catalog.<>) 3838) \
    OR EXISTS (SELECT FROM pg_catalog.pg_operator WHERE oid OPERATOR(pg_catalog.>=) 16384) \
    OR EXISTS (SELECT FROM pg_catalog.pg_amop WHERE oid OPERATOR(pg_catalog.>=) 16384) \
    OR EXISTS (SELECT FROM pg_catalog.pg_amproc WHERE oid OPERATOR(pg_catalog.>=) 16384) \
    OR EXISTS (SELECT FROM pg_catalog.pg_cast WHERE oid OPERATOR(pg_catalog.>=) 16384 \
    AND castfunc OPERATOR(pg_catalog.<>) 0) \
    OR EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE oid OPERATOR(pg_catalog.>=) 16384 \
    AND contypid OPERATOR(pg_catalog.<>) 0)";

/// The question about a statement that a server of this version knows by this name, as SQL that leaves no setting and no plan
/// behind; `None` where no question is needed to know that it cannot be vouched for.
pub(super) fn question(name: &str, statement: &Statement, version: Option<u32>) -> Option<String> {
    let version = version.filter(|version| *version >= FIRST_VERSION)?;
    let types = statement.params().iter().chain(statement.columns().iter().map(|column| column.type_()));
    // What has no columns makes a table, or opens a cursor.
    if statement.columns().is_empty() || types.into_iter().any(|each| each.oid() >= FIRST_OF_USERS) {
        return None;
    }
    let switch = if version < 16 { "force_parallel_mode" } else { "debug_parallel_query" };
    let nulls = match statement.params().len() {
        0 => String::new(),
        some => format!("({})", vec!["NULL"; some].join(", ")),
    };
    // The plan that is kept for later executions would be shown: it is made anew, at the cost that it has, and must not stay.
    Some(format!(
        "DISCARD PLANS; BEGIN; SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '100ms'; \
         {SOMETHING_COULD_RUN_UNSEEN}; SET LOCAL {switch} = on; \
         SET LOCAL max_parallel_workers_per_gather = 2; SET LOCAL parallel_setup_cost = 0; \
         SET LOCAL parallel_tuple_cost = 0; SET LOCAL plan_cache_mode = force_generic_plan; \
         EXPLAIN (COSTS OFF) EXECUTE {name}{nulls}; COMMIT; DISCARD PLANS"
    ))
}

/// Asks it. Until when the answer is believed counts from the moment before.
pub(super) async fn ask(engine: &Engine, question: &str, now: u64) -> Result<Verdict, Error> {
    match engine.simple_query(question).await {
        Ok(answer) if is_harmless(&answer) => Ok(Verdict::Harmless { until: now.saturating_add(BELIEVED) }),
        Ok(_) => Ok(Verdict::Harmful { until: now.saturating_add(REMEMBERED) }),
        Err(error) => {
            let Some(code) = error.code() else { return Err(error) };
            engine.batch_execute("ROLLBACK; DISCARD PLANS").await?;
            // What else it objects to it would object to again, with a line in its log each time.
            let is_busy = [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED].contains(code);
            Ok(if is_busy { Verdict::Harmful { until: now.saturating_add(REMEMBERED) } } else { Verdict::NEVER })
        }
    }
}

fn is_harmless(answer: &[SimpleQueryMessage]) -> bool {
    let rows = answer.iter().filter_map(|each| match each {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default()),
        _ => None,
    });
    are_harmless(rows)
}

/// The same of its rows: whether something could run unseen, and the plan, line by line.
fn are_harmless<'r>(mut rows: impl Iterator<Item = &'r str>) -> bool {
    let nothing_could = rows.next() == Some("f");
    let is_gathered = rows.next() == Some("Gather");
    let (mut is_whole, mut is_of_the_top, mut is_alone) = (false, true, true);
    for row in rows {
        let line = row.trim_start();
        // A second plan, or lines about something else.
        is_alone &= line.len() < row.len() && !line.is_empty();
        is_alone &= !line.starts_with("Sampling:");
        is_of_the_top &= !line.starts_with("->") && !line.starts_with("InitPlan");
        is_whole |= is_of_the_top && line == "Single Copy: true";
    }
    nothing_could && is_gathered && is_whole && is_alone
}

/// The number before the first dot of a server's version.
pub(super) fn major(version: &str) -> Option<u32> {
    version.split(|each: char| !each.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_plan_under_one_gather_is_harmless_and_only_where_nothing_could_run_unseen() {
        let plan = ["Gather", "  Workers Planned: 1", "  Single Copy: true", "  ->  Index Scan using n_pkey on n"];
        let with = |first: &'static str, lines: &[&'static str]| {
            are_harmless([first].into_iter().chain(lines.iter().copied()))
        };
        assert!(with("f", &plan));
        assert!(!with("t", &plan));
        assert!(!with("", &plan));
        assert!(!with("f", &["Result"]));
        assert!(!with("f", &["Gather", "  Workers Planned: 2", "  ->  Parallel Seq Scan on n"]));
        assert!(!with("f", &["Limit", "  ->  Gather", "        Workers Planned: 1", "        Single Copy: true"]));
        assert!(!with("f", &["Gather", "  ->  Gather", "        Single Copy: true"]));
        assert!(!with("f", &["Gather", "  InitPlan 1", "    Single Copy: true", "  ->  Result"]));
        assert!(!with("f", &[]));
        for more in ["", "Result", "Gather", "        Sampling: system (1) REPEATABLE (pg_advisory_lock(1))"] {
            assert!(!with("f", &[&plan[..], &[more]].concat()), "{more:?}");
        }
    }

    #[test]
    fn a_verdict_is_believed_for_its_time_and_asked_for_when_it_is_worth_it() {
        let mut standing = Standing::default();
        for _ in 1..OFTEN {
            assert_eq!(standing.run(5), Run::Harmful);
        }
        assert_eq!(standing.run(5), Run::Questionable);
        assert_eq!(standing.run(5), Run::Questionable);
        standing.judge(Verdict::Harmless { until: 10 });
        assert_eq!(standing.run(9), Run::Harmless);
        for _ in 1..OFTEN {
            assert_eq!(standing.run(10), Run::Harmful);
        }
        assert_eq!(standing.run(10), Run::Questionable);
        standing.judge(Verdict::Harmful { until: 20 });
        for _ in 0..2 * OFTEN {
            assert_eq!(standing.run(19), Run::Harmful);
        }
    }

    #[test]
    fn a_version_is_what_stands_before_the_first_dot() {
        assert_eq!(major("15.20 (Debian 15.20-0+deb12u1)"), Some(15));
        assert_eq!(major("18beta1"), Some(18));
        assert_eq!(major("unknown"), None);
    }
}
