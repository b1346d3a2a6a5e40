//! One end of a channel: a `SOCK_SEQPACKET` socket that carries messages of the protocol, with descriptors beside them.
//!
//! Owns the framing and nothing else. A message that is too long, does not parse, or brings what it should not is an
//! error of whoever sent it; descriptors that came with it are closed.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc::linger;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, recvmsg, sendmsg,
    setsockopt, shutdown, socketpair, sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{LONGEST, MOST_DESCRIPTORS};

/// No more is repeated of what was not understood, in bytes.
const LONGEST_COMPLAINT: usize = 200;

/// So many messages that nobody has read are looked at before a channel is closed; twice as many as its buffer holds.
const MOST_UNREAD: usize = 1024;

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

    /// Nobody sends descriptors to this end any more, as far as the kernel can see to that: the last copy of a
    /// descriptor is closed by whoever throws it away, and to close what a stranger has prepared may take for ever.
    pub fn refuse_descriptors(&self) {
        // An older kernel does not know how; then `try_hear` does what can be done.
        let _ = crate::sys::rights::refuse(&self.socket);
    }

    /// What is there now, without waiting, of somebody who has no reason to send descriptors: one that does makes no sense.
    /// They are thrown away, and no connection among them is waited for, however long its sender has made it linger.
    pub fn try_hear<M: DeserializeOwned>(&self) -> Received<M> {
        let mut text = [0; LONGEST];
        let raw = receive(&self.socket, &mut text, MsgFlags::MSG_DONTWAIT);
        if let Ok(Raw { descriptors, .. }) = &raw
            && !descriptors.is_empty()
        {
            wait_for_none(descriptors);
            return Received::Nonsense("it sends descriptors, for which nobody has asked".into());
        }
        received(raw, &text)
    }

    /// Closes this end of a channel whose other end is a stranger's: what was sent and not read is thrown away as
    /// [`Channel::try_hear`] does it, since the last to close the socket closes what lies in it.
    pub fn hang_up(self) {
        // From here on nothing more comes in.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let mut text = [0; LONGEST];
        // An empty message looks like the end, so the end is not looked for.
        for _ in 0..MOST_UNREAD {
            match receive(&self.socket, &mut text, MsgFlags::MSG_DONTWAIT) {
                Ok(Raw { descriptors, .. }) => wait_for_none(&descriptors),
                Err(_) => return,
            }
        }
    }

    /// What comes next, waiting for it.
    pub fn receive<M: DeserializeOwned>(&self) -> Received<M> {
        self.receive_with(MsgFlags::empty())
    }

    fn receive_with<M: DeserializeOwned>(&self, flags: MsgFlags) -> Received<M> {
        let mut text = [0; LONGEST];
        let raw = receive(&self.socket, &mut text, flags);
        received(raw, &text)
    }
}

/// No connection among these is waited for when it is closed, however long its sender has made it linger.
fn wait_for_none(descriptors: &[OwnedFd]) {
    let at_once = linger { l_onoff: 0, l_linger: 0 };
    for descriptor in descriptors {
        let _ = setsockopt(descriptor, sockopt::Linger, &at_once);
    }
}

/// What the kernel's answer means.
fn received<M: DeserializeOwned>(raw: Result<Raw, Errno>, text: &[u8]) -> Received<M> {
    let Raw { length, whole, descriptors } = match raw {
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
        Err(error) => {
            // serde repeats what it did not expect, which may be all of it.
            let mut error = error.to_string();
            error.truncate(error.floor_char_boundary(LONGEST_COMPLAINT));
            Received::Nonsense(format!("not a message of the protocol: {error}"))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::protocol::{Order, Report, Why};

    fn send_raw(channel: &Channel, bytes: &[u8], descriptors: &[RawFd]) -> nix::Result<usize> {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let beside = if descriptors.is_empty() { &[][..] } else { &rights[..] };
        sendmsg::<()>(channel.socket.as_raw_fd(), &[IoSlice::new(bytes)], beside, MsgFlags::MSG_DONTWAIT, None)
    }

    /// Whatever comes is a message, nonsense, or the end; never a panic, and no complaint is long.
    #[test]
    fn no_bytes_are_more_than_nonsense() {
        let (ours, theirs) = Channel::pair().unwrap();
        let mut rng = fastrand::Rng::with_seed(5);
        let honest: Vec<Vec<u8>> = [
            serde_json::to_vec(&Report::Forked { slot: 3, life: 77, pid: 4711 }).unwrap(),
            serde_json::to_vec(&Report::Leaving { why: Why::Panic }).unwrap(),
            serde_json::to_vec(&Report::Refused { reason: "no database".into() }).unwrap(),
        ]
        .into();
        for round in 0..20_000 {
            let mut bytes = rng.choice(&honest).unwrap().clone();
            match round % 4 {
                0 => bytes = (0..rng.usize(1..600)).map(|_| rng.u8(..)).collect(),
                1 => bytes.truncate(rng.usize(1..bytes.len())),
                2 => (0..rng.usize(1..4)).for_each(|_| {
                    let place = rng.usize(..bytes.len());
                    bytes[place] = rng.u8(..);
                }),
                _ => bytes = [&b"[".repeat(rng.usize(1..4000)), &bytes[..]].concat(),
            }
            send_raw(&theirs, &bytes, &[]).unwrap();
            match ours.try_hear::<Report>() {
                Received::Message(_, descriptors) => assert!(descriptors.is_empty()),
                Received::Nonsense(what) => assert!(what.len() < 300, "{what}"),
                other => panic!("{bytes:?} are {other:?}"),
            }
        }
        send_raw(&theirs, format!("{{\"report\":\"{}\"}}", "x".repeat(8000)).as_bytes(), &[]).unwrap();
        assert!(matches!(ours.try_hear::<Report>(), Received::Nonsense(what) if what.len() < 300));
    }

    /// "A worker cannot make the supervisor wait": closing the last copy of such a connection takes as long as its sender
    /// likes, if nothing is done about it.
    #[test]
    fn a_connection_that_was_made_to_linger_is_thrown_away_at_once() {
        let (ours, theirs) = Channel::pair().unwrap();
        send_lingering(&theirs);
        let begun = Instant::now();
        assert!(matches!(ours.try_hear::<Report>(), Received::Nonsense(_)));
        assert!(begun.elapsed() < Duration::from_secs(20), "it waited for {:?}", begun.elapsed());
    }

    #[test]
    fn one_that_nobody_has_read_is_not_waited_for_when_the_channel_is_closed() {
        let (ours, theirs) = Channel::pair().unwrap();
        send_raw(&theirs, b"", &[]).unwrap();
        send_lingering(&theirs);
        let begun = Instant::now();
        ours.hang_up();
        assert!(begun.elapsed() < Duration::from_secs(20), "it waited for {:?}", begun.elapsed());
        assert!(matches!(theirs.try_receive::<Order>(), Received::End));
    }

    /// A connection with something to send that nobody reads, and a minute to do it in; whoever receives it has the only
    /// copy.
    fn send_lingering(channel: &Channel) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let lingering = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        std::mem::forget(listener.accept().unwrap());
        lingering.set_nonblocking(true).unwrap();
        while std::io::Write::write(&mut &lingering, &[0; 65536]).is_ok() {}
        setsockopt(&lingering, sockopt::Linger, &linger { l_onoff: 1, l_linger: 60 }).unwrap();
        send_raw(channel, b"{}", &[lingering.as_raw_fd()]).unwrap();
    }

    #[test]
    fn an_end_that_refuses_descriptors_is_sent_none_and_sends_them_itself() {
        let (ours, theirs) = Channel::pair().unwrap();
        ours.refuse_descriptors();
        match send_raw(&theirs, b"{}", &[0]) {
            Err(Errno::EPERM) => {}
            // A kernel before 6.16.
            Ok(_) => assert!(matches!(ours.try_hear::<Report>(), Received::Nonsense(_))),
            other => panic!("{other:?}"),
        }
        ours.send(&Order::Drain, &[std::io::stdin().as_fd()]).unwrap();
        assert!(matches!(theirs.try_receive::<Order>(), Received::Message(Order::Drain, beside) if beside.len() == 1));
    }
}
