//! `max_memory`, `max_memory_hard`, and the kernel's own limit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{NOBODY, SLACK, lived};
use crate::harness::{Client, Door, Ratoon, SOON, eventually, fixture, get, process, wrap};

/// "`max_memory` with 100 MiB of shared copy-on-write memory does not recycle workers that own little; growth does, and
/// not within the first 10 s of a life."
#[test]
fn only_memory_of_its_own_makes_a_worker_too_large_and_not_while_it_is_young() {
    let lines = "workers = 3\nmax_memory = \"40MiB\"\nsettings = { load = \"memory:100\" }";
    let ratoon = Ratoon::serving(&fixture::pool("web", lines));
    let workers = ratoon.ready_workers("web", 3);
    assert!(workers.iter().all(|pid| process::memory(*pid, "Rss") > 100 * 1024), "the experiment is about nothing");
    let mut client = Client::connect(ratoon.address());
    let grown: i32 = client.get("/ok").text().parse().unwrap();
    assert_eq!(client.get("/memory:64").text(), "64 MiB");
    let gone = eventually("the one that has grown is gone", SOON * 2, || ratoon.all_logged("gone", &[]).pop());
    assert_eq!((&gone["pid"], &gone["cause"]), (&grown.into(), &"recycled by memory".into()));
    assert!(lived(&ratoon, &gone) >= Duration::from_secs(10) - SLACK, "{gone}");
    // Its client has not noticed, and its siblings, measured at the same moment, stay.
    assert_eq!(client.get("/ok").status, 200);
    let after = ratoon.ready_workers("web", 3);
    assert_eq!(workers.iter().filter(|pid| after.contains(pid)).count(), 2);
    assert_eq!(ratoon.all_logged("gone", &[]).len(), 1);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// "`/leak` of the sample is recycled", and nobody else.
#[test]
fn a_worker_of_the_sample_that_leaks_is_recycled() {
    let lines = "workers = 2\nmax_memory = \"40MiB\"\nsettings = { faults = true }";
    let (ratoon, door) = Door::tcp(lines);
    let workers = ratoon.ready_workers("web", 2);
    let mut client = door.connect().unwrap();
    let who = |client: &mut Client| client.get("/whoami").json()["pid"].clone();
    let leaky = who(&mut client);
    for _ in 0..4 {
        assert_eq!(client.get("/leak?mib=16").status, 200);
    }
    assert_eq!(who(&mut client), leaky);
    let gone = eventually("the leaky one is gone", SOON * 2, || ratoon.all_logged("gone", &[]).pop());
    assert_eq!((&gone["pid"], &gone["cause"]), (&leaky, &"recycled by memory".into()));
    // Its client has not noticed.
    assert_ne!(who(&mut client), leaky);
    let after = ratoon.ready_workers("web", 2);
    assert_eq!(workers.iter().filter(|pid| after.contains(pid)).count(), 1);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// "`max_memory_hard`: killed during the request", at whatever age, and also when it is to leave after this one.
#[test]
fn a_worker_that_hoards_memory_is_killed_in_its_request() {
    for lines in ["workers = 2", "workers = 2\nmax_requests = 1"] {
        let ratoon = Ratoon::serving(&fixture::pool("web", &format!("{lines}\nmax_memory_hard = \"64MiB\"")));
        ratoon.ready_workers("web", 2);
        assert_eq!(get(ratoon.address(), "/memory:16").text(), "16 MiB");
        let (mut client, pid) = ratoon.engage(ratoon.address(), "hoard:96");
        let died = ratoon.logged("died", &[("pid", pid.as_raw().into()), ("cause", "memory".into())]);
        assert_eq!(died["request"], "GET /hoard:96 HTTP/1.1");
        ratoon.logged("killing", &[("pid", pid.as_raw().into()), ("cause", "memory".into())]);
        assert!(client.try_response().is_err());
        ratoon.ready_workers("web", 2);
        assert_eq!(ratoon.all_logged("died", &[]).len(), 1);
    }
}

/// "Killed by the kernel for memory (from the cgroup's counters)", where a cgroup can be made.
#[test]
fn a_worker_that_the_kernel_kills_for_memory_is_said_to_be_killed_for_memory() {
    let Some(cgroup) = Cgroup::new("96M") else {
        return eprintln!("skipped: no cgroup with a limit on memory can be made here");
    };
    let procs = cgroup.0.join("cgroup.procs");
    let ratoon = Ratoon::start_with(&fixture::pool("web", "workers = 2"), |command| {
        let enter = "echo $$ > \"$0\" && exec \"$@\"";
        wrap(command, &["/bin/sh", "-c", enter, procs.to_str().unwrap()]);
    });
    ratoon.ready_workers("web", 2);
    let (mut client, pid) = ratoon.engage(ratoon.address(), "hoard:256");
    let cause = Value::from("killed by the kernel for memory");
    let died = ratoon.logged("died", &[("pid", pid.as_raw().into()), ("cause", cause.clone())]);
    assert_eq!(died["request"], "GET /hoard:256 HTTP/1.1");
    assert!(client.try_response().is_err());
    // One that somebody else kills afterwards is not.
    let victim = ratoon.ready_workers("web", 2)[0];
    nix::sys::signal::kill(victim, Signal::SIGKILL).unwrap();
    let died = ratoon.logged("died", &[("pid", victim.as_raw().into())]);
    assert_ne!(died["cause"], cause);
}

/// A control group of one's own, removed at the end.
struct Cgroup(PathBuf);

impl Cgroup {
    /// Where there is a hierarchy that limits memory, of either version.
    fn new(limit: &str) -> Option<Cgroup> {
        let make = |root: &str, file: &str| {
            let path = Path::new(root).join(format!("ratoon-test-{}", std::process::id()));
            std::fs::create_dir(&path).ok()?;
            let cgroup = Cgroup(path);
            // Else this is a directory like any other.
            std::fs::metadata(cgroup.0.join(file)).ok()?;
            std::fs::write(cgroup.0.join(file), limit).ok()?;
            // Swap would only delay it.
            let _ = std::fs::write(cgroup.0.join("memory.swap.max"), "0");
            let _ = std::fs::write(cgroup.0.join("memory.memsw.limit_in_bytes"), limit);
            Some(cgroup)
        };
        make("/sys/fs/cgroup", "memory.max").or_else(|| make("/sys/fs/cgroup/memory", "memory.limit_in_bytes"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}
