//! An application with connections that are not the pool's database: one by the `postgres` crate, one to SQLite. A request's
//! path says which, and what is done; its body is SQL, and the answer its rows.

use std::io::Read;
use std::time::Duration;

use r2d2_postgres::PostgresConnectionManager;
use r2d2_postgres::postgres::{Client, Config, NoTls, SimpleQueryMessage};
use r2d2_sqlite::SqliteConnectionManager;
use r2d2_sqlite::rusqlite::{self, types::Value};
use ratoon_worker::{App, Context, Keeper, R2d2, Request, Response, Result, Settings};
use serde::Deserialize;

struct Managers {
    postgres: Keeper<R2d2<PostgresConnectionManager<NoTls>>>,
    sqlite: Keeper<R2d2<SqliteConnectionManager>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Places {
    #[serde(default)]
    postgres: String,
    /// A file; none: in memory.
    sqlite: Option<String>,
}

impl App for Managers {
    fn load(settings: Settings) -> Result<Self> {
        let places: Places = settings.parse()?;
        let mut config: Config = places.postgres.parse()?;
        config.connect_timeout(Duration::from_secs(3));
        let sqlite = places.sqlite.map_or_else(SqliteConnectionManager::memory, SqliteConnectionManager::file);
        let sqlite = sqlite.with_init(|connection| {
            connection
                .execute_batch("PRAGMA foreign_keys = ON; ATTACH ':memory:' AS first; CREATE TEMP TABLE ours (x);")
        });
        Ok(Managers {
            postgres: Keeper::new(R2d2::postgres(PostgresConnectionManager::new(config, NoTls))),
            sqlite: Keeper::new(R2d2::sqlite(sqlite)),
        })
    }

    fn handle(&mut self, mut request: Request, context: &mut Context) -> Result<Response> {
        let path = request.uri().path().to_owned();
        let mut sql = String::new();
        request.body_mut().read_to_string(&mut sql)?;
        let answer = match path.as_str() {
            "/ok" => "ok".into(),
            "/leak" => {
                std::mem::forget(std::fs::File::open("/dev/null")?);
                "leaked".into()
            }
            "/postgres" => rows(&mut *self.postgres.acquire(context)?, &sql)?,
            "/postgres-panic" => {
                rows(&mut *self.postgres.acquire(context)?, &sql)?;
                panic!("as asked");
            }
            "/postgres-retried" => {
                let mut attempts = 0;
                let said = self.postgres.retry(context, |client| -> Result<String> {
                    attempts += 1;
                    let sql = if attempts == 1 { sql.as_str() } else { "SELECT 'again'" };
                    Ok(rows(client, sql)?)
                })?;
                format!("{attempts}: {said}")
            }
            "/sqlite" => queried(&mut *self.sqlite.acquire(context)?, &sql)?,
            "/sqlite-panic" => {
                queried(&mut *self.sqlite.acquire(context)?, &sql)?;
                panic!("as asked");
            }
            other => format!("nothing is done for {other}"),
        };
        Ok(Response::new(answer.into()))
    }
}

fn rows(client: &mut Client, sql: &str) -> std::result::Result<String, r2d2_postgres::postgres::Error> {
    let rows = client.simple_query(sql)?;
    let text = rows.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("null").to_owned()),
        _ => None,
    });
    Ok(text.collect::<Vec<_>>().join("\n"))
}

/// All but the last statement are only executed.
fn queried(connection: &mut rusqlite::Connection, sql: &str) -> rusqlite::Result<String> {
    let (before, last) = sql.rsplit_once(';').unwrap_or(("", sql));
    connection.execute_batch(before)?;
    let mut statement = connection.prepare(last)?;
    let mut rows = statement.query([])?;
    let mut text = Vec::new();
    while let Some(row) = rows.next()? {
        text.push(match row.get(0)? {
            Value::Null => "null".into(),
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Blob(bytes) => format!("{} bytes", bytes.len()),
        });
    }
    Ok(text.join("\n"))
}

fn main() -> std::process::ExitCode {
    ratoon_worker::main::<Managers>()
}
