//! Taking a connection together with its address: one system call, which no safe wrapper offers with both.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};

use super::descriptor::received;

/// The next connection of a listener, non-blocking, not for executed programs; its address unless the socket is a
/// Unix one.
///
/// # Errors
/// What accept4 says; `EAGAIN` if nobody waits.
pub(crate) fn accept(listener: &impl AsFd) -> Result<(OwnedFd, Option<SocketAddr>), Errno> {
    let mut address = MaybeUninit::<sockaddr_storage>::zeroed();
    let mut length = size_of::<sockaddr_storage>() as socklen_t;
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `address` is valid for `length` bytes, which is what the kernel is told.
    let number =
        unsafe { libc::accept4(listener.as_fd().as_raw_fd(), address.as_mut_ptr().cast(), &mut length, flags) };
    let connection = received(Errno::result(number)?);
    // SAFETY: all zeroes is a sockaddr_storage, and the kernel wrote an address into it.
    let address = unsafe { address.assume_init() };
    let peer = match i32::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in, which is smaller and no more aligned than the storage.
            let address = unsafe { *(&raw const address).cast::<sockaddr_in>() };
            let ip = IpAddr::from(address.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip, u16::from_be(address.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: likewise for sockaddr_in6.
            let address = unsafe { *(&raw const address).cast::<sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr).to_canonical();
            Some(SocketAddr::new(ip, u16::from_be(address.sin6_port)))
        }
        _ => None,
    };
    Ok((connection, peer))
}
