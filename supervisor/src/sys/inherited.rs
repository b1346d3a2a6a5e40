//! Descriptors that were open before this program began: what our predecessor left us is ours; what anybody else left
//! open is nobody's business here, least of all a worker's.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Takes ownership of a descriptor that this process had when it was another program.
///
/// # Errors
/// `EBADF` if no such descriptor is open, or if it is one of the standard three.
pub(crate) fn adopt(number: RawFd) -> Result<OwnedFd, Errno> {
    if number <= 2 {
        return Err(Errno::EBADF);
    }
    // SAFETY: the numbers come from the supervisor that executed this program, or was this process before: that of the
    // state from its environment, the others from the list in it, each once. They were open before this program began
    // (of systemd's `Passed::take` sees to that, which comes before anything is opened), so nothing here owns them. One
    // that is not open is found out by the next call, and the value is then forgotten without being closed.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    match fcntl(&descriptor, FcntlArg::F_GETFD) {
        Ok(_) => Ok(descriptor),
        Err(errno) => {
            std::mem::forget(descriptor);
            Err(errno)
        }
    }
}

/// Keeps every descriptor beyond the standard three from the programs we execute. To be called before we open any that
/// a program is meant to inherit.
///
/// # Errors
/// `ENOSYS` or `EINVAL` on a kernel before 5.11.
pub(crate) fn withhold() -> Result<(), Errno> {
    // SAFETY: three integers; no descriptor is closed, only marked.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(done).map(drop)
}

/// Has a descriptor survive the next execution, or not.
///
/// # Errors
/// `EBADF` if no such descriptor is open.
pub(crate) fn pass_on(number: RawFd, yes: bool) -> Result<(), Errno> {
    let flags = if yes { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: three integers; no descriptor is closed or read, only marked.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, flags) }).map(drop)
}
