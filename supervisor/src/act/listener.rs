//! A listening socket: bound, owned and, if it is a Unix one, removed again.
//!
//! A Unix socket that another process still serves is not taken away; one that nobody serves any more is. It is
//! removed at the end only if what stands at its path is still ours.

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

use super::queue;
use crate::config::{Address, Listen};
use crate::sys;

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    address: Address,
    /// What stands at a Unix socket's path, as device and inode, since it is ours.
    file: Option<(u64, u64)>,
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

    /// Where clients find it: with the port that was chosen, if any was good.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Lets no newcomers into the queue, and says how many wait there. A full queue turns newcomers away by not
    /// answering them; once the socket is closed they are refused.
    pub(super) fn stop_listening(&self) -> Result<u32, Errno> {
        listen(&self.socket, Backlog::new(0)?)?;
        match self.address {
            Address::Tcp(_) => sys::queue::waiting(&self.socket),
            Address::Unix(_) => queue::waiting(&self.socket),
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
            && self.file.is_some()
            && self.file == identity(path)
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
    Ok(Listener { socket, address: Address::Tcp(SocketAddr::new(address.ip(), port)), file: None })
}

fn open_unix(path: &Path, wanted: &Listen) -> Result<Listener, Error> {
    let owner = wanted.owner.as_deref().map(user).transpose()?;
    let group = wanted.group.as_deref().map(group).transpose()?;
    make_way(path)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, FLAGS, None)?;
    // Nobody may connect before owner and mode are right.
    let usual = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixAddr::new(path).and_then(|address| bind(socket.as_raw_fd(), &address));
    umask(usual);
    bound?;
    let listener = Listener { socket, address: Address::Unix(path.to_owned()), file: identity(path) };
    chown(path, owner, group)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(wanted.permissions()))?;
    listen(&listener.socket, backlog(wanted.backlog))?;
    Ok(listener)
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
