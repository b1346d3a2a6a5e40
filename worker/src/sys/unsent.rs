//! How much of what was written to a socket its other end has not taken yet, which no safe wrapper asks.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::{self, TIOCOUTQ};

/// Bytes in the socket's send queue: written, and with TCP not yet acknowledged.
///
/// # Errors
/// `ENOTTY` or the like if it is no socket that can say.
pub(crate) fn unsent(socket: &impl AsFd) -> Result<u64, Errno> {
    let mut bytes: c_int = 0;
    // SAFETY: TIOCOUTQ writes one int, and `bytes` is one that lives until after the call.
    Errno::result(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), TIOCOUTQ, &raw mut bytes) })?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}
