//! Telling a worker that its request is overdue: a signal to its first thread, which runs the application, and to no
//! other. No safe wrapper sends to a thread.

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

/// Sends SIGURG, which a worker answers with its last words and anybody else ignores.
///
/// # Errors
/// `ESRCH` if its first thread is gone.
pub(crate) fn tell(worker: Pid) -> Result<(), Errno> {
    let pid = worker.as_raw();
    // SAFETY: three integers; the signal harms nobody who does not know it.
    let done = unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGURG) };
    Errno::result(done).map(drop)
}
