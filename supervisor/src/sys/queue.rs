//! What the kernel knows of a TCP socket, which no safe wrapper reads. Says nothing about what it means.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::{self, socklen_t, tcp_info};

/// `TCP_INFO` of this socket; fields that this kernel does not fill are zero.
///
/// # Errors
/// `EOPNOTSUPP` or the like if it is no TCP socket.
pub(crate) fn info(socket: &impl AsFd) -> Result<tcp_info, Errno> {
    let mut info = MaybeUninit::<tcp_info>::zeroed();
    let mut length = size_of::<tcp_info>() as socklen_t;
    // SAFETY: `info` is valid for `length` bytes, which is what the kernel is told, and may be filled in part: it is
    // zeroed, and all zeroes is a tcp_info.
    unsafe {
        let done = libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        );
        Errno::result(done)?;
        Ok(info.assume_init())
    }
}
