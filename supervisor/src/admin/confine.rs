//! What the admin process gives up before it reads a byte of anybody's: it needs two sockets and its own memory.

use std::io;

use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::sys::capabilities;

/// How many clients are held at a time; beyond that the one that was idle for longest makes room.
pub(super) const MOST_CONNECTIONS: u32 = 1024;

/// Descriptors: those clients, and what a process has anyway.
const DESCRIPTORS: u64 = MOST_CONNECTIONS as u64 + 64;

/// Address space, in bytes: some hundred times what it takes. It must not be what fills the machine.
const ADDRESS_SPACE: u64 = 2 << 30;

/// Confines this process, which is `supervisor`'s child.
///
/// # Errors
/// What the kernel says; or that the supervisor is gone already.
pub(super) fn confine(supervisor: u32) -> io::Result<()> {
    set_no_new_privs()?;
    capabilities::drop_all()?;
    for (resource, most) in
        [(Resource::RLIMIT_NOFILE, DESCRIPTORS), (Resource::RLIMIT_AS, ADDRESS_SPACE), (Resource::RLIMIT_CORE, 0)]
    {
        setrlimit(resource, most, most)?;
    }
    // It has nothing to finish. The user was changed before we were executed, so this stays.
    set_pdeathsig(Signal::SIGKILL)?;
    if getppid().as_raw() != supervisor.cast_signed() {
        return Err(io::Error::other("the supervisor is gone"));
    }
    Ok(())
}
