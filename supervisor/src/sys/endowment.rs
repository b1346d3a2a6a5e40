//! What the kernel allows a child of ours, set from outside: it is executed already, and has done nothing yet.

use std::os::raw::c_int;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::Resource;
use nix::unistd::Pid;

/// Sets the soft and the hard limit of a child. Of processor time the hard one is a second more: at that the kernel kills
/// without saying why, at the soft one it sends SIGXCPU.
///
/// # Errors
/// `EPERM` if it is above a hard limit that we may not raise.
pub(crate) fn limit(child: Pid, resource: Resource, most: u64) -> Result<(), Errno> {
    let more = u64::from(resource == Resource::RLIMIT_CPU);
    let limit = libc::rlimit64 { rlim_cur: most, rlim_max: most.saturating_add(more) };
    // SAFETY: `limit` is read during the call only, and nothing is asked for in return.
    let done = unsafe { libc::prlimit64(child.as_raw(), resource as _, &raw const limit, std::ptr::null_mut()) };
    Errno::result(done).map(drop)
}

/// Sets the niceness of a child.
///
/// # Errors
/// `EACCES` if that would raise its priority and we may not.
pub(crate) fn nice(child: Pid, nice: i32) -> Result<(), Errno> {
    // SAFETY: three integers.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, child.as_raw() as libc::id_t, nice as c_int) };
    Errno::result(done).map(drop)
}
