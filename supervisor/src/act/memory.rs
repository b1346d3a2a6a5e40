//! How much memory a process has for itself, and whether the kernel has killed for want of it.
//!
//! What it shares with its template and siblings, untouched since the fork, is not counted: RSS would be. The exact
//! figure costs the kernel a walk through the process's pages, so it is asked only where the cheap bound does not say
//! enough.

use std::fs;

use nix::unistd::Pid;

use crate::weight;

/// Bytes that the process shares with nobody, exactly if they may be more than `bound`; else at least as many as there
/// are. `None` if there is no such process.
pub(super) fn of_its_own(pid: Pid, bound: u64) -> Option<u64> {
    let resident = weight::resident(pid)?;
    if resident <= bound { Some(resident) } else { weight::private(pid) }
}

/// The kernel's own count of those it has killed for memory in our cgroup.
#[derive(Debug)]
pub(super) struct Killings {
    events: Option<String>,
    seen: u64,
}

impl Killings {
    /// Those from now on.
    pub(super) fn begin() -> Killings {
        let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let events = cgroups.lines().filter_map(events_of).find(|path| fs::exists(path).unwrap_or(false));
        let mut killings = Killings { events, seen: 0 };
        killings.seen = killings.count();
        killings
    }

    /// Whether there was one that nobody has claimed yet.
    pub(super) fn claim(&mut self) -> bool {
        let is_one = self.count() > self.seen;
        self.seen += u64::from(is_one);
        is_one
    }

    fn count(&self) -> u64 {
        let text = self.events.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }
}

/// Where the kernel counts for the cgroup in this line of `/proc/PID/cgroup`, in whichever version of the hierarchy;
/// `None` if it is not about memory.
fn events_of(line: &str) -> Option<String> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let path = path.trim_end_matches('/');
    match controllers {
        "" => Some(format!("/sys/fs/cgroup{path}/memory.events")),
        "memory" => Some(format!("/sys/fs/cgroup/memory{path}/memory.oom_control")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_exactly_above_the_bound_only() {
        let ours = Pid::this();
        let bound = of_its_own(ours, u64::MAX).unwrap_or_default();
        let exact = of_its_own(ours, 0).unwrap_or_default();
        assert!(0 < exact && exact < bound, "{exact} of its own, {bound} resident");
        assert_eq!(of_its_own(Pid::from_raw(i32::MAX), 0), None);
    }
}
