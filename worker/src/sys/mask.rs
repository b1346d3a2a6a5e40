//! The signal mask of this thread as the kernel has it: 64 bits, of which a C library's type hides some.

use std::ptr;

use nix::errno::Errno;
use nix::libc;

/// The signals that are blocked.
///
/// # Errors
/// None that the kernel documents for these arguments.
pub(crate) fn read() -> Result<u64, Errno> {
    let mut present = 0_u64;
    change(ptr::null(), &mut present)?;
    Ok(present)
}

/// Blocks exactly these signals; those that were before.
///
/// # Errors
/// As for [`read`].
pub(crate) fn swap(mask: u64) -> Result<u64, Errno> {
    let mut before = 0_u64;
    change(&raw const mask, &mut before)?;
    Ok(before)
}

fn change(new: *const u64, old: &mut u64) -> Result<(), Errno> {
    // SAFETY: `new` is null or a mask of 64 bits, as `old` is one: which is what the kernel is told. A mask that it gave
    // us itself blocks nothing that a C library needs for itself.
    let done =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, &raw mut *old, size_of::<u64>()) };
    Errno::result(done).map(drop)
}
