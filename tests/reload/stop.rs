//! "TERM during a reload stops", however far the reload is, and whoever waits for it is told.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Outcome, SETTLING, asked, reloading, until, web};
use crate::harness::{Ratoon, eventually, fixture, process};

/// A reload of this configuration is under way, `far` enough; then the daemon is told to stop.
#[track_caller]
fn assert_stops(config: &str, far: impl Fn(&Ratoon) -> bool) {
    let mut ratoon = Ratoon::serving(&web(""));
    ratoon.ready_workers("web", 2);
    ratoon.configure(config);
    let asking = reloading(&ratoon, &[]).spawn().unwrap();
    eventually("the reload is under way", Duration::from_secs(20), || far(&ratoon).then_some(()));
    ratoon.signal(Signal::SIGTERM);
    let outcome = Outcome::of(&asking.wait_with_output().unwrap());
    assert_eq!(outcome, Outcome { status: Some(1), reason: "the daemon is stopping".into() });
    ratoon.leaves_in_peace();
    assert!(ratoon.all_logged("reloaded", &[]).is_empty());
}

#[test]
fn term_while_a_preparation_runs_stops() {
    let config = web("prepare = [\"/bin/sleep\", \"3600\"]");
    assert_stops(&config, |ratoon| !process::children(ratoon.pid(), "/bin/sleep").is_empty());
}

#[test]
fn term_while_the_new_template_loads_stops() {
    let config = web("settings = { load = \"hang\" }");
    assert_stops(&config, |ratoon| process::children(ratoon.pid(), "ratoon: web template").len() == 2);
}

#[test]
fn term_while_the_first_new_worker_starts_stops() {
    let config = web("settings = { start = \"hang\" }");
    assert_stops(&config, |ratoon| ratoon.workers("web").len() == 3);
}

#[test]
fn term_while_the_old_workers_are_replaced_stops() {
    let mut ratoon = Ratoon::serving(&web("").replace("workers = 2", "workers = 4"));
    let file = ratoon.directory().join("go");
    let busy: Vec<_> = (0..4).map(|_| ratoon.engage(ratoon.address(), &until(&file))).collect();
    let asking = reloading(&ratoon, &[]).spawn().unwrap();
    ratoon.logged(super::ROLLING, &[]);
    ratoon.signal(Signal::SIGTERM);
    let outcome = Outcome::of(&asking.wait_with_output().unwrap());
    assert_eq!(outcome.reason, "the daemon is stopping");
    std::fs::write(&file, "").unwrap();
    for (mut client, _) in busy {
        assert_eq!(client.response().status, 200);
    }
    ratoon.leaves_in_peace();
}

#[test]
fn term_while_the_new_generation_is_watched_stops() {
    let config = web("").replace("50ms", "60s");
    assert_stops(&config, |ratoon| !ratoon.all_logged(SETTLING, &[]).is_empty());
}

/// INT is in more of a hurry.
#[test]
fn int_during_a_reload_leaves_nobody_behind() {
    let mut ratoon = Ratoon::serving(&asked(&fixture::pool("web", "workers = 2")));
    ratoon.configure(&web("settings = { start = \"hang\" }"));
    ratoon.signal(Signal::SIGHUP);
    eventually("the new worker starts", Duration::from_secs(20), || (ratoon.workers("web").len() == 3).then_some(()));
    ratoon.signal(Signal::SIGINT);
    ratoon.leaves_in_peace();
}
