//! Supervisors of the fixture, the application that does what it is told: `tests/programs/fixture.rs` has its words.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use nix::unistd::Pid;
use tempfile::TempDir;

use super::{Client, Ratoon, SOON, eventually, example, install, unprivileged};

/// Where the fixture's program is.
#[track_caller]
pub fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| example("fixture"));
    &PROGRAM
}

/// A copy of it that everybody can execute: where it is, for as long as its directory is kept.
pub fn public() -> (TempDir, String) {
    let directory = unprivileged::directory();
    let copy = directory.path().join("fixture");
    install(program(), &copy, "0755");
    let path = copy.display().to_string();
    (directory, path)
}

/// The configuration of a pool that runs the fixture on a free port, with these further lines.
#[track_caller]
pub fn pool(name: &str, lines: &str) -> String {
    let program = program();
    format!("[pool.{name}]\nlisten = [\"127.0.0.1:0\"]\nprogram = [{program:?}]\n{lines}\n")
}

impl Ratoon {
    /// Sends a request for one of the fixture's words; back when its handler has begun, with the worker that runs it.
    #[track_caller]
    pub fn engage(&self, address: SocketAddr, word: &str) -> (Client, Pid) {
        self.engage_over(Client::connect(address), word)
    }

    /// The same over a connection that is there.
    #[track_caller]
    pub fn engage_over(&self, mut client: Client, word: &str) -> (Client, Pid) {
        let begun = || self.all_logged("begins", &[("word", word.into())]);
        let before = begun().len();
        client.send(format!("GET /{word} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
        let line = eventually(&format!("a handler begins {word}"), SOON, || begun().into_iter().nth(before));
        (client, Pid::from_raw(line["pid"].as_i64().unwrap() as i32))
    }
}
