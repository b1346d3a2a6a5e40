//! Descriptors that arrive as bare numbers: in the environment of an executed program, or in a message.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Takes ownership of a descriptor this process was handed by number, and keeps it from the programs it executes.
///
/// # Errors
/// `EBADF` if no such descriptor is open, or if it is one of the standard three.
pub(crate) fn adopt(number: RawFd) -> Result<OwnedFd, Errno> {
    if number <= 2 {
        return Err(Errno::EBADF);
    }
    // SAFETY: the numbers given here come from the supervisor's message or environment, which made them for us alone:
    // nothing else in this process knows them. A number that is not open is found out by the next call, and the
    // value is then forgotten without being closed.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    match fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
        Ok(_) => Ok(fd),
        Err(errno) => {
            std::mem::forget(fd);
            Err(errno)
        }
    }
}

/// A descriptor that the kernel has just installed for this process, as accept4 and recvmsg return it.
pub(crate) fn received(number: RawFd) -> OwnedFd {
    // SAFETY: the kernel made the number for this call's answer; nobody else in this process has seen it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
