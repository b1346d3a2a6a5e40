//! Processes as `/proc` shows them.

use std::time::Duration;

use nix::unistd::Pid;

use super::{SOON, eventually};

/// The living children of `parent` whose title begins with `title`, in the order of their titles.
pub fn children(parent: Pid, title: &str) -> Vec<Pid> {
    let mut found: Vec<(String, Pid)> = all()
        .filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == parent && stat.state != 'Z'))
        .map(|pid| (self::title(pid), pid))
        .filter(|(its, _)| its.starts_with(title))
        .collect();
    found.sort_by_key(|(title, pid)| (title.len(), title.clone(), *pid));
    found.into_iter().map(|(_, pid)| pid).collect()
}

/// The dead children of `parent` that it has not reaped.
pub fn zombies(parent: Pid) -> Vec<Pid> {
    all().filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == parent && stat.state == 'Z')).collect()
}

/// Whose child a process is; `None` if there is no such process.
pub fn parent(pid: Pid) -> Option<Pid> {
    stat(pid).map(|stat| stat.parent)
}

/// The living processes of a group.
pub fn group(group: Pid) -> Vec<Pid> {
    all().filter(|pid| stat(*pid).is_some_and(|stat| stat.group == group && stat.state != 'Z')).collect()
}

/// Whether a process is alive: there, and no zombie.
pub fn is_alive(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

/// Whether a process has been stopped by a signal, and does nothing until it is told to go on.
pub fn is_stopped(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| stat.state == 'T')
}

/// What `ps` shows.
pub fn title(pid: Pid) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// What the kernel calls it.
pub fn name(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// The time on a CPU so far, of the process itself.
pub fn cpu_time(pid: Pid) -> Duration {
    let ticks = stat(pid).map_or(0, |stat| stat.ticks);
    Duration::from_millis(ticks * 10)
}

/// A field of `smaps_rollup`, in KiB: `Pss`, `Rss`, `Private_Dirty`, …
pub fn memory(pid: Pid, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// A number in `/proc/PID/status`, as it stands there: `RssAnon` (in KiB), `voluntary_ctxt_switches`, …
pub fn status(pid: Pid, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// How many descriptors a process has open.
pub fn descriptors(pid: Pid) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The same of one that is at rest: as often as one looks.
#[track_caller]
pub fn descriptors_at_rest(pid: Pid) -> usize {
    let mut seen = (0, 0);
    eventually("a process is at rest", SOON, || {
        let now = descriptors(pid);
        seen = if now == seen.0 { (now, seen.1 + 1) } else { (now, 0) };
        (seen.1 == 10).then_some(now)
    })
}

/// What the kernel is at on behalf of a process that is asleep: the name of one of its functions.
pub fn sleeps_in(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default()
}

/// How many threads a process has.
pub fn threads(pid: Pid) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

struct Stat {
    state: char,
    parent: Pid,
    group: Pid,
    ticks: u64,
}

fn stat(pid: Pid) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: Pid::from_raw(number(1)? as i32),
        group: Pid::from_raw(number(2)? as i32),
        ticks: (number(11)? + number(12)?) as u64,
    })
}

/// Every process there is.
pub fn all() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
}

/// The sockets that a process has open, each by its number.
pub fn sockets(pid: Pid) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.map(|target| target.display().to_string()).filter(|target| target.starts_with("socket:")).collect()
}
