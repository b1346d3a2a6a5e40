//! SQLite: a file, or a database in the worker's own memory.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use r2d2_sqlite::SqliteConnectionManager;
use r2d2_sqlite::rusqlite::types::Value;
use r2d2_sqlite::rusqlite::{Connection, Result};

use super::R2d2;

/// What a connection may be told, and keeps to itself until it is closed.
const SETTINGS: [&str; 23] = [
    "analysis_limit",
    "automatic_index",
    "busy_timeout",
    "cache_size",
    "cache_spill",
    "cell_size_check",
    "checkpoint_fullfsync",
    "defer_foreign_keys",
    "foreign_keys",
    "fullfsync",
    "ignore_check_constraints",
    "journal_size_limit",
    "legacy_alter_table",
    "locking_mode",
    "query_only",
    "read_uncommitted",
    "recursive_triggers",
    "reverse_unordered_selects",
    "secure_delete",
    "synchronous",
    "trusted_schema",
    "wal_autocheckpoint",
    "writable_schema",
];

/// A connection's state, as far as SQL can change it.
#[derive(Debug, Default, PartialEq)]
struct State {
    settings: Vec<Value>,
    /// Name and file.
    attached: BTreeSet<(String, String)>,
    /// Kind and name, in the order in which they can be dropped.
    temporary: BTreeSet<(String, String)>,
}

impl R2d2<SqliteConnectionManager> {
    /// Connections to SQLite. Of a request nothing is left to the next: no transaction, temporary table, view or trigger,
    /// attached database or `PRAGMA` of the connection; they are as the manager's `init` has left them. Functions and
    /// hooks that a request registers stay, as a field of the application would.
    pub fn sqlite(manager: SqliteConnectionManager) -> R2d2<SqliteConnectionManager> {
        // Of the one connection there is at a time.
        let first = Rc::new(RefCell::new(State::default()));
        let then = Rc::clone(&first);
        let welcome = move |connection: &mut Connection| {
            *first.borrow_mut() = state(connection).map_err(|error| error.to_string())?;
            Ok(())
        };
        let reset = move |connection: &mut Connection| {
            undo(connection, &then.borrow()).map_err(|error| error.to_string())?;
            let now = state(connection).map_err(|error| error.to_string())?;
            if now == *then.borrow() { Ok(()) } else { Err("it is not what it was".into()) }
        };
        R2d2 { manager, welcome: Box::new(welcome), reset: Box::new(reset) }
    }
}

fn undo(connection: &Connection, then: &State) -> Result<()> {
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    let now = state(connection)?;
    for (kind, name) in now.temporary.difference(&then.temporary) {
        connection.execute_batch(&format!("DROP {kind} IF EXISTS temp.{}", quoted(name)))?;
    }
    for (name, _) in now.attached.difference(&then.attached) {
        connection.execute_batch(&format!("DETACH {}", quoted(name)))?;
    }
    for ((setting, now), then) in SETTINGS.iter().zip(&now.settings).zip(&then.settings) {
        if now != then {
            connection.pragma_update(None, setting, then)?;
        }
    }
    Ok(())
}

fn state(connection: &Connection) -> Result<State> {
    let read = |setting: &&str| connection.pragma_query_value(None, setting, |row| row.get(0));
    Ok(State {
        settings: SETTINGS.iter().map(read).collect::<Result<_>>()?,
        attached: pairs(connection, "SELECT name, file FROM pragma_database_list WHERE name <> 'temp'")?,
        temporary: pairs(
            connection,
            "SELECT type, name FROM temp.sqlite_schema WHERE type <> 'index' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'",
        )?,
    })
}

fn pairs(connection: &Connection, sql: &str) -> Result<BTreeSet<(String, String)>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
