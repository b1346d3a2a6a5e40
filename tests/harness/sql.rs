//! Asking the fixture's workers for SQL, as `tests/programs/database.rs` has the words.

use super::{CONTROL, Client, Postgres, Ratoon, Response, fixture};

/// The configuration of a pool of the fixture with this database: lines of the pool, lines of its database.
#[track_caller]
pub fn pool(url: &str, lines: &str, database: &str) -> String {
    let pool = fixture::pool("web", &format!("{lines}\n[pool.web.database]\nurl = {url:?}\n{database}"));
    format!("{CONTROL}{pool}")
}

/// A supervisor of such a pool that serves.
#[track_caller]
pub fn serving(postgres: &Postgres, lines: &str, database: &str) -> Ratoon {
    Ratoon::serving(&pool(&postgres.url(), lines, database))
}

impl Client {
    /// The answer to a word with this text.
    #[track_caller]
    pub fn ask(&mut self, word: &str, text: &str) -> Response {
        let length = text.len();
        self.send(format!("POST /{word} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{text}").as_bytes());
        self.response()
    }

    /// What SQL says that must succeed.
    #[track_caller]
    pub fn sql(&mut self, text: &str) -> String {
        let answer = self.ask("sql", text);
        assert_eq!(answer.status, 200, "{text}: {}", answer.text());
        answer.text()
    }
}
