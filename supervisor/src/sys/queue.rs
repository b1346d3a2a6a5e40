//! The length of a TCP listener's accept queue, which no safe wrapper reads.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::{self, socklen_t, tcp_info};

/// How many connections wait to be accepted.
///
/// # Errors
/// `EOPNOTSUPP` or the like if it is no TCP socket.
pub(crate) fn waiting(listener: &impl AsFd) -> Result<u32, Errno> {
    let mut info = MaybeUninit::<tcp_info>::zeroed();
    let mut length = size_of::<tcp_info>() as socklen_t;
    // SAFETY: `info` is valid for `length` bytes, which is what the kernel is told, and may be filled in part: it is
    // zeroed, and all zeroes is a tcp_info.
    let info = unsafe {
        let done = libc::getsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        );
        Errno::result(done)?;
        info.assume_init()
    };
    // For a socket in the LISTEN state, this field is the length of the queue: tcp_get_info() in the kernel.
    Ok(info.tcpi_unacked)
}
