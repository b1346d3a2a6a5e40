//! Children: ours to signal until they are reaped, and not a moment longer.
//!
//! A pid that has not been reaped belongs to that child and to nobody else, and only this process reaps: that is what
//! makes it as good as a pidfd.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::sys::wait;

/// How long the dead may take to die before we leave without them.
const UNBURIED: Duration = Duration::from_secs(1);

/// Kills a child that has not been reaped.
pub(super) fn kill(pid: Pid) {
    match signal::kill(pid, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::error!(pid = pid.as_raw(), %error, "cannot kill a process"),
    }
}

/// Asks a child that has not been reaped to leave.
pub(super) fn dismiss(pid: Pid) {
    match signal::kill(pid, Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::error!(pid = pid.as_raw(), %error, "cannot ask a process to leave"),
    }
}

/// As whom a process runs, dead or alive; `None` if there is none.
pub(super) fn user(pid: Pid) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// Waits, for a moment, for the end of a child that leaves, and kills it if it does not.
pub(super) fn end(pid: Pid) {
    let begun = Instant::now();
    await_death(|| {
        wait::reap(pid);
        if begun.elapsed() > UNBURIED / 2 {
            kill(pid);
        }
        (!wait::is_ours(pid)).then_some(())
    });
}

/// What the workers spawned and left is asked to go with them; `ours` is not a stranger.
pub(super) fn dismiss_strangers(ours: Option<Pid>) {
    for pid in present().into_iter().filter(|pid| Some(*pid) != ours) {
        let _ = signal::kill(pid, Signal::SIGTERM);
    }
}

/// What the workers spawned and left is killed, and so is a worker that was being forked when its template was: it
/// may come to light only now.
pub(super) fn kill_strangers(ours: Option<Pid>) {
    await_death(|| {
        let strangers: Vec<Pid> = present().into_iter().filter(|pid| Some(*pid) != ours).collect();
        if strangers.is_empty() {
            return Some(());
        }
        strangers.into_iter().for_each(kill);
        while let Some((pid, _)) = wait::next_dead() {
            wait::reap(pid);
        }
        None
    });
}

/// Waits until those that were killed are dead, but for no longer than that takes. Only for when everything is over.
pub(super) fn await_death(mut are_dead: impl FnMut() -> Option<()>) {
    let begun = Instant::now();
    while begun.elapsed() < UNBURIED && are_dead().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The children that have not been reaped.
fn present() -> Vec<Pid> {
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}
