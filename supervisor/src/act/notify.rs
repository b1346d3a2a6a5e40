//! What the service manager is told: `sd_notify(3)`, one datagram to the socket in `NOTIFY_SOCKET`.
//!
//! Our own instead of a crate's, because it must never wait: a manager that does not read loses a message.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The way to the service manager, if there is one.
pub(super) struct Manager {
    way: Option<(UnixDatagram, SocketAddr)>,
}

impl Manager {
    /// The one that the environment names.
    pub(super) fn from_environment() -> Manager {
        let way = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let found = connect(&name);
            if let Err(error) = &found {
                tracing::warn!(%error, socket = %name.to_string_lossy(), "cannot speak to the service manager");
            }
            found.ok()
        });
        Manager { way }
    }

    /// Tells it; whether it listens is its own affair.
    pub(super) fn tell(&self, message: &str) {
        if let Some((socket, address)) = &self.way
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::warn!(%error, untold = message, "the service manager does not listen");
        }
    }
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
