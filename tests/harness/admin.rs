//! The admin process of a supervisor, as operators see it.

use std::net::SocketAddr;

use nix::unistd::Pid;

use super::{Ratoon, SOON, eventually, process};

/// For a configuration: a status page on a free port.
pub const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

impl Ratoon {
    /// Where the status page is, of a supervisor with [`ADMIN`].
    #[track_caller]
    pub fn admin(&self) -> SocketAddr {
        eventually("the log names the address of the status page", SOON, || {
            self.lines()
                .iter()
                .find_map(|line| line["message"].as_str()?.strip_prefix("the status page is at ")?.parse().ok())
        })
    }

    /// The process that serves it.
    #[track_caller]
    pub fn admin_process(&self) -> Pid {
        eventually("there is an admin process", SOON, || {
            process::children(self.pid(), "ratoon: admin").first().copied()
        })
    }
}
