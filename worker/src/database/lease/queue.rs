//! The queue: a `SOCK_SEQPACKET` pair through which connections travel from one worker to another.
//!
//! A message is one connection: its token and sequence, who sends it, what is known of it; the socket goes beside it.
//! Owns the pair and the form of its messages. Never waits, and never judges whether what comes out is still wanted.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, sendmsg, setsockopt, shutdown, socketpair,
    sockopt,
};
use serde::{Deserialize, Serialize};

use super::word::step;
use crate::channel::{self, Raw};

/// No message is longer, in bytes. A server says a tenth of it when a connection begins.
const LONGEST: usize = 8192;
/// What the pair is to hold, in bytes; the kernel makes of it what `net.core.wmem_max` allows, doubled.
const BUFFER: usize = 1024 * 1024;

/// Both ends.
#[derive(Debug)]
pub(super) struct Queue {
    give: OwnedFd,
    take: OwnedFd,
}

/// A connection on its way, with a borrowed socket while it is given, with one of its own when it is taken. Moments are
/// the clock's nanoseconds.
#[derive(Debug)]
pub(crate) struct Travelling<S> {
    /// Its socket. For a moment whoever gave it may hold it, too: who wants it closed says so to the server, or shuts it
    /// down.
    pub(crate) socket: S,
    /// What the server said when the connection began.
    pub(crate) startup: Vec<u8>,
    /// When it is to be replaced.
    pub(crate) expires: u64,
    /// When it was last used.
    pub(crate) idle_since: u64,
}

/// For which token a connection travels, and from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Label {
    pub(super) token: u32,
    /// The token's sequence once it has arrived.
    pub(super) sequence: u64,
    /// The life that sends it.
    pub(super) from: u64,
}

#[derive(Serialize, Deserialize)]
struct Letter<'a> {
    label: Label,
    expires: u64,
    idle_since: u64,
    startup: &'a [u8],
}

/// What an attempt to take brought.
#[derive(Debug)]
pub(super) enum Taken {
    Connection(Label, Travelling<OwnedFd>),
    /// A message that is not whole, or none of ours: it is gone.
    Scrap,
    /// Nothing is there at the moment.
    Nothing,
    /// Nobody can tell at the moment.
    Unknown,
}

impl Queue {
    /// An empty one; its ends do not survive an exec.
    pub(super) fn new() -> Result<Queue, Errno> {
        let (give, take) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        setsockopt(&give, sockopt::SndBuf, &BUFFER)?;
        Ok(Queue { give, take })
    }

    /// One that another process made.
    pub(super) fn from_ends(give: OwnedFd, take: OwnedFd) -> Queue {
        Queue { give, take }
    }

    /// The one to give, the one to take.
    pub(super) fn ends(&self) -> [BorrowedFd<'_>; 2] {
        [self.give.as_fd(), self.take.as_fd()]
    }

    /// Gives a connection.
    ///
    /// # Errors
    /// `WouldBlock` if the queue is full, `ETOOMANYREFS` if too many descriptors are on their way, `EMSGSIZE` if the server
    /// had too much to say; then nothing was given.
    pub(super) fn give(&self, label: Label, connection: &Travelling<BorrowedFd<'_>>) -> io::Result<()> {
        step();
        let Travelling { socket, startup, expires, idle_since } = connection;
        let letter = Letter { label, startup, expires: *expires, idle_since: *idle_since };
        let text = postcard::to_allocvec(&letter).map_err(io::Error::other)?;
        if text.len() > LONGEST {
            return Err(Errno::EMSGSIZE.into());
        }
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let numbers = [socket.as_raw_fd()];
        let beside = [ControlMessage::ScmRights(&numbers)];
        sendmsg::<()>(self.give.as_raw_fd(), &[IoSlice::new(&text)], &beside, flags, None)?;
        Ok(())
    }

    /// The next connection.
    pub(super) fn take(&self) -> Taken {
        step();
        let mut text = [0; LONGEST];
        let raw = channel::receive(&self.take, &mut text, MsgFlags::MSG_DONTWAIT);
        // From here on it is nowhere but in this process.
        step();
        let Raw { length, whole, descriptors } = match raw {
            Ok(raw) => raw,
            Err(Errno::EAGAIN) => return Taken::Nothing,
            // Descriptors for which there is no room come as a message that is not whole: this is worse, and says nothing of
            // what is there.
            Err(_) => return Taken::Unknown,
        };
        match (postcard::from_bytes::<Letter<'_>>(&text[..length]), descriptors.into_iter().next()) {
            (Ok(Letter { label, expires, idle_since, startup }), Some(socket)) if whole => {
                let startup = startup.to_vec();
                Taken::Connection(label, Travelling { socket, startup, expires, idle_since })
            }
            _ => Taken::Scrap,
        }
    }
}

/// Ends a connection that could not be given: its token is not to be used by another while the server still holds this
/// one to be open.
pub(super) fn end(connection: &Travelling<BorrowedFd<'_>>) {
    step();
    let _ = shutdown(connection.socket.as_raw_fd(), Shutdown::Both);
}
