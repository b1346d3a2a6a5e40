//! The sockets that systemd opened for this service and passed on: `sd_listen_fds(3)`.
//!
//! Owns them for as long as this service lives, also those that no pool has: a reload may want one again. What a pool gets
//! is a copy. Never closes the door behind a pool: it is systemd's, and the next instance goes on with who waits there.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{SockaddrLike, SockaddrStorage, getsockname, getsockopt, setsockopt, sockopt};

use super::listener::Listener;
use super::upgrade::estate::{Heirlooms, Inventory};
use crate::config::Address;
use crate::sys;

/// The first descriptor that is passed: SD_LISTEN_FDS_START.
const FIRST: RawFd = 3;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Passed {
    /// Each with its name; several may have the same.
    sockets: Vec<(String, OwnedFd)>,
}

impl Passed {
    /// Takes those that the environment tells of. To be called once, before this program has opened
    /// anything: a number that is promised and not passed would be that of something else.
    ///
    /// # Errors
    /// What is told makes no sense, in a sentence.
    pub fn take() -> Result<Passed, String> {
        let variable = |name: &str| std::env::var(name).ok();
        let is_ours = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
        let Some(count) = variable("LISTEN_FDS").filter(|_| is_ours) else {
            return Ok(Passed::default());
        };
        let count: u16 = count.parse().map_err(|_| format!("LISTEN_FDS is {count:?}, which is no number"))?;
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let sockets = (FIRST..FIRST + RawFd::from(count)).map(|number| {
            // Without a name sd_listen_fds_with_names(3) calls it so.
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
            let socket = sys::inherited::adopt(number);
            let socket = socket.map_err(|errno| format!("descriptor {number} was to be passed by systemd: {errno}"))?;
            Ok((name, socket))
        });
        Ok(Passed { sockets: sockets.collect::<Result<_, String>>()? })
    }

    /// Copies of all that have this name.
    ///
    /// # Errors
    /// There is none, or one that cannot be accepted from: a sentence that says what there is.
    pub(super) fn open(&self, name: &str) -> Result<Vec<Listener>, String> {
        let named: Vec<&OwnedFd> = self.sockets.iter().filter(|(its, _)| its == name).map(|(_, each)| each).collect();
        if named.is_empty() {
            return Err(self.nobody(name));
        }
        let cannot = |what: String| format!("cannot accept from \"systemd:{name}\": {what}");
        named.into_iter().map(|socket| listener(socket).map_err(cannot)).collect()
    }

    fn nobody(&self, name: &str) -> String {
        let mut names: Vec<String> = self.sockets.iter().map(|(its, _)| format!("\"systemd:{its}\"")).collect();
        names.dedup();
        match names.is_empty() {
            true => format!(
                "systemd has passed no socket at all, and \"systemd:{name}\" is wanted: start this service with its \
                 .socket unit (Sockets=), or write an address"
            ),
            false => format!(
                "systemd has passed no socket called {name:?}, there is {}: FileDescriptorName= in the .socket unit \
                 names it",
                names.join(", ")
            ),
        }
    }

    /// Writes them down.
    pub(super) fn bequeath<'a>(&'a self, inventory: &mut Inventory<'a>) -> Vec<(String, RawFd)> {
        self.sockets.iter().map(|(name, socket)| (name.clone(), inventory.descriptor(socket))).collect()
    }

    /// Reads them again.
    ///
    /// # Errors
    /// One was not passed on.
    pub(super) fn inherit(written: Vec<(String, RawFd)>, heirlooms: &Heirlooms) -> io::Result<Passed> {
        let sockets = written.into_iter().map(|(name, number)| Ok((name, heirlooms.descriptor(number)?)));
        Ok(Passed { sockets: sockets.collect::<io::Result<_>>()? })
    }
}

fn listener(socket: &OwnedFd) -> Result<Listener, String> {
    if getsockopt(socket, sockopt::AcceptConn) != Ok(true) {
        return Err("it is not a socket that listens: ListenStream= makes one, without Accept=".to_owned());
    }
    let told = |error: io::Error| error.to_string();
    let copy = socket.try_clone().map_err(told)?;
    // It belongs to the open file, which is systemd's too; that only waits for it.
    let flags = OFlag::from_bits_retain(fcntl(&copy, FcntlArg::F_GETFL).map_err(|errno| errno.to_string())?);
    fcntl(&copy, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map_err(|errno| errno.to_string())?;
    let address = address_of(&copy)?;
    if let Address::Tcp(_) = address {
        // As of those we open ourselves: a response leaves when it is written.
        setsockopt(&copy, sockopt::TcpNoDelay, &true).map_err(|errno| errno.to_string())?;
    }
    Ok(Listener::borrowed(copy, address))
}

fn address_of(socket: &OwnedFd) -> Result<Address, String> {
    let bound = getsockname::<SockaddrStorage>(socket.as_raw_fd()).map_err(|errno| errno.to_string())?;
    if let Some(bound) = bound.as_sockaddr_in() {
        return Ok(Address::Tcp(SocketAddr::from((bound.ip(), bound.port()))));
    }
    if let Some(bound) = bound.as_sockaddr_in6() {
        return Ok(Address::Tcp(SocketAddr::from((bound.ip(), bound.port()))));
    }
    let Some(bound) = bound.as_unix_addr() else {
        return Err(format!("it is of a family that is not known here: {:?}", bound.family()));
    };
    let hidden = || bound.as_abstract().map(|name| PathBuf::from(format!("@{}", String::from_utf8_lossy(name))));
    Ok(Address::Unix(bound.path().map(PathBuf::from).or_else(hidden).unwrap_or_default()))
}
