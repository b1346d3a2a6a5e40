//! Odd ways for a worker to die.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Ratoon, SOON, eventually, fixture, get};

/// What the fixture says when a worker runs on behind `ratoon_worker::main`.
const BACK_IN_MAIN: &str = "a worker is back in main";
const NOWHERE: [Value; 0] = [];

/// Sends a signal that may have no name.
#[track_caller]
fn kill_by_number(pid: Pid, signal: i32) {
    let status = Command::new("/bin/sh").args(["-c", "kill -$0 $1", &signal.to_string(), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Waits until the slot of a worker that was killed has another one.
#[track_caller]
fn is_buried_and_replaced(ratoon: &Ratoon, victim: Pid, cause: &str, workers: usize) {
    ratoon.logged("died", &[("pid", victim.as_raw().into()), ("cause", cause.into())]);
    assert!(!ratoon.ready_workers("web", workers).contains(&victim));
}

#[test]
fn a_worker_killed_by_a_real_time_signal_is_buried_and_replaced_and_so_are_those_that_die_after_it() {
    let mut ratoon = Ratoon::serving(&fixture::pool("web", "workers = 4"));
    let workers = ratoon.ready_workers("web", 4);
    for (victim, signal) in [(workers[0], 34), (workers[1], 50)] {
        kill_by_number(victim, signal);
        is_buried_and_replaced(&ratoon, victim, &format!("signal {signal}"), 4);
    }
    kill(workers[2], Signal::SIGKILL).unwrap();
    is_buried_and_replaced(&ratoon, workers[2], "killed from outside", 4);
    // One that nobody has heard of, too.
    let stranger = Pid::from_raw(get(ratoon.address(), "/orphan").text().parse().unwrap());
    kill_by_number(stranger, 34);
    kill(workers[3], Signal::SIGKILL).unwrap();
    is_buried_and_replaced(&ratoon, workers[3], "killed from outside", 4);
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged("died", &[]).len(), 4);
}

/// Ends the supervisor; no worker has got back into the fixture's `main`.
#[track_caller]
fn nobody_was_back_in_main(mut ratoon: Ratoon) {
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged(BACK_IN_MAIN, &[]), NOWHERE);
}

/// The worker makes room for another: the panic is one like any other.
#[track_caller]
fn is_recycled(ratoon: &Ratoon, pid: Pid) {
    let gone = ratoon.logged("gone", &[("pid", pid.as_raw().into())]);
    assert_eq!(gone["cause"], "recycled after a panic");
}

#[test]
fn a_response_that_panics_when_it_is_dropped_does_not_lead_its_worker_back_into_main() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1"));
    // To its end …
    let (mut client, pid) = ratoon.engage(ratoon.address(), "brittle:10");
    if let Ok(answer) = client.try_response() {
        assert_eq!((answer.status, answer.text()), (200, "b".repeat(10)));
    }
    is_recycled(&ratoon, pid);
    // … and with a client that goes before.
    ratoon.ready_workers("web", 1);
    let (mut client, pid) = ratoon.engage(ratoon.address(), "brittle:1000000000");
    assert!(client.read_some(1000).unwrap() > 0);
    drop(client);
    is_recycled(&ratoon, pid);
    ratoon.ready_workers("web", 1);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    nobody_was_back_in_main(ratoon);
}

#[test]
fn an_application_that_panics_when_it_is_dropped_does_not_lead_its_worker_back_into_main() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1\nsettings = { drop = \"panic\" }"));
    let pid = ratoon.ready_workers("web", 1)[0];
    kill(pid, Signal::SIGTERM).unwrap();
    let ends = ["gone", "died"];
    let end = eventually("the worker has left", SOON, || {
        ends.iter().find_map(|end| ratoon.all_logged(end, &[("pid", pid.as_raw().into())]).pop())
    });
    assert!(end["cause"] == "retired by operator" || end["cause"] == "exited 101", "{end}");
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    nobody_was_back_in_main(ratoon);
}
