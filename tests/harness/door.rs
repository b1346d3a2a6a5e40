//! How clients reach a supervisor of the sample application: the same promises hold over TCP and over a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Client, Ratoon};

/// One listener.
#[derive(Debug, Clone)]
pub enum Door {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Door {
    /// A supervisor reached over TCP, with these further lines about its pool.
    #[track_caller]
    pub fn tcp(lines: &str) -> (Ratoon, Door) {
        let ratoon = Ratoon::serving(&format!("[pool.web]\nlisten = [\"127.0.0.1:0\"]\n{lines}"));
        let door = Door::Tcp(ratoon.address());
        (ratoon, door)
    }

    /// The same over a Unix socket.
    #[track_caller]
    pub fn unix(lines: &str) -> (Ratoon, Door) {
        let ratoon = Ratoon::serving(&format!("[pool.web]\nlisten = [\"unix:DIR/web\"]\n{lines}"));
        let door = Door::Unix(ratoon.directory().join("web"));
        (ratoon, door)
    }

    pub fn connect(&self) -> io::Result<Client> {
        match self {
            Door::Tcp(address) => Client::try_connect(*address),
            Door::Unix(path) => Client::connect_unix(path),
        }
    }
}
