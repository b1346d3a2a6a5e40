//! A process by descriptor: what is signalled through it is that process or nothing, never its pid's next owner.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

/// One process, alive or not yet reaped.
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// The process that has this pid now: to be called for a child that has not been reaped.
    ///
    /// # Errors
    /// `ESRCH` if there is none, `EMFILE` and `ENFILE`.
    pub(crate) fn open(pid: Pid) -> Result<PidFd, Errno> {
        // SAFETY: pidfd_open takes two integers and returns a descriptor nobody else knows.
        unsafe {
            let number = Errno::result(libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0))?;
            Ok(PidFd(OwnedFd::from_raw_fd(number as RawFd)))
        }
    }

    /// Kills it. A process that is dead already is no error.
    ///
    /// # Errors
    /// `EPERM` if it has become another user's.
    pub(crate) fn kill(&self) -> Result<(), Errno> {
        let none: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the descriptor is open, the signal information may be null, no flag is set.
        let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), libc::SIGKILL, none, 0) };
        match Errno::result(done) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}
