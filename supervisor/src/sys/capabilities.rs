//! What a process may do beyond its user, given up. No safe wrapper does this.

use nix::errno::Errno;
use nix::libc;

/// `_LINUX_CAPABILITY_VERSION_3` (capget(2)): two words a set.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up every capability of this process, which must have one thread, for itself and for what it executes.
///
/// # Errors
/// `EINVAL` on a kernel that has no such thing.
pub(crate) fn drop_all() -> Result<(), Errno> {
    // SAFETY: four integers.
    let done = unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0_u64, 0_u64, 0_u64)
    };
    Errno::result(done)?;
    let header = Header { version: VERSION, pid: 0 };
    let none = [Sets::default(); 2];
    // SAFETY: both are of the layout that version 3 has (capget(2)), and are read during the call only.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    Errno::result(done).map(drop)
}
