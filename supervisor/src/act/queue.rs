//! The accept queue of a listener: how many connections wait in it, and how many it takes. Only asks; never accepts.
//!
//! TCP answers with `TCP_INFO`, a Unix socket through `sock_diag(7)`: one datagram asked, one answered, for one socket
//! named by its inode. The kernel is asked through a new netlink socket each time: at ten questions a second that costs
//! nothing that shows, and no answer can be mistaken for that to an earlier question.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::sys::stat::fstat;

use crate::sys;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const ANY_STATE: u32 = u32::MAX;
const SHOW_QUEUE: u32 = 0x10;
const NO_COOKIE: [u32; 2] = [u32::MAX; 2];
/// The attribute that holds the lengths of the queues.
const QUEUE: u16 = 4;
/// The lengths of a netlink header and of unix_diag's answer, before its attributes.
const HEADER: usize = 16;
const ANSWER: usize = 16;

/// The accept queue of one listener, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queue {
    /// Connections that are established and not yet accepted. May exceed `limit` by one.
    pub(super) waiting: u32,
    /// At how many the kernel lets nobody else in: the backlog, or `net.core.somaxconn` where that is less.
    pub(super) limit: u32,
}

impl Queue {
    /// The queue of a TCP listener.
    ///
    /// # Errors
    /// `EOPNOTSUPP` or the like if it is no TCP socket.
    pub(super) fn of_tcp(listener: &impl AsFd) -> Result<Queue, Errno> {
        // For a socket in the LISTEN state, these two fields are about its queue: tcp_get_info() in the kernel.
        let info = sys::queue::info(listener)?;
        Ok(Queue { waiting: info.tcpi_unacked, limit: info.tcpi_sacked })
    }

    /// The queue of a Unix listener.
    ///
    /// # Errors
    /// What socket, send, recv and the kernel's answer say (`ENOENT`: it knows no such socket, or no sock_diag);
    /// `EPROTO` if the answer is none.
    pub(super) fn of_unix(listener: &impl AsFd) -> Result<Queue, Errno> {
        let inode = fstat(listener)?.st_ino;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let kernel = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
        send(kernel.as_raw_fd(), &question(inode as u32), MsgFlags::empty())?;
        // The kernel answers a netlink question before send returns.
        let mut answer = [0; 512];
        let length = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
        understand(&answer[..length]).unwrap_or(Err(Errno::EPROTO))
    }
}

fn question(inode: u32) -> Vec<u8> {
    let mut body = vec![AddressFamily::Unix as u8, 0, 0, 0];
    for word in [ANY_STATE, inode, SHOW_QUEUE, NO_COOKIE[0], NO_COOKIE[1]] {
        body.extend(word.to_ne_bytes());
    }
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// What the kernel says; `None` if it makes no sense.
fn understand(answer: &[u8]) -> Option<Result<Queue, Errno>> {
    match short(answer, 4)? {
        SOCK_DIAG_BY_FAMILY => {}
        NLMSG_ERROR => return Some(Err(Errno::from_raw((word(answer, HEADER)? as i32).wrapping_neg()))),
        _ => return None,
    }
    let mut rest = answer.get(HEADER + ANSWER..)?;
    while short(rest, 2)? != QUEUE {
        let length = usize::from(short(rest, 0)?);
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
    Some(Ok(Queue { waiting: word(rest, 4)?, limit: word(rest, 8)? }))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_such_socket_is_an_error_and_not_an_empty_queue() {
        let (unix, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Queue::of_tcp(&unix).is_err());
        assert_eq!(Queue::of_unix(&tempfile::tempfile().unwrap()), Err(Errno::ENOENT));
    }

    #[test]
    fn an_answer_that_is_none_is_not_understood() {
        for nonsense in [&[][..], &[0; 16], &[0xff; 64], &question(1)[..HEADER]] {
            assert_eq!(understand(nonsense), None);
        }
    }
}
