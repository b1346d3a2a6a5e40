//! Becoming another user, between the fork and the execution of a program: later it would clear what the program has set
//! for itself, and no safe wrapper does it then.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

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
