//! One end of a channel: a `SOCK_SEQPACKET` socket that carries messages of the protocol, with descriptors beside them.
//!
//! Owns the framing and nothing else. A message that is too long, does not parse, or brings what it should not is an
//! error of whoever sent it; descriptors that came with it are closed.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{LONGEST, MOST_DESCRIPTORS};

/// One end of a channel.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// What came out of a channel.
#[derive(Debug)]
pub enum Received<M> {
    /// A message and the descriptors beside it.
    Message(M, Vec<OwnedFd>),
    /// Nothing is there at the moment.
    Nothing,
    /// The other end is closed, in every process that had it.
    End,
    /// The other side does not speak the protocol.
    Nonsense(String),
}

impl Channel {
    /// Both ends of a new one; neither survives an exec.
    ///
    /// # Errors
    /// What socketpair says: `EMFILE`, `ENFILE`.
    pub fn pair() -> Result<(Channel, Channel), Errno> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Channel::from(one), Channel::from(other)))
    }

    /// Sends a message without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if the other side has left too much unread, `BrokenPipe` if it is gone.
    pub fn send<M: Serialize>(&self, message: &M, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let beside = if numbers.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(&text)], beside, flags, None)?;
        Ok(())
    }

    /// What is there now, without waiting.
    pub fn try_receive<M: DeserializeOwned>(&self) -> Received<M> {
        self.receive_with(MsgFlags::MSG_DONTWAIT)
    }

    /// What comes next, waiting for it.
    pub fn receive<M: DeserializeOwned>(&self) -> Received<M> {
        self.receive_with(MsgFlags::empty())
    }

    fn receive_with<M: DeserializeOwned>(&self, flags: MsgFlags) -> Received<M> {
        let mut text = [0; LONGEST];
        let Raw { length, whole, descriptors } = match receive(&self.socket, &mut text, flags) {
            Ok(raw) => raw,
            Err(Errno::EAGAIN) => return Received::Nothing,
            Err(Errno::ECONNRESET | Errno::EPIPE) => return Received::End,
            Err(errno) => return Received::Nonsense(format!("cannot receive: {errno}")),
        };
        if length == 0 && descriptors.is_empty() {
            return Received::End;
        }
        if !whole {
            return Received::Nonsense("a message longer than the protocol allows".into());
        }
        match serde_json::from_slice(&text[..length]) {
            Ok(message) => Received::Message(message, descriptors),
            Err(error) => Received::Nonsense(format!("not a message of the protocol: {error}")),
        }
    }
}

/// A message as the kernel gave it.
pub(crate) struct Raw {
    pub(crate) length: usize,
    /// Whether all of its bytes and descriptors have come.
    pub(crate) whole: bool,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// The next message of a `SOCK_SEQPACKET` socket, and the descriptors beside it.
pub(crate) fn receive(socket: &OwnedFd, text: &mut [u8], flags: MsgFlags) -> Result<Raw, Errno> {
    let mut room = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
    let mut parts = [IoSliceMut::new(text)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags) {
            Err(Errno::EINTR) => {}
            received => break received?,
        }
    };
    let mut descriptors = Vec::new();
    for beside in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(numbers) = beside {
            descriptors.extend(numbers.into_iter().map(crate::sys::descriptor::received));
        }
    }
    let cut = message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
    Ok(Raw { length: message.bytes, whole: !cut, descriptors })
}

impl From<OwnedFd> for Channel {
    fn from(socket: OwnedFd) -> Channel {
        Channel { socket }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
