//! Descriptors that whoever started us left open: they are nobody's business here, least of all a worker's.

use nix::errno::Errno;
use nix::libc;

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
