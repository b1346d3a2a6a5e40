//! The table of notes: every statement that this service knows.

use ratoon_worker::postgres::{Client, Error, Row, Transaction};
use serde::Serialize;

/// How many notes a list has.
const LISTED: i64 = 100;

/// A note, as programs see it.
#[derive(Debug, Serialize)]
pub(crate) struct Note {
    pub(crate) id: i64,
    pub(crate) text: String,
    /// When, in UTC.
    pub(crate) written: String,
}

impl Note {
    fn of(row: &Row) -> Result<Note, Error> {
        Ok(Note { id: row.try_get(0)?, text: row.try_get(1)?, written: row.try_get(2)? })
    }
}

/// The newest, newest first.
pub(crate) fn newest(client: &mut Client) -> Result<Vec<Note>, Error> {
    const NEWEST: &str = "select id, text, to_char(written at time zone 'utc', 'YYYY-MM-DD HH24:MI')
        from notes order by id desc limit $1";
    client.query(NEWEST, &[&LISTED])?.iter().map(Note::of).collect()
}

/// One of them.
pub(crate) fn find(client: &mut Client, id: i64) -> Result<Option<Note>, Error> {
    const ONE: &str =
        "select id, text, to_char(written at time zone 'utc', 'YYYY-MM-DD HH24:MI') from notes where id = $1";
    client.query_opt(ONE, &[&id])?.as_ref().map(Note::of).transpose()
}

/// Writes one.
pub(crate) fn add(transaction: &mut Transaction<'_>, text: &str) -> Result<Note, Error> {
    const ADD: &str = "insert into notes (text) values ($1)
        returning id, text, to_char(written at time zone 'utc', 'YYYY-MM-DD HH24:MI')";
    Note::of(&transaction.query_one(ADD, &[&text])?)
}

/// Removes one; whether it was there.
pub(crate) fn remove(client: &mut Client, id: i64) -> Result<bool, Error> {
    Ok(client.execute("delete from notes where id = $1", &[&id])? > 0)
}
