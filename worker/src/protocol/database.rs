//! What a pool's workers know of their database, `[pool.NAME.database]`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A pool's database; times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseRules {
    /// Where it is and as whom to log in.
    pub url: Secret,
    /// The most connections that all workers of the pool have open together.
    pub connections: u32,
    /// The most that the workers of all pools have open together.
    pub connections_of_all: u32,
    /// From asking for a connection to having one: waiting for others, resolving the name and logging in.
    pub connect_timeout: u64,
    /// How long a connection may be idle before it is replaced; 0: for ever.
    pub idle_timeout: u64,
    /// How old a connection may become before it is replaced; 0: as old as it gets.
    pub max_lifetime: u64,
    /// By up to so many hundredths less, so that not all are replaced at once.
    pub max_lifetime_jitter: u32,
    /// A connection that has been idle for longer is asked whether it still works before it is used; 0: always.
    pub validate_after: u64,
    /// The server ends a statement that runs for longer; 0: it does not.
    pub statement_timeout: u64,
    /// How long what was sent over TCP may stay unacknowledged, and a peer silent, before the connection is dead.
    pub tcp_user_timeout: u64,
    /// Run on every new connection, and again after each reset.
    pub init_sql: Option<String>,
    /// What is undone between two requests.
    pub reset: SessionReset,
    /// Whether statements are prepared by name and kept; not where a proxy gives each transaction another connection.
    pub prepared: bool,
}

/// What is undone of a database session between two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionReset {
    /// All that a request can have left, but not the statements that the library itself prepared.
    #[default]
    Session,
    /// The same, and the prepared statements, in the server's own word: `DISCARD ALL`.
    DiscardAll,
    /// Nothing but an open transaction.
    Off,
}

/// A text that no log, error or page may show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for whoever must act on it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl DatabaseRules {
    /// Whether a connection that was made for the one is as good for the other, and as many may be open: the rest is said
    /// of how they are waited for, and when they are replaced.
    pub fn has_the_connections_of(&self, other: &DatabaseRules) -> bool {
        let alike = DatabaseRules {
            connections_of_all: other.connections_of_all,
            connect_timeout: other.connect_timeout,
            idle_timeout: other.idle_timeout,
            max_lifetime: other.max_lifetime,
            max_lifetime_jitter: other.max_lifetime_jitter,
            validate_after: other.validate_after,
            ..self.clone()
        };
        alike == *other
    }

    /// What a pool has that says nothing but where its database is, and a worker started by hand.
    pub fn at(url: Secret) -> DatabaseRules {
        DatabaseRules {
            url,
            connections: 10,
            connections_of_all: 10,
            connect_timeout: 5_000,
            idle_timeout: 600_000,
            max_lifetime: 1_800_000,
            max_lifetime_jitter: 10,
            validate_after: 30_000,
            statement_timeout: 0,
            tcp_user_timeout: 15_000,
            init_sql: None,
            reset: SessionReset::Session,
            prepared: true,
        }
    }
}
