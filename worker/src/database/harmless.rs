//! Statements that leave nothing behind in a session, because the server says so: then nothing has to be undone.
//!
//! PostgreSQL knows of each function whether it may run in a parallel worker, which is forbidden to whatever changes a
//! setting, takes a lock beyond its transaction, touches a sequence, a cursor, a prepared statement or a temporary table.
//! And it knows of each plan whether all of it may: asked to (`debug_parallel_query`), it puts the whole of such a plan under
//! one Gather. That is looked for here. The word of PostgreSQL and of an extension is believed; where the database's own
//! users have labelled a function so, nobody's is.
//!
//! Owns the question, how its answer is read, and for how long it is believed. Never asks by itself.

use std::collections::HashMap;

use tokio_postgres::types::Type;
use tokio_postgres::{SimpleQueryMessage, Statement};

/// The first version of the server whose own functions were gone through, each label with what the function does.
const FIRST_VERSION: u32 = 15;
/// So long a statement is believed to leave nothing behind: a view or a policy may become another thing meanwhile.
const BELIEVED: u64 = 1_000_000_000;
/// So long it is not asked again of one that may leave something.
const REMEMBERED: u64 = 60_000_000_000;
/// As many verdicts are kept: whoever writes values into the text has a new one every time.
const MOST: usize = 1024;
/// What the question calls the statement.
const NAME: &str = "ratoon_is_it_harmless";
/// Types from here on are not PostgreSQL's own, and what their functions do is not known.
const FIRST_USER_OID: u32 = 16384;

/// What is known of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server has lately said that it leaves nothing behind.
    Harmless,
    /// It has not, when it was asked.
    Harmful,
    /// It has not been asked lately.
    Unknown,
}

/// What the server has said.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    by_key: HashMap<Box<str>, Said>,
}

#[derive(Debug)]
struct Said {
    is_harmless: bool,
    until: u64,
}

impl Verdicts {
    pub(super) fn of(&self, key: &str, now: u64) -> Verdict {
        match self.by_key.get(key).filter(|said| now < said.until) {
            None => Verdict::Unknown,
            Some(Said { is_harmless: true, .. }) => Verdict::Harmless,
            Some(Said { is_harmless: false, .. }) => Verdict::Harmful,
        }
    }

    /// What was asked at this moment, in the clock's nanoseconds, has this answer.
    pub(super) fn put(&mut self, key: &str, is_harmless: bool, asked: u64) {
        if self.by_key.len() >= MOST {
            self.by_key.clear();
        }
        let until = asked.saturating_add(if is_harmless { BELIEVED } else { REMEMBERED });
        self.by_key.insert(key.into(), Said { is_harmless, until });
    }
}

/// A statement that the server is to be asked about.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// Under which the answer is kept.
    pub(super) key: String,
    text: String,
    types: Vec<Type>,
    is_possible: bool,
}

impl Question {
    pub(super) fn new(key: &str, text: &str, statement: &Statement) -> Question {
        let types = statement.params().to_vec();
        let is_known = |each: &Type| each.oid() < FIRST_USER_OID;
        let is_possible = types.iter().all(is_known) && statement.columns().iter().all(|each| is_known(each.type_()));
        Question { key: key.to_owned(), text: text.to_owned(), types, is_possible }
    }

    /// As SQL for a server of this version, without a trace whatever the answer is; `None` where none is needed to know that
    /// it cannot be vouched for. Behind an error `NAME` may be prepared: [`Question::UNDO`].
    pub(super) fn sql(&self, version: Option<u32>) -> Option<String> {
        let version = version.filter(|version| *version >= FIRST_VERSION && self.is_possible)?;
        let switch = if version < 16 { "force_parallel_mode" } else { "debug_parallel_query" };
        let types: Vec<String> =
            self.types.iter().map(|each| format!("pg_catalog.\"{}\"", each.name().replace('"', "\"\""))).collect();
        let nulls = vec!["NULL"; types.len()].join(", ");
        let (types, nulls) = match types.is_empty() {
            true => (String::new(), String::new()),
            false => (format!("({})", types.join(", ")), format!("({nulls})")),
        };
        // The text may end in a comment.
        Some(format!(
            "BEGIN; SELECT EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.oid >= {FIRST_USER_OID} AND p.proparallel = 's' \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
             AND d.objid = p.oid AND d.deptype = 'e')); \
             SET LOCAL {switch} = on; SET LOCAL max_parallel_workers_per_gather = 2; \
             SET LOCAL plan_cache_mode = force_generic_plan; \
             PREPARE {NAME}{types} AS {text}\n; EXPLAIN (COSTS OFF) EXECUTE {NAME}{nulls}; DEALLOCATE {NAME}; ROLLBACK",
            text = self.text
        ))
    }

    /// What makes good for a question that has failed; the second of them may fail, too.
    pub(super) const UNDO: [&str; 2] = ["ROLLBACK", "DEALLOCATE ratoon_is_it_harmless"];
}

/// Whether the answer is that nothing is left behind.
pub(super) fn is_harmless(answer: &[SimpleQueryMessage]) -> bool {
    let rows = answer.iter().filter_map(|each| match each {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    are_harmless(rows)
}

/// The same of its rows: whether users have labelled functions, and the plan, line by line.
fn are_harmless<'r>(mut rows: impl Iterator<Item = &'r str>) -> bool {
    let nobody_has_labelled = rows.next() == Some("f");
    let is_gathered = rows.next() == Some("Gather");
    // Those of the Gather itself stand deeper than it and no deeper than its child.
    let of_the_top = rows.take_while(|line| !line.trim_start().starts_with("->"));
    let is_whole = of_the_top.map(str::trim).any(|line| line == "Single Copy: true");
    nobody_has_labelled && is_gathered && is_whole
}

/// The number before the first dot of a server's version.
pub(super) fn major(version: &str) -> Option<u32> {
    version.split(|each: char| !each.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_plan_under_one_gather_is_harmless_and_only_where_no_user_has_labelled_a_function() {
        let plan = ["Gather", "  Workers Planned: 1", "  Single Copy: true", "  ->  Index Scan using n_pkey on n"];
        let with = |first: &'static str, lines: &[&'static str]| {
            are_harmless([first].into_iter().chain(lines.iter().copied()))
        };
        assert!(with("f", &plan));
        assert!(!with("t", &plan));
        assert!(!with("f", &["Result"]));
        assert!(!with("f", &["Gather", "  Workers Planned: 2", "  ->  Parallel Seq Scan on n"]));
        assert!(!with("f", &["Limit", "  ->  Gather", "        Workers Planned: 1", "        Single Copy: true"]));
        assert!(!with("f", &["Gather", "  ->  Gather", "        Single Copy: true"]));
        assert!(!with("f", &[]));
    }

    #[test]
    fn a_verdict_is_believed_for_its_time_and_no_longer() {
        let mut verdicts = Verdicts::default();
        assert_eq!(verdicts.of("a", 5), Verdict::Unknown);
        verdicts.put("a", true, 5);
        verdicts.put("b", false, 5);
        assert_eq!(verdicts.of("a", 5 + BELIEVED - 1), Verdict::Harmless);
        assert_eq!(verdicts.of("a", 5 + BELIEVED), Verdict::Unknown);
        assert_eq!(verdicts.of("b", 5 + BELIEVED), Verdict::Harmful);
        assert_eq!(verdicts.of("b", 5 + REMEMBERED), Verdict::Unknown);
    }

    #[test]
    fn a_version_is_what_stands_before_the_first_dot() {
        assert_eq!(major("15.20 (Debian 15.20-0+deb12u1)"), Some(15));
        assert_eq!(major("18beta1"), Some(18));
        assert_eq!(major("unknown"), None);
    }
}
