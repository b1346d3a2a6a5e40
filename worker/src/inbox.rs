//! A pool's inbox: here a worker leaves connections that are between requests, and its siblings take them.
//!
//! One `SOCK_SEQPACKET` pair for all workers of a pool, whatever their generation: what one gives at the one end comes
//! out at the other, whole, and for one taker only. A message is a version and one entry per connection; the sockets
//! travel beside it, and so does, in a memfd, what would take too much of the pair's buffer. Owns the pair and its
//! messages. Never waits, knows nothing of HTTP, and believes what comes out for as far as it does no harm.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, setsockopt, socketpair, sockopt,
};
use serde::{Deserialize, Serialize};

use crate::channel::{self, Raw};
use crate::protocol::MOST_DESCRIPTORS;

/// The version of the messages, their first byte: workers of two releases may share an inbox.
const VERSION: u8 = 2;
/// No message is longer, in bytes.
const LONGEST: usize = 32 * 1024;
/// The most that an entry takes without its leftover, in bytes.
const ENTRY: usize = 64;
/// A longer leftover, in bytes, travels in a file.
const INLINE: usize = 1024;
/// The longest leftover that is taken, in bytes: the longest head there can be, and what may have been read behind it.
const LONGEST_LEFTOVER: u64 = 2 * 1024 * 1024;
/// What the pair is to hold, in bytes; the kernel makes of it what `net.core.wmem_max` allows, doubled.
const BUFFER: usize = 1024 * 1024;

/// Both ends.
#[derive(Debug)]
pub struct Inbox {
    give: OwnedFd,
    take: OwnedFd,
}

/// A connection between requests, with a borrowed socket while it is given, with one of its own when it is taken.
#[derive(Debug)]
pub struct Parcel<S> {
    /// Its socket.
    pub socket: S,
    /// What is known of it.
    pub label: Label,
    /// What has arrived and nobody has taken.
    pub leftover: Vec<u8>,
}

/// What is known of a connection between requests; moments are the clock's nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Whether a PROXY header must come before anything else.
    pub is_announced: bool,
    /// The address of whoever is at its other end, as its worker has it; `None` over a Unix socket.
    pub peer: Option<SocketAddr>,
    /// When it was taken in, or its last response had left.
    pub quiet_since: u64,
    /// When the head that is awaited must be there; `None` if it has time until the connection has been idle too long.
    pub head_by: Option<u64>,
}

#[derive(Serialize, Deserialize)]
enum Leftover {
    Here(Vec<u8>),
    /// So many bytes of the next descriptor.
    Beside(u64),
}

/// What an attempt to take brought.
#[derive(Debug)]
pub enum Taken {
    /// The connections of one message.
    Parcels(Vec<Parcel<OwnedFd>>),
    /// Nothing is there at the moment.
    Nothing,
    /// What came is lost in part or as a whole, for this reason; these are the connections that could be saved.
    Broken(String, Vec<Parcel<OwnedFd>>),
}

impl Inbox {
    /// An empty one; its ends do not survive an exec.
    ///
    /// # Errors
    /// What socketpair says: `EMFILE`, `ENFILE`.
    pub fn new() -> Result<Inbox, Errno> {
        let (give, take) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        setsockopt(&give, sockopt::SndBuf, &BUFFER)?;
        Ok(Inbox { give, take })
    }

    /// One that another process made.
    pub fn from_ends(give: OwnedFd, take: OwnedFd) -> Inbox {
        Inbox { give, take }
    }

    /// The ends, to be handed to another process: the one to give, the one to take.
    pub fn ends(&self) -> [BorrowedFd<'_>; 2] {
        [self.give.as_fd(), self.take.as_fd()]
    }

    /// Whether nothing is to be taken.
    pub fn is_empty(&self) -> bool {
        let mut ends = [PollFd::new(self.take.as_fd(), PollFlags::POLLIN)];
        !poll(&mut ends, PollTimeout::ZERO).is_ok_and(|waiting| waiting > 0)
    }

    /// Gives as many of these as one message takes, from the first; at least one. How many it was.
    ///
    /// # Errors
    /// `WouldBlock` if the inbox is full, `ETOOMANYREFS` if too many descriptors are on their way; then nothing was
    /// given.
    pub fn give(&self, parcels: &[Parcel<BorrowedFd<'_>>]) -> io::Result<usize> {
        let (mut entries, mut numbers, mut files) = (Vec::new(), Vec::<RawFd>::new(), Vec::new());
        let mut length = 0;
        for parcel in parcels {
            let is_long = parcel.leftover.len() > INLINE;
            length += ENTRY + if is_long { 0 } else { parcel.leftover.len() };
            if length > LONGEST || numbers.len() + 1 + usize::from(is_long) > MOST_DESCRIPTORS {
                break;
            }
            numbers.push(parcel.socket.as_raw_fd());
            let leftover = if is_long {
                let file = stored(&parcel.leftover)?;
                numbers.push(file.as_raw_fd());
                files.push(file);
                Leftover::Beside(parcel.leftover.len() as u64)
            } else {
                Leftover::Here(parcel.leftover.clone())
            };
            entries.push((&parcel.label, leftover));
        }
        let text = postcard::to_allocvec(&entries).map_err(io::Error::other)?;
        let parts = [IoSlice::new(&[VERSION]), IoSlice::new(&text)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.give.as_raw_fd(), &parts, &[ControlMessage::ScmRights(&numbers)], flags, None)?;
        Ok(entries.len())
    }

    /// The next message's connections. `room` is where the message lands, at least 32 KiB.
    pub fn take(&self, room: &mut [u8]) -> Taken {
        let broken = |why: String| Taken::Broken(why, Vec::new());
        let Raw { length, whole, descriptors } = match channel::receive(&self.take, room, MsgFlags::MSG_DONTWAIT) {
            Ok(raw) => raw,
            Err(Errno::EAGAIN) => return Taken::Nothing,
            Err(errno) => return broken(format!("cannot receive: {errno}")),
        };
        let text = match room[..length].split_first() {
            Some((&VERSION, text)) => text,
            Some((version, _)) => return broken(format!("a message of version {version}, and ours is {VERSION}")),
            None => return broken("an empty message".into()),
        };
        let entries: Vec<(Label, Leftover)> = match postcard::from_bytes(text) {
            Ok(entries) => entries,
            Err(error) => return broken(format!("not a message of ours: {error}")),
        };
        let (promised, mut descriptors) = (entries.len(), descriptors.into_iter());
        let parcels: Vec<_> = entries.into_iter().map_while(|entry| parcel(entry, &mut descriptors)).collect();
        match parcels.len() == promised && whole {
            true => Taken::Parcels(parcels),
            false => {
                Taken::Broken(format!("only {} of {promised} connections could be received", parcels.len()), parcels)
            }
        }
    }
}

/// An entry with its descriptors; `None` if they have not all come, or are not what they should be.
fn parcel(
    (label, leftover): (Label, Leftover),
    descriptors: &mut impl Iterator<Item = OwnedFd>,
) -> Option<Parcel<OwnedFd>> {
    let socket = descriptors.next()?;
    // Whatever was sent, nobody here waits for it.
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
    let leftover = match leftover {
        Leftover::Here(bytes) => bytes,
        Leftover::Beside(length) => restored(descriptors.next()?, length)?,
    };
    Some(Parcel { socket, label, leftover })
}

fn stored(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("ratoon-leftover", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

fn restored(file: OwnedFd, length: u64) -> Option<Vec<u8>> {
    if length > LONGEST_LEFTOVER {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    File::from(file).read_exact_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests;
