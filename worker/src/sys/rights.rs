//! Whether a socket takes descriptors from its other end.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_void, socklen_t};

/// `SO_PASSRIGHTS`, since Linux 6.16.
const SO_PASSRIGHTS: c_int = 83;

/// From now on whoever sends descriptors to this socket is refused.
///
/// # Errors
/// `ENOPROTOOPT` where the kernel does not know how.
pub(crate) fn refuse(socket: &impl AsFd) -> Result<(), Errno> {
    let no: c_int = 0;
    let size = size_of::<c_int>() as socklen_t;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `size` bytes at `no`, which is that large and lives until the call is over.
    let done =
        unsafe { libc::setsockopt(number, libc::SOL_SOCKET, SO_PASSRIGHTS, (&raw const no).cast::<c_void>(), size) };
    Errno::result(done).map(drop)
}
