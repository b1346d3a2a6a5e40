//! A second stack for signal handlers: the first may be used up, which is what the signal says.

use std::num::NonZeroUsize;

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect};

/// How large it is, in bytes: unwinding needs some KiB, what the kernel saves of a CPU's registers up to a dozen.
const SIZE: usize = 128 * 1024;
/// What lies below it and may not be touched; a multiple of every page size in use.
const GUARD: usize = 64 * 1024;

/// Gives this thread, and what is forked from it, a stack for the handlers that ask for one. It is never taken away.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn provide() -> Result<(), Errno> {
    let length = NonZeroUsize::new(GUARD + SIZE).ok_or(Errno::EINVAL)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address the kernel chooses replaces nothing, and its lower end, of which nobody knows
    // yet, may be protected. What sigaltstack is given is the rest of it, which is never unmapped.
    unsafe {
        let low = mmap_anonymous(None, length, access, MapFlags::MAP_PRIVATE)?;
        mprotect(low, GUARD, ProtFlags::PROT_NONE)?;
        let stack = libc::stack_t { ss_sp: low.as_ptr().byte_add(GUARD), ss_flags: 0, ss_size: SIZE };
        Errno::result(libc::sigaltstack(&raw const stack, std::ptr::null_mut())).map(drop)
    }
}
