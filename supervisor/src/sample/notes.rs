//! The sample's routes that need a database: a small table of notes, and who is asked.
//!
//! Owns the table `ratoon_notes`, which the first note creates.

use std::io::Read;

use ratoon_worker::http::StatusCode;
use ratoon_worker::postgres::{self, Client, SqlState};
use ratoon_worker::{Context, Request, Response, Result};
use serde_json::json;

use super::{JSON, TEXT, answer, number, status};

/// How many notes a list has, the newest first.
const LISTED: i64 = 100;

const CREATE: &str = "create table if not exists ratoon_notes (
    id bigint generated always as identity primary key,
    text text not null,
    written timestamptz not null default now()
)";

/// `GET /db?id=`: one row, by its primary key.
pub(super) fn row(request: &Request, context: &mut Context) -> Result<Response> {
    let id = i64::try_from(number(request, "id", 1)?)?;
    with_database(context, |client| {
        let found = client.query_opt("select text from ratoon_notes where id = $1", &[&id]);
        let found = found.or_else(|error| if is_no_table(&error) { Ok(None) } else { Err(error) })?;
        match found {
            Some(row) => answer(JSON, format!("{}\n", json!({ "id": id, "text": row.try_get::<_, &str>(0)? }))),
            None => status(StatusCode::NOT_FOUND, "there is no such note; POST /notes writes one"),
        }
    })
}

/// `GET /notes`: the newest.
pub(super) fn list(context: &mut Context) -> Result<Response> {
    const NEWEST: &str = "select id, text, to_char(written at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
        from ratoon_notes order by id desc limit $1";
    with_database(context, |client| {
        let rows = client.query(NEWEST, &[&LISTED]);
        let rows = rows.or_else(|error| if is_no_table(&error) { Ok(Vec::new()) } else { Err(error) })?;
        let note = |row: &postgres::Row| -> Result<_> {
            let (id, text, written): (i64, &str, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(json!({ "id": id, "text": text, "written": written }))
        };
        let notes = rows.iter().map(note).collect::<Result<Vec<_>>>()?;
        answer(JSON, format!("{}\n", json!(notes)))
    })
}

/// `POST /notes`: the body is the text.
pub(super) fn write(request: Request, context: &mut Context) -> Result<Response> {
    let mut text = String::new();
    let read = request.into_body().read_to_string(&mut text);
    if read.is_err() || text.trim().is_empty() || text.contains('\0') {
        return status(StatusCode::BAD_REQUEST, "a note is some text in UTF-8");
    }
    with_database(context, |client| {
        let insert = |client: &mut Client| {
            client.query_one("insert into ratoon_notes (text) values ($1) returning id", &[&text])
        };
        let row = match insert(client) {
            Err(error) if is_no_table(&error) => {
                create(client)?;
                insert(client)?
            }
            written => written?,
        };
        let mut response = answer(JSON, format!("{}\n", json!({ "id": row.try_get::<_, i64>(0)? })))?;
        *response.status_mut() = StatusCode::CREATED;
        Ok(response)
    })
}

/// `GET /backend`: the process of the server that serves this request.
pub(super) fn backend(context: &mut Context) -> Result<Response> {
    with_database(context, |client| {
        let pid: i32 = client.query_one("select pg_backend_pid()", &[])?.try_get(0)?;
        answer(TEXT, format!("{pid}\n"))
    })
}

/// Has the database answer, or says that there is none. One that is out of reach is the library's to answer.
fn with_database(context: &mut Context, work: impl FnOnce(&mut Client) -> Result<Response>) -> Result<Response> {
    match context.database() {
        Ok(client) => work(client),
        Err(error) if error.is_not_configured() => status(
            StatusCode::SERVICE_UNAVAILABLE,
            "this route needs a database, and none is configured: give the pool a [pool.NAME.database] with a url",
        ),
        Err(error) => Err(error.into()),
    }
}

/// Two that create it at once would be told that it is there already.
fn create(client: &mut Client) -> Result<(), postgres::Error> {
    let mut transaction = client.transaction()?;
    transaction.batch_execute("select pg_advisory_xact_lock(7426541)")?;
    transaction.batch_execute(CREATE)?;
    transaction.commit()
}

fn is_no_table(error: &postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNDEFINED_TABLE)
}
