//! How much a process has in memory, as `/proc` tells it. What is done with the figure is others' business.

use std::fs;

use nix::unistd::{Pid, SysconfVar, sysconf};

/// All that it has in memory, in bytes, shared or not: this costs the kernel nothing. `None` if there is no such process.
pub(crate) fn resident(pid: Pid) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096);
    Some(pages.saturating_mul(page))
}

/// What it shares with nobody, in bytes: this costs the kernel a walk through the process's pages, and is told only to those
/// who might trace it. `None` if there is no such process, or it is not told.
pub(crate) fn private(pid: Pid) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = |name: &str| -> Option<u64> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    // A kernel without swap has no line for it.
    Some((kib("Private_Clean:")? + kib("Private_Dirty:")? + kib("SwapPss:").unwrap_or(0)).saturating_mul(1024))
}
