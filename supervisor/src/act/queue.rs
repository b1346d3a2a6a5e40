//! How many connections wait in the queue of a Unix listener: asked of the kernel through sock_diag.
//!
//! One datagram asked, one answered, for one socket named by its inode: `sock_diag(7)`.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::sys::stat::fstat;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const ANY_STATE: u32 = u32::MAX;
const SHOW_QUEUE: u32 = 0x10;
const NO_COOKIE: [u32; 2] = [u32::MAX; 2];
/// The attribute that holds the lengths of the queues.
const QUEUE: u16 = 4;
/// The lengths of a netlink header and of unix_diag's answer, before its attributes.
const HEADER: usize = 16;
const ANSWER: usize = 16;

/// How many connections wait to be accepted.
///
/// # Errors
/// What socket, send and recv say; `EPROTO` if the answer is none.
pub(super) fn waiting(listener: &impl AsFd) -> Result<u32, Errno> {
    let inode = fstat(listener)?.st_ino;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let kernel = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
    send(kernel.as_raw_fd(), &question(inode as u32), MsgFlags::empty())?;
    // The kernel answers a netlink question before send returns.
    let mut answer = [0; 512];
    let length = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    queue(&answer[..length]).ok_or(Errno::EPROTO)
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

fn queue(answer: &[u8]) -> Option<u32> {
    if u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?) != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut rest = answer.get(HEADER + ANSWER..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        if kind == QUEUE {
            return Some(u32::from_ne_bytes(rest.get(4..8)?.try_into().ok()?));
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn the_kernel_says_how_many_wait_at_a_unix_listener() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(super::waiting(&listener).unwrap(), 0);
        let _clients = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
        assert_eq!(super::waiting(&listener).unwrap(), 2);
    }
}
