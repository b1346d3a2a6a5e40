//! Opening a connection to one of the places where the database may be, by a deadline.
//!
//! Places are tried in the order they are named, and the addresses of each in the order the resolver gives. Each attempt,
//! logging in included, has its share of the time that is left, so that one that is silent does not use up what the
//! others need. Owns the options of the socket: close-on-exec, no delay, and a peer that is gone is found out.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::sockopt::{
    KeepAlive, SocketError, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpNoDelay, TcpUserTimeout,
};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, connect, getsockopt, setsockopt, socket,
};

use super::socket::Socket;
use super::target::{Place, Target};
use super::tls::{Refused, Stream};
use super::{drive, resolve};
use crate::clock;

/// How long to wait before a Unix socket whose queue is full is tried again: there is nothing to poll for.
const FULL_QUEUE: Duration = Duration::from_millis(5);

/// A connection that is open, and has TLS where that was asked for; nobody has logged in.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    /// When whoever logs in has used up its share of the time, in the clock's nanoseconds.
    pub(crate) until: u64,
}

/// Why logging in came to nothing, and what that means for the other places.
#[derive(Debug)]
pub(crate) enum AttemptError {
    /// Another server may do.
    Next(String),
    /// It would be the same with any, as with a wrong password.
    Stop(String),
}

/// Why no place would do: each attempt, in order, with its reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreachable(Vec<(String, String)>);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (place, why)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{place}: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unreachable {}

/// What there is to connect to.
enum Address<'a> {
    Unix(&'a Path),
    Tcp(SocketAddr),
}

impl Target {
    /// Opens connections, one after the other, until `attempt` is content with one; the clock is at `until` when it is
    /// too late for all of them.
    pub(crate) fn open_each<T>(
        &self,
        until: u64,
        mut attempt: impl FnMut(Opened, &Place) -> Result<T, AttemptError>,
    ) -> Result<T, Unreachable> {
        let mut tried = Vec::new();
        for (index, place) in self.places.iter().enumerate() {
            let later = self.places.len() - index - 1;
            let addresses = match addresses(place, share(until, later + 1)) {
                Ok(addresses) => addresses,
                Err(why) => {
                    tried.push((place.to_string(), why));
                    continue;
                }
            };
            for (index, address) in addresses.iter().enumerate() {
                let until = share(until, addresses.len() - index + later);
                let opened = self.open(place, address, until).map_err(AttemptError::Next);
                let (why, is_over) = match opened.and_then(|stream| attempt(Opened { stream, until }, place)) {
                    Ok(done) => return Ok(done),
                    Err(AttemptError::Next(why)) => (why, false),
                    Err(AttemptError::Stop(why)) => (why, true),
                };
                tried.push((label(place, address), why));
                if is_over {
                    return Err(Unreachable(tried));
                }
            }
        }
        Err(Unreachable(tried))
    }

    fn open(&self, place: &Place, address: &Address<'_>, until: u64) -> Result<Stream, String> {
        let plain = || self.connect(address, until).map_err(|errno| errno.desc().to_owned());
        let Place::Tcp { host, .. } = place else {
            return Ok(Stream::Plain(plain()?));
        };
        match self.tls.secure(plain()?, host, until) {
            Ok(stream) => Ok(stream),
            // As libpq does; who minds says `require`.
            Err(Refused::Handshake(why)) if self.tls.is_optional() => {
                tracing::debug!(%place, why, "no TLS with the database, though it offers it");
                Ok(Stream::Plain(plain()?))
            }
            Err(refused) => Err(refused.to_string()),
        }
    }

    /// A connected socket in non-blocking mode.
    fn connect(&self, address: &Address<'_>, until: u64) -> Result<Socket, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let open = |family| socket(family, SockType::Stream, flags, None);
        match address {
            Address::Unix(path) => {
                let (socket, path) = (open(AddressFamily::Unix)?, UnixAddr::new(*path)?);
                while let Err(errno) = begin(&socket, &path, until) {
                    if errno != Errno::EAGAIN || clock::now() >= until {
                        return Err(errno);
                    }
                    std::thread::sleep(FULL_QUEUE);
                }
                Ok(Socket::new(socket))
            }
            Address::Tcp(address) => {
                let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
                let socket = open(family)?;
                setsockopt(&socket, TcpNoDelay, &true)?;
                self.watch(&socket)?;
                begin(&socket, &SockaddrStorage::from(*address), until)?;
                Ok(Socket::new(socket))
            }
        }
    }

    /// Has the kernel find out within about `tcp_user_timeout` that the peer is gone: what was sent stays unacknowledged
    /// for no longer, and an idle connection is looked after from a third of it on, every second once there is no answer.
    fn watch(&self, socket: &OwnedFd) -> Result<(), Errno> {
        let seconds = u32::try_from(self.tcp_user_timeout / 1_000).unwrap_or(u32::MAX);
        setsockopt(socket, KeepAlive, &true)?;
        // The kernel's bounds: 32767 seconds and 127 probes.
        setsockopt(socket, TcpKeepIdle, &(seconds / 3).clamp(1, 32_767))?;
        setsockopt(socket, TcpKeepInterval, &1)?;
        setsockopt(socket, TcpKeepCount, &(seconds - seconds / 3).clamp(1, 127))?;
        setsockopt(socket, TcpUserTimeout, &u32::try_from(self.tcp_user_timeout).unwrap_or(u32::MAX))
    }
}

/// Where a place is.
fn addresses(place: &Place, until: u64) -> Result<Vec<Address<'_>>, String> {
    match place {
        Place::Unix(path) => Ok(vec![Address::Unix(path)]),
        Place::Tcp { address: Some(known), port, .. } => Ok(vec![Address::Tcp(SocketAddr::new(*known, *port))]),
        Place::Tcp { host, port, .. } => {
            Ok(resolve::addresses(host, *port, until)?.into_iter().map(Address::Tcp).collect())
        }
    }
}

/// A place, and which of its addresses, if its name does not say it.
fn label(place: &Place, address: &Address<'_>) -> String {
    match address {
        Address::Tcp(address) if address.to_string() != place.to_string() => format!("{place} ({})", address.ip()),
        _ => place.to_string(),
    }
}

/// The end of one of `waiting` equal shares of the time that is left.
fn share(until: u64, waiting: usize) -> u64 {
    let now = clock::now();
    now + until.saturating_sub(now) / waiting.max(1) as u64
}

/// Connects, and waits until that is decided.
pub(super) fn begin(socket: &OwnedFd, address: &dyn SockaddrLike, until: u64) -> Result<(), Errno> {
    match connect(socket.as_raw_fd(), address) {
        // Interrupted, it goes on all the same.
        Err(Errno::EINPROGRESS | Errno::EINTR) => {}
        decided => return decided,
    }
    let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    drive::poll_until(&mut waiting, until).map_err(|drive::Late| Errno::ETIMEDOUT)?;
    match getsockopt(socket, SocketError)? {
        0 => Ok(()),
        error => Err(Errno::from_raw(error)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
