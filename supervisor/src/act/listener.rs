//! A listening socket: bound, owned and, if it is a Unix one, removed again; or systemd's, and left as it is.
//!
//! A Unix socket that another process still serves is not taken away; one that nobody serves any more is. It is
//! removed at the end only if what stands at its path is still ours.

use std::cell::Cell;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect, getsockname, listen,
    setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, User};

use serde::{Deserialize, Serialize};

use super::queue::Queue;
use crate::config::{Address, Listen};

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    address: Address,
    owner: Owner,
    /// How many of those that had it have given it up.
    given_up: Cell<usize>,
}

/// Whose a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Owner {
    /// Ours, and what stands at the path of a Unix one, as device and inode, too.
    Us { file: Option<(u64, u64)> },
    /// systemd's: it was open before us and is so after us, and who waits there is the next instance's.
    Systemd,
}

impl Listener {
    /// Binds and listens.
    ///
    /// # Errors
    /// One sentence that names the address, what failed, and what would help.
    pub(super) fn open(wanted: &Listen) -> Result<Listener, String> {
        let opened = match &wanted.address {
            Address::Tcp(address) => open_tcp(*address, wanted.backlog),
            Address::Unix(path) => open_unix(path, wanted),
            // Those are taken from `Passed`.
            Address::Systemd(_) => Err(Error::other("systemd has opened it")),
        };
        opened.map_err(|error| {
            let is_tcp = matches!(wanted.address, Address::Tcp(_));
            let hint = match error.kind() {
                ErrorKind::AddrInUse => ": another process has it; stop that one, or choose another address",
                ErrorKind::AddrNotAvailable => ": this machine has no such address; choose one that it has",
                ErrorKind::PermissionDenied if is_tcp => {
                    ": this user may not; ports below 1024 need CAP_NET_BIND_SERVICE"
                }
                ErrorKind::PermissionDenied => ": this user may not make it there, or not give it that owner or group",
                ErrorKind::NotFound => ": its directory does not exist; create it, or choose another path",
                ErrorKind::AlreadyExists => ": remove that, or choose another path",
                _ => "",
            };
            format!("cannot listen on {}: {error}{hint}", wanted.address)
        })
    }

    /// One that was opened before this program began.
    pub(super) fn inherited(socket: OwnedFd, address: Address, owner: Owner) -> Listener {
        Listener { socket, address, owner, given_up: Cell::new(0) }
    }

    /// A copy of one that systemd has opened at this address.
    pub(super) fn borrowed(socket: OwnedFd, address: Address) -> Listener {
        Listener::inherited(socket, address, Owner::Systemd)
    }

    /// Another pool gives it up; how many have by now, this one included.
    pub(super) fn given_up(&self) -> usize {
        self.given_up.set(self.given_up.get() + 1);
        self.given_up.get()
    }

    /// Whose it is.
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether clients can find it: a Unix socket's file may have been removed, or replaced by another's.
    pub(super) fn can_be_found(&self) -> bool {
        match (&self.address, self.owner) {
            (Address::Unix(path), Owner::Us { file }) => file == identity(path),
            (Address::Tcp(_) | Address::Systemd(_), _) | (_, Owner::Systemd) => true,
        }
    }

    /// Where clients find it: with the port that was chosen, if any was good.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Lets no newcomers into the queue, and says how many wait there. A full queue turns newcomers away by not
    /// answering them; once the socket is closed they are refused. The queue of one that is not ours stays open: who
    /// comes from now on is the next instance's.
    pub(super) fn stop_listening(&self) -> Result<u32, Errno> {
        if self.owner != Owner::Systemd {
            listen(&self.socket, Backlog::new(0)?)?;
        }
        Ok(self.queue()?.waiting)
    }

    /// Has it as the configuration now wants it: the length of its queue and, of a Unix socket, its owner and mode.
    ///
    /// # Errors
    /// What listen, chown and chmod say, or that there is no such user or group.
    pub(super) fn adjust(&self, wanted: &Listen) -> Result<(), Error> {
        if self.owner == Owner::Systemd {
            return Ok(());
        }
        if let Address::Unix(path) = &self.address
            && self.can_be_found()
        {
            own(path, wanted)?;
        }
        Ok(listen(&self.socket, backlog(wanted.backlog))?)
    }

    /// Who waits to be accepted, and how many may.
    ///
    /// # Errors
    /// The kernel does not say: it has no sock_diag, or the socket belongs to another network namespace.
    pub(super) fn queue(&self) -> Result<Queue, Errno> {
        match self.address {
            Address::Tcp(_) => Queue::of_tcp(&self.socket),
            Address::Unix(_) | Address::Systemd(_) => Queue::of_unix(&self.socket),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address
            && let Owner::Us { file: Some(file) } = self.owner
            && Some(file) == identity(path)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn backlog(wanted: u32) -> Backlog {
    i32::try_from(wanted).ok().and_then(|wanted| Backlog::new(wanted).ok()).unwrap_or(Backlog::MAXALLOWABLE)
}

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

fn open_tcp(address: SocketAddr, waiting: u32) -> Result<Listener, Error> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, FLAGS, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    // Its connections inherit this: a response leaves when it is written.
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    if address.is_ipv6() {
        // "[::]:80" and "0.0.0.0:80" are two listeners.
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, backlog(waiting))?;
    let bound = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
    let port = bound
        .as_sockaddr_in()
        .map(|bound| bound.port())
        .or(bound.as_sockaddr_in6().map(|bound| bound.port()))
        .unwrap_or(address.port());
    Ok(Listener::inherited(socket, Address::Tcp(SocketAddr::new(address.ip(), port)), Owner::Us { file: None }))
}

fn open_unix(path: &Path, wanted: &Listen) -> Result<Listener, Error> {
    make_way(path)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, FLAGS, None)?;
    // Nobody may connect before owner and mode are right.
    let usual = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixAddr::new(path).and_then(|address| bind(socket.as_raw_fd(), &address));
    umask(usual);
    bound?;
    let listener = Listener::inherited(socket, Address::Unix(path.to_owned()), Owner::Us { file: identity(path) });
    own(path, wanted)?;
    listen(&listener.socket, backlog(wanted.backlog))?;
    Ok(listener)
}

/// Gives a Unix socket its owner, group and mode.
fn own(path: &Path, wanted: &Listen) -> Result<(), Error> {
    let owner = wanted.owner.as_deref().map(user).transpose()?;
    let group = wanted.group.as_deref().map(group).transpose()?;
    chown(path, owner, group)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(wanted.permissions()))
}

/// Removes a socket that nobody serves any more.
fn make_way(path: &Path) -> Result<(), Error> {
    let Ok(present) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !present.file_type().is_socket() {
        return Err(Error::new(ErrorKind::AlreadyExists, "something that is not a socket stands there"));
    }
    // Without waiting: one whose queue is full is served by somebody, too.
    let probe = socket(AddressFamily::Unix, SockType::Stream, FLAGS, None)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED) => std::fs::remove_file(path),
        _ => Err(Errno::EADDRINUSE.into()),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

fn user(name: &str) -> Result<u32, Error> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = User::from_name(name)?.ok_or_else(|| Error::other(format!("no user {name:?}")))?;
    Ok(found.uid.as_raw())
}

fn group(name: &str) -> Result<u32, Error> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = Group::from_name(name)?.ok_or_else(|| Error::other(format!("no group {name:?}")))?;
    Ok(found.gid.as_raw())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use nix::sys::socket::accept;
    use nix::unistd::close;

    use super::*;

    /// Loopback delivers at its leisure on a busy machine.
    fn comes_to_hold(listener: &Listener, queue: Queue) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while listener.queue() != Ok(queue) {
            assert!(Instant::now() < deadline, "{:?} is not {queue:?}", listener.queue());
            std::thread::yield_now();
        }
    }

    fn says_who_waits_and_how_many_may<C>(address: Address, connect: impl Fn(&Address) -> C) {
        let listener = Listener::open(&Listen { backlog: 7, ..Listen::new(address) }).unwrap();
        comes_to_hold(&listener, Queue { waiting: 0, limit: 7 });
        let _clients = [connect(listener.address()), connect(listener.address())];
        comes_to_hold(&listener, Queue { waiting: 2, limit: 7 });
        close(accept(listener.as_fd().as_raw_fd()).unwrap()).unwrap();
        comes_to_hold(&listener, Queue { waiting: 1, limit: 7 });
        assert_eq!(listener.stop_listening(), Ok(1));
        assert_eq!(listener.queue(), Ok(Queue { waiting: 1, limit: 0 }));
    }

    #[test]
    fn a_tcp_listener_says_who_waits_and_how_many_may() {
        let anywhere = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        says_who_waits_and_how_many_may(anywhere, |address| match address {
            Address::Tcp(address) => TcpStream::connect(address).unwrap(),
            Address::Unix(_) | Address::Systemd(_) => unreachable!(),
        });
    }

    #[test]
    fn a_unix_listener_says_who_waits_and_how_many_may() {
        let directory = tempfile::tempdir().unwrap();
        says_who_waits_and_how_many_may(Address::Unix(directory.path().join("socket")), |address| match address {
            Address::Unix(path) => UnixStream::connect(path).unwrap(),
            Address::Tcp(_) | Address::Systemd(_) => unreachable!(),
        });
    }
}
