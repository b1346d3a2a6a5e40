//! Promised: "limits on age, memory and all the kernel can limit", each with its cause in the log, and never more of a
//! pool than the surge replaced at a time.

mod endowment;
mod memory;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Door, Ratoon, SOON, Traffic, eventually, fixture, get, process, time_of};

const NOBODY: [Value; 0] = [];

/// The log's lines are written after what they tell of, and by another clock: so much may be missing between two of them.
const SLACK: Duration = Duration::from_millis(500);

/// How long the worker lived that this line says is no more.
#[track_caller]
fn lived(ratoon: &Ratoon, gone: &Value) -> Duration {
    let ready = ratoon.logged("ready", &[("pid", gone["pid"].clone())]);
    time_of(gone).checked_sub(time_of(&ready)).unwrap_or_default()
}

/// "`max_age`: never more than a bounded share of a pool is recycled at once", here when all are due at the same time.
#[test]
fn workers_that_are_too_old_all_at_once_are_replaced_no_faster_than_the_surge_and_nothing_is_lost() {
    let lines = "workers = 8\nsurge = \"25%\"\nmax_age = \"1s\"\nmax_age_jitter = \"0%\"";
    let ratoon = Ratoon::serving(&fixture::pool("web", lines));
    let traffic = Traffic::begin(&[Door::Tcp(ratoon.address())], 6, &["ok", "sleep:5"]);
    eventually("three generations of workers are gone", SOON * 2, || {
        (ratoon.all_logged("gone", &[]).len() >= 24).then_some(())
    });
    traffic.ends_without_a_loss();
    let (mut alive, mut complete) = (0i32, false);
    for line in ratoon.lines() {
        alive += i32::from(line["message"] == "ready") - i32::from(line["message"] == "gone");
        complete |= alive == 8;
        assert!(!complete || (8..=10).contains(&alive), "{alive} workers at {line}");
    }
    let gone = ratoon.all_logged("gone", &[]);
    assert!(gone.iter().all(|line| line["cause"] == "recycled by age"), "{gone:?}");
    let lives: Vec<Duration> = gone.iter().map(|line| lived(&ratoon, line)).collect();
    assert!(lives.iter().all(|life| *life >= Duration::from_secs(1) - SLACK), "{lives:?}");
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// "…and jitter", so that they are not all due at once.
#[test]
fn with_jitter_some_are_replaced_earlier_and_nobody_later() {
    let lines = "workers = 8\nmax_age = \"20s\"\nmax_age_jitter = \"100%\"";
    let ratoon = Ratoon::serving(&fixture::pool("web", lines));
    let first = ratoon.logged("gone", &[("cause", "recycled by age".into())]);
    assert!(lived(&ratoon, &first) < Duration::from_secs(20), "{first}");
    ratoon.ready_workers("web", 8);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}

/// `on_failure = "exit"`: "for the service manager to decide".
#[test]
fn a_pool_that_cannot_be_brought_up_ends_the_daemon_where_it_should_and_not_elsewhere() {
    let hopeless = "workers = 10\nsettings = { start = \"error:hopeless\" }";
    let config =
        |last: &str| fixture::pool("web", "workers = 1") + &fixture::pool("jobs", &format!("{hopeless}\n{last}"));
    let failed =
        "pool failed: too many boots failed within a minute; it keeps its listeners and is tried again, slowly";

    let mut ratoon = Ratoon::start(&config("on_failure = \"exit\""));
    let status = ratoon.wait_exit(SOON);
    assert_eq!(status.code(), Some(1), "{status}");
    ratoon.logged(failed, &[("pool", "jobs".into())]);
    ratoon.logged("on_failure is \"exit\": the daemon stops", &[("pool", "jobs".into())]);
    assert_eq!(ratoon.family(), []);

    let mut ratoon = Ratoon::start(&config("on_failure = \"stay\""));
    ratoon.logged(failed, &[("pool", "jobs".into())]);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    assert!(ratoon.is_running());
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
}

/// A worker that is too old is let finish what it has begun.
#[test]
fn a_worker_in_a_request_is_too_old_only_after_it() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1\nmax_age = \"1s\"\nmax_age_jitter = \"0%\""));
    let (mut client, pid) = ratoon.engage(ratoon.address(), "await:go");
    // Its replacement is there, and serves others.
    let others = eventually("another worker answers", SOON, || {
        get(ratoon.address(), "/ok").text().parse::<i32>().ok().filter(|other| *other != pid.as_raw())
    });
    assert_ne!(others, pid.as_raw());
    assert!(process::is_alive(pid));
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    assert_eq!(client.response().status, 200);
    ratoon.logged("gone", &[("pid", pid.as_raw().into()), ("cause", "recycled by age".into())]);
    // Its connection is not closed: somebody else goes on with it.
    assert_eq!(client.get("/ok").status, 200);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}
