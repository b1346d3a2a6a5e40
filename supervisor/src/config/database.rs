//! `[pool.NAME.database]`: the PostgreSQL server behind a pool.
//!
//! Owns its keys with their defaults and ranges, and what is wrong with them taken together. No message of it holds what
//! stands in the file: a URL may have a password in it, and may stand at the wrong key. Never looks at the world:
//! `secrets` reads the URL where it stands elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ratoon_worker::postgres;
use ratoon_worker::protocol::{Secret, SessionReset};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::count::Count;
use super::document::Mistake;
use super::duration::{Patience, Timeout};
use super::form::{Form, Given};
use super::percent::{Percent, Share};
use super::{Config, Pool};

/// What an example of a URL looks like.
const EXAMPLE: &str = "postgres://shop@db.example/shop";

/// The longest time that fits where the server, or the kernel, counts milliseconds in 31 bits: 24 days and a bit.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// Without `connections` no pool has more.
const USUAL_CONNECTIONS: u32 = 10;

/// The keys of a pool's database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Where it is and as whom to log in; of a valid configuration that was loaded always there, wherever it was read.
    pub url: Option<Secret>,
    /// The file in which that stands, absolute; instead of `url`.
    #[serde(deserialize_with = "file")]
    pub url_file: Option<PathBuf>,
    /// The variable in the supervisor's environment in which that stands; instead of `url`.
    #[serde(deserialize_with = "variable")]
    pub url_env: Option<String>,
    /// The most connections that all workers of the pool have open together, 1 to 1000. See [`Pool::connections`].
    #[serde(with = "Given::<Count<1, 1000>>")]
    pub connections: Option<u32>,
    /// From asking for a connection to having one; default 5 s.
    #[serde(with = "Timeout")]
    pub connect_timeout: Duration,
    /// How long a connection may be idle before it is replaced; default 10 min, zero for ever.
    #[serde(with = "Patience")]
    pub idle_timeout: Duration,
    /// How old a connection may become before it is replaced; default 30 min, zero as old as it gets.
    #[serde(with = "Patience")]
    pub max_lifetime: Duration,
    /// By up to so much younger it may be, up to 100 %; default 10 %.
    #[serde(with = "Share::<0, 100>")]
    pub max_lifetime_jitter: Percent,
    /// A connection idle for longer is asked whether it works before it is used; default 30 s, zero always.
    #[serde(with = "Patience")]
    pub validate_after: Duration,
    /// The server ends a statement that runs for longer; default none, at most 24 days.
    #[serde(with = "Given::<Timeout>")]
    pub statement_timeout: Option<Duration>,
    /// How long what was sent may stay unacknowledged before the connection is dead; default 15 s, at most 24 days.
    #[serde(with = "Timeout")]
    pub tcp_user_timeout: Duration,
    /// Run on every new connection, and again after each reset; default nothing.
    #[serde(deserialize_with = "sql")]
    pub init_sql: Option<String>,
    /// What is undone between two requests; default the session.
    pub reset: SessionReset,
    /// Whether statements are prepared by name and kept; default they are.
    pub prepared: bool,
}

impl Default for Database {
    fn default() -> Database {
        Database {
            url: None,
            url_file: None,
            url_env: None,
            connections: None,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(1800),
            max_lifetime_jitter: Percent(10),
            validate_after: Duration::from_secs(30),
            statement_timeout: None,
            tcp_user_timeout: Duration::from_secs(15),
            init_sql: None,
            reset: SessionReset::Session,
            prepared: true,
        }
    }
}

impl Config {
    /// The most connections that all pools have open together.
    pub fn database_connections(&self) -> u32 {
        let pools = self.pools.iter().filter(|pool| pool.database.is_some());
        pools.fold(0, |sum, pool| sum.saturating_add(pool.connections()))
    }
}

impl Pool {
    /// The most connections to its database that all workers of this pool have open together: as given, else one for
    /// each worker there can be, but no more than ten.
    pub fn connections(&self) -> u32 {
        let given = self.database.as_ref().and_then(|database| database.connections);
        given.unwrap_or_else(|| self.headcount().max_workers.min(USUAL_CONNECTIONS))
    }

    /// What is wrong with the keys of the database, taken together.
    pub(super) fn database_contradictions(&self) -> Vec<Mistake> {
        let Some(database) = &self.database else {
            return Vec::new();
        };
        let path = format!("{}.database", self.path());
        let at = |key: &str, message: String| Mistake::new(&format!("{path}.{key}"), message);
        let mut found = Vec::new();
        let given: Vec<&str> = [
            ("url", database.url.is_some()),
            ("url_file", database.url_file.is_some()),
            ("url_env", database.url_env.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect();
        match given.as_slice() {
            [] => found.push(
                // One that is mistaken looks as if it were not there.
                at(
                    "url",
                    format!("a database needs one of url, url_file and url_env: write for example url = \"{EXAMPLE}\""),
                )
                .unless_about(&path),
            ),
            [_] => {}
            [first, others @ ..] => found.extend(
                others
                    .iter()
                    .map(|key| at(key, format!("{first} says already where the database is: keep one of the two"))),
            ),
        }
        if let Some(Err(wrong)) = database.url.as_ref().map(|url| check(url.reveal())) {
            found.push(at("url", format!("this URL {wrong}")));
        }
        let bounded =
            [("statement_timeout", database.statement_timeout), ("tcp_user_timeout", Some(database.tcp_user_timeout))];
        for (key, _) in bounded.into_iter().filter(|(_, time)| time.is_some_and(|time| time > LONGEST)) {
            found.push(at(key, "is too long: at most \"24d\"".to_owned()));
        }
        found
    }
}

/// Whether this says where a database is: a URL, or libpq's key=value pairs. What is said of one that does not holds nothing
/// of it.
pub(super) fn check(url: &str) -> Result<(), String> {
    if url.contains(char::is_control) {
        return Err("cannot be used: it has a line break, or another control character, in it".to_owned());
    }
    postgres::check_url(url).map_err(|why| format!("cannot be used: {why}"))
}

/// The table itself.
pub(super) fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Database>, D::Error> {
    struct Table;

    impl<'de> Visitor<'de> for Table {
        type Value = Database;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<Database, A::Error> {
            Database::deserialize(MapAccessDeserializer::new(keys))
        }

        fn visit_str<E: Error>(self, _: &str) -> Result<Database, E> {
            Err(E::custom("found a text, wanted a table: write database.url = and the text"))
        }
    }

    deserializer.deserialize_any(Table).map(Some)
}

fn file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if !Path::new(&text).is_absolute() || text.contains('\0') {
        return Err(D::Error::custom("is not an absolute path: write for example \"/etc/ratoon/database-url\""));
    }
    Ok(Some(PathBuf::from(text)))
}

fn variable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !text.chars().all(allowed) {
        return Err(D::Error::custom("is not the name of a variable: write for example \"DATABASE_URL\""));
    }
    Ok(Some(text))
}

fn sql<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.contains('\0') {
        return Err(D::Error::custom("a statement cannot hold a zero byte: remove it"));
    }
    Ok(Some(text))
}
