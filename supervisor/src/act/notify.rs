//! The way to the service manager: `sd_notify(3)`, datagrams to the socket in `NOTIFY_SOCKET`.
//!
//! Our own instead of a crate's, because it must never wait: what a manager has no room for is kept, if it must arrive, and
//! lost otherwise. Owns what the environment says of the manager; never decides what it is told, or when.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How many messages wait for a manager that does not read; more would mean that it never will.
const MOST: usize = 16;

/// What is said to this process alone, and to nobody it starts.
pub(super) const VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The way to the service manager, if there is one.
pub(super) struct Manager {
    way: Option<(UnixDatagram, SocketAddr)>,
    /// What must arrive and has not, the oldest first.
    owed: VecDeque<String>,
    /// Whether its silence has been complained of: once is enough.
    is_deaf: bool,
}

impl Manager {
    /// The one that the environment names; it is owed these, by a predecessor.
    pub(super) fn from_environment(owed: Vec<String>) -> Manager {
        let way = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let found = connect(&name);
            if let Err(error) = &found {
                tracing::warn!(%error, socket = %name.to_string_lossy(), "cannot speak to the service manager");
            }
            found.ok()
        });
        Manager { way, owed: owed.into(), is_deaf: false }
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.way.is_some()
    }

    /// Tells it what it must know: if there is no room for that now, [`flush`](Manager::flush) tries again.
    pub(super) fn insist(&mut self, message: String) {
        self.owed.push_back(message);
        if self.owed.len() > MOST {
            self.owed.pop_front();
        }
        self.flush();
    }

    /// Tells it what is not worth being told late; whether there was room.
    pub(super) fn mention(&mut self, message: &str) -> bool {
        self.owed.is_empty() && self.send(message)
    }

    /// Tells it what there was no room for before.
    pub(super) fn flush(&mut self) {
        while let Some(message) = self.owed.pop_front() {
            if !self.send(&message) {
                return self.owed.push_front(message);
            }
        }
    }

    /// What it must know and has not been told, for a successor.
    pub(super) fn owed(&self) -> Vec<String> {
        self.owed.iter().cloned().collect()
    }

    /// Whether it has not been told everything that it must know.
    pub(super) fn is_owed(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Whether the message is on its way, or nobody will ever take it.
    fn send(&mut self, message: &str) -> bool {
        let Some((socket, address)) = &self.way else {
            return true;
        };
        match socket.send_to_addr(message.as_bytes(), address) {
            Ok(_) => self.is_deaf = false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if !self.is_deaf => {
                self.is_deaf = true;
                tracing::warn!(%error, untold = message, "the service manager does not listen");
            }
            Err(_) => {}
        }
        true
    }
}

/// How long the service manager waits for a sign of life before it ends us; `None` if it does not.
pub(super) fn patience_of_watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|span| is_ours && *span > 0).map(Duration::from_micros)
}

fn connect(name: &OsString) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
