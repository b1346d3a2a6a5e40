//! Promised: "suspended for longer than any timeout and continued: nobody is killed for it".

use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Ratoon, SOON, eventually, fixture, get, process};

const NOBODY: [Value; 0] = [];

/// Short ones of every kind that a worker can be killed for, with time for a busy machine.
const TIMEOUTS: &str = "request_timeout = \"3s\"\nkill_grace = \"1s\"\nboot_timeout = \"4s\"\nstop_timeout = \"4s\"";
const LONGER: Duration = Duration::from_secs(5);

/// Suspends whole trees, and continues them.
fn suspend(trees: &[&Ratoon]) {
    trees.iter().for_each(|ratoon| killpg(ratoon.pid(), Signal::SIGSTOP).unwrap());
    std::thread::sleep(LONGER);
    trees.iter().for_each(|ratoon| killpg(ratoon.pid(), Signal::SIGCONT).unwrap());
}

/// Somebody is in a request, somebody else starts, and a third one leaves: that one only just, so that the supervisors
/// are caught at different moments of their work.
#[test]
fn nobody_is_killed_for_what_the_whole_tree_has_slept_through() {
    let leaves = "workers = 2\nsettings = { stop = \"await:left\" }";
    let starts = "workers = 1\nsettings = { start = \"await:started\" }";
    let pools = [("web", "workers = 2"), ("leaves", leaves), ("starts", starts)];
    let config: String =
        pools.iter().map(|(name, lines)| fixture::pool(name, &format!("{TIMEOUTS}\n{lines}"))).collect();
    let trees: Vec<Ratoon> = (0..6).map(|_| Ratoon::start(&config)).collect();
    let leaving: Vec<Pid> = trees.iter().map(|ratoon| ratoon.ready_workers("leaves", 2)[0]).collect();
    let mut clients = Vec::new();
    for ratoon in &trees {
        ratoon.ready_workers("web", 2);
        clients.push(ratoon.engage(ratoon.address(), "await:done"));
    }
    leaving.iter().for_each(|pid| kill(*pid, Signal::SIGTERM).unwrap());
    suspend(&trees.iter().collect::<Vec<_>>());
    for ratoon in &trees {
        for file in ["done", "left", "started"] {
            std::fs::write(ratoon.directory().join(file), "").unwrap();
        }
    }
    for ((ratoon, leaving), (client, busy)) in trees.iter().zip(leaving).zip(&mut clients) {
        assert_eq!(client.response().status, 200);
        ratoon.logged("suspended: all deadlines are postponed by as much", &[]);
        ratoon.logged("gone", &[("pid", leaving.as_raw().into()), ("cause", "retired by operator".into())]);
        ratoon.ready_workers("starts", 1);
        assert!(process::is_alive(*busy));
        for message in ["killing", "died", "template died"] {
            assert_eq!(ratoon.all_logged(message, &[]), NOBODY);
        }
        assert_eq!(get(ratoon.address(), "/ok").status, 200);
    }
}

/// The offset is kept: what comes later has its own time, no more and no less.
#[test]
fn a_worker_that_hangs_after_two_suspensions_is_killed_for_its_deadline() {
    let ratoon = Ratoon::serving(&fixture::pool("web", &format!("workers = 2\n{TIMEOUTS}")));
    ratoon.ready_workers("web", 2);
    suspend(&[&ratoon]);
    suspend(&[&ratoon]);
    assert_eq!(ratoon.all_logged("killing", &[]), NOBODY);
    let (mut client, busy) = ratoon.engage(ratoon.address(), "hang");
    let killed = ratoon.logged("killing", &[("pid", busy.as_raw().into()), ("cause", "request timeout".into())]);
    let running: f64 = killed["running"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
    // Its timeout and the grace; with the time of a suspension it would be longer by that.
    assert!((4.0..4.0 + LONGER.as_secs_f64()).contains(&running), "{killed}");
    assert_eq!(client.response().status, 504);
    ratoon.ready_workers("web", 2);
}

/// "A worker stopped alone is still killed" for its deadline.
#[test]
fn a_worker_that_is_stopped_alone_is_killed_for_its_deadline() {
    let ratoon = Ratoon::serving(&fixture::pool("web", &format!("workers = 2\n{TIMEOUTS}")));
    ratoon.ready_workers("web", 2);
    let (mut client, busy) = ratoon.engage(ratoon.address(), "await:done");
    kill(busy, Signal::SIGSTOP).unwrap();
    std::fs::write(ratoon.directory().join("done"), "").unwrap();
    ratoon.logged("died", &[("pid", busy.as_raw().into()), ("cause", "request timeout".into())]);
    assert!(client.try_response().is_err());
    eventually("it is buried", SOON, || process::zombies(ratoon.pid()).is_empty().then_some(()));
    ratoon.ready_workers("web", 2);
}
