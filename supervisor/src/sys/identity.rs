//! Becoming another user, between the fork and the execution of a program: later it would clear what the program has set
//! for itself, and no safe wrapper does it then.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{AccessFlags, Gid, Uid, access, setgroups, setresgid, setresuid};

use super::capabilities;

/// Has the command run as this user, in these groups alone, without a capability and without a way to one.
pub(crate) fn assume(command: &mut Command, user: Uid, group: Gid, groups: Vec<Gid>) {
    let become_it = move || {
        setgroups(&groups)?;
        setresgid(group, group, group)?;
        // With root's number goes every capability, for it is given up for good.
        setresuid(user, user, user)?;
        capabilities::drop_all()?;
        set_no_new_privs()?;
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made, on a list that was made before; nothing is allocated: an
    // error is a number.
    unsafe { command.pre_exec(become_it) };
}

/// Whether this user, in these groups alone, may do that with what is at this path: a child becomes it, looks, and is gone
/// before anything is executed. Of the supervisor's own user that would be no more than access(2).
///
/// # Errors
/// What access(2) told the child, or why it could not become that user.
pub(crate) fn may(user: Uid, group: Gid, groups: Vec<Gid>, path: &Path, what: AccessFlags) -> io::Result<()> {
    /// What the child says when it may: nothing that could be executed here is ever reached.
    const IT_MAY: Errno = Errno::ECANCELED;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut child = Command::new("/");
    assume(&mut child, user, group, groups);
    let look = move || {
        access(path.as_c_str(), what)?;
        Err(io::Error::from(IT_MAY))
    };
    // SAFETY: as above: one system call, on a path that was made before.
    unsafe { child.pre_exec(look) };
    match child.spawn() {
        Err(error) if error.raw_os_error() == Some(IT_MAY as i32) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("a directory was executed")),
    }
}
