//! Asking the server, over a connection of its own, to give up what a session is at: the session is closed right afterwards.
//!
//! Never waits for long, and for no answer: there is none. The question goes in the clear, as libpq's did for decades, also
//! where the session has TLS.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, getpeername, socket};
use tokio_postgres::{Client as Engine, NoTls};

use super::drive::over;
use super::error::Error;
use super::line::Line;
use super::reach;
use super::socket::Socket;
use super::tls::{Negotiated, Stream};
use crate::clock;

/// How long it may take, in nanoseconds.
const PATIENCE: u64 = 100_000_000;

/// Asks for it; `socket` is the session's.
pub(super) fn cancel(engine: &Engine, socket: &OwnedFd, is_plain: bool) -> Result<(), Error> {
    let until = clock::now().saturating_add(PATIENCE);
    let another = Socket::new(another(socket, until).map_err(Error::lost)?);
    let (descriptor, readiness) = (another.descriptor(), another.readiness());
    let token = engine.cancel_token();
    let asked = async {
        match is_plain {
            true => token.cancel_query_raw(another, NoTls).await,
            false => token.cancel_query_raw(Line::new(Stream::Plain(another)), Negotiated).await,
        }
    };
    over(descriptor.as_fd(), &readiness, until, asked).map_err(|_| Error::late())?.map_err(Error::from)
}

/// Another connection to where this one leads.
fn another(one: &OwnedFd, until: u64) -> nix::Result<OwnedFd> {
    let peer: SockaddrStorage = getpeername(one.as_raw_fd())?;
    let family = peer.family().unwrap_or(AddressFamily::Unspec);
    let other = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    reach::begin(&other, &peer, until)?;
    Ok(other)
}
