//! How long a TCP client has sent nothing, which no safe wrapper asks.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::{self, socklen_t, tcp_info};

/// Milliseconds since the last data arrived; if none ever did, since the connection was made.
///
/// # Errors
/// `EOPNOTSUPP` or the like if it is no TCP socket.
pub(crate) fn silence(socket: &impl AsFd) -> Result<u64, Errno> {
    let mut info = MaybeUninit::<tcp_info>::zeroed();
    let mut length = size_of::<tcp_info>() as socklen_t;
    // SAFETY: `info` is valid for `length` bytes, which is what the kernel is told, and may be filled in part: it is
    // zeroed, and all zeroes is a tcp_info.
    let info = unsafe {
        let done = libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        );
        Errno::result(done)?;
        info.assume_init()
    };
    Ok(info.tcpi_last_data_recv.into())
}
