//! Children: who has died, and how. Strangers too: what a worker spawned and left becomes ours, and so does every
//! orphan if we are process 1.

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::decide::event::Exit;

/// Only look: neither wait nor reap.
const LOOK: WaitPidFlag = WaitPidFlag::WEXITED.union(WaitPidFlag::WNOHANG).union(WaitPidFlag::WNOWAIT);

/// A child that is dead and not yet reaped, if there is one. Asking again finds the same one until it is reaped.
pub(super) fn next_dead() -> Option<Pid> {
    loop {
        match waitid(Id::All, LOOK) {
            Err(Errno::EINTR) => {}
            Ok(status) => return status.pid(),
            Err(_) => return None,
        }
    }
}

/// Whether this is a child of ours, alive or not yet reaped.
pub(super) fn is_ours(pid: Pid) -> bool {
    waitid(Id::Pid(pid), LOOK).is_ok()
}

/// Buries a dead child, and says how it died.
pub(super) fn reap(pid: Pid) -> Option<Exit> {
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::Exited(_, status)) => return Some(Exit::Status(status)),
            Ok(WaitStatus::Signaled(_, signal, core)) => {
                return Some(Exit::Signal { number: signal as libc::c_int, core });
            }
            // A real-time signal has no name, and nix takes it for an error; the child is reaped all the same.
            Err(Errno::EINVAL) => {
                return Some(Exit::Signal { number: libc::SIGRTMIN(), core: false });
            }
            _ => return None,
        }
    }
}

/// What the workers spawned and left is asked to go with them.
pub(super) fn dismiss_strangers() {
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        // It is our child and not reaped, so the pid is its own.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}
