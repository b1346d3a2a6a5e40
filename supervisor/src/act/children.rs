//! Children: ours to signal until they are reaped, and not a moment longer.
//!
//! A pid that has not been reaped belongs to that child and to nobody else, and only this process reaps: that is what
//! makes it as good as a pidfd.

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// Kills a child that has not been reaped.
pub(super) fn kill(pid: Pid) {
    match signal::kill(pid, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::error!(pid = pid.as_raw(), %error, "cannot kill a process"),
    }
}

/// What the workers spawned and left is asked to go with them.
pub(super) fn dismiss_strangers() {
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        let _ = signal::kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}
