//! Promised: "`ratoon scale`, `restart` and `stop` wait, and their exit status is the outcome".

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{ask, command, said, serving, socket, status, until};
use crate::harness::{Door, Ratoon, SOON, Traffic, eventually, fixture, get, process};

/// Asks, and expects this exit status and this for the last line.
#[track_caller]
fn assert_asked(ratoon: &Ratoon, arguments: &[&str], exit: i32, last: &str) {
    let output = ask(ratoon, arguments);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", said(&output));
    assert_eq!(said(&output).lines().last(), Some(last), "{arguments:?}: {}", said(&output));
}

/// A supervisor whose workers start only while there is a file `good` in its directory, which there is.
#[track_caller]
fn fragile(lines: &str) -> Ratoon {
    let ratoon = Ratoon::start_with(&fixture::pool("web", lines), |command| {
        let directory = command.get_current_dir().unwrap().to_owned();
        std::fs::write(directory.join("good"), "").unwrap();
        command.env("RUNTIME_DIRECTORY", directory);
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    ratoon
}

/// "`ratoon scale POOL N|+1|-1`": back when as many are ready; it lasts through a reload, as TTIN and TTOU do.
#[test]
fn scale_waits_for_the_new_size_and_lasts_through_a_reload() {
    let ratoon = serving(&fixture::pool("web", "workers = 2\nsettle = \"0s\""));
    let before = ratoon.ready_workers("web", 2);
    assert_asked(&ratoon, &["scale", "web", "4"], 0, "web: 4 workers, at most 4 (2 are configured)");
    assert_eq!(status(&ratoon)["pools"][0]["idle_processes"], 4);
    assert_eq!(&ratoon.ready_workers("web", 4)[..2], before, "who was there stayed");
    assert_asked(&ratoon, &["scale", "web", "-1"], 0, "web: 3 workers, at most 3 (2 are configured)");
    ratoon.ready_workers("web", 3);
    ratoon.signal(Signal::SIGTTIN);
    ratoon.ready_workers("web", 4);
    assert_asked(&ratoon, &["scale", "web", "3"], 0, "web: 3 workers, at most 3 (2 are configured)");

    let output = ask(&ratoon, &["reload"]);
    assert!(output.status.success(), "{}", said(&output));
    ratoon.ready_workers("web", 3);
    let pool = status(&ratoon)["pools"][0].clone();
    assert_eq!((&pool["max_processes"], &pool["scaled_by"]), (&3.into(), &1.into()));
    assert_eq!(pool["generations"], serde_json::json!([2]));
}

#[test]
fn scale_names_the_range_and_the_pools() {
    let ratoon = serving(&fixture::pool("web", "workers = 2"));
    for size in ["-2", "+999", "1001"] {
        let why = "pool web: it can have 1 to 1000 workers, now at most 2";
        assert_asked(&ratoon, &["scale", "web", size], 2, why);
    }
    assert_asked(&ratoon, &["scale", "shop", "2"], 2, "there is no pool \"shop\": there are web");
    for size in ["0", "many", "+0"] {
        assert_eq!(ask(&ratoon, &["scale", "web", size]).status.code(), Some(2));
    }
    assert_eq!(status(&ratoon)["pools"][0]["wanted_processes"], 2);
}

/// The size of such a pool is the load's affair: what the operator moves is the most it may have.
#[test]
fn scale_moves_the_bounds_of_a_pool_that_follows_the_load() {
    let config = "scaling = \"dynamic\"\nworkers = 2\nmin_workers = 1\nmax_workers = 4\nmin_spare = 1\nmax_spare = 2";
    let ratoon = serving(&fixture::pool("web", config));
    assert_asked(&ratoon, &["scale", "web", "8"], 0, "web: 5 workers, at most 8 (4 are configured)");
    assert_asked(&ratoon, &["scale", "web", "3"], 0, "web: 3 workers, at most 3 (4 are configured)");
}

/// A size that cannot be reached is a failure, and the reason is said; it is tried for on.
#[test]
fn scale_fails_if_the_workers_that_it_needs_do_not_start() {
    let ratoon = fragile("workers = 1\nsettings = { start = \"needs:good\" }");
    std::fs::remove_file(ratoon.directory().join("good")).unwrap();
    let output = ask(&ratoon, &["scale", "web", "2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("pool web: boot failed: No such file or directory"), "{}", said(&output));
    std::fs::write(ratoon.directory().join("good"), "").unwrap();
    ratoon.ready_workers("web", 2);
}

/// "`ratoon restart POOL`": each for one that is ready, so that nobody notices.
#[test]
fn restart_replaces_every_worker_and_loses_nothing() {
    let ratoon = serving(&fixture::pool("web", "workers = 3"));
    let before = ratoon.ready_workers("web", 3);
    let traffic = Traffic::begin(&[Door::Tcp(ratoon.address())], 4, &["ok", "sleep:5"]);
    traffic.goes_on(50);
    assert_asked(&ratoon, &["restart", "web"], 0, "web: restarted, fresh workers serve");
    let pids: Vec<Value> = status(&ratoon)["pools"][0]["processes"].as_array().unwrap().clone();
    let serving = pids.iter().filter(|worker| ["idle", "busy"].contains(&worker["state"].as_str().unwrap()));
    assert!(serving.clone().count() >= 3, "{pids:?}");
    for worker in serving {
        assert!(before.iter().all(|pid| worker["pid"] != pid.as_raw()), "{worker} was there before");
        assert_eq!(worker["generation"], 1, "nothing was loaded anew");
    }
    traffic.goes_on(50);
    traffic.ends_without_a_loss();
    eventually("the old ones are gone", SOON, || {
        (ratoon.all_logged("gone", &[("cause", "retired by operator".into())]).len() == 3).then_some(())
    });
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
}

#[test]
fn restart_of_a_slot_replaces_the_worker_in_it_and_no_other() {
    let ratoon = serving(&fixture::pool("web", "workers = 3"));
    let before = ratoon.ready_workers("web", 3);
    let in_slot = |slot: u64| {
        let pool = status(&ratoon)["pools"][0].clone();
        let found = pool["processes"].as_array().unwrap().iter().find(|worker| worker["slot"] == slot).cloned();
        found.unwrap()["pid"].as_i64().unwrap()
    };
    let victim = in_slot(1);
    assert_asked(&ratoon, &["restart", "web", "1"], 0, "web: restarted, fresh workers serve");
    let after = eventually("three again", SOON, || Some(ratoon.workers("web")).filter(|pids| pids.len() == 3));
    let left: Vec<_> = before.iter().filter(|pid| !after.contains(pid)).map(|pid| i64::from(pid.as_raw())).collect();
    assert_eq!(left, [victim]);
    assert_asked(&ratoon, &["restart", "web", "9"], 2, &{
        let last = status(&ratoon)["pools"][0]["processes"].as_array().unwrap().last().unwrap()["slot"].clone();
        format!("pool web: there is no worker in slot 9: the last one is in slot {last}")
    });
}

/// A restart that fails changes nothing.
#[test]
fn restart_keeps_the_old_workers_where_fresh_ones_do_not_start() {
    let ratoon = fragile("workers = 2\nsettings = { start = \"needs:good\" }");
    let before = ratoon.ready_workers("web", 2);
    std::fs::remove_file(ratoon.directory().join("good")).unwrap();
    let output = ask(&ratoon, &["restart", "web"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("pool web: boot failed: No such file or directory"), "{}", said(&output));
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    std::fs::write(ratoon.directory().join("good"), "").unwrap();
    assert_asked(&ratoon, &["scale", "web", "3"], 0, "web: 3 workers, at most 3 (2 are configured)");
    // Whoever was still to be replaced would be, with the one in this slot.
    assert_asked(&ratoon, &["restart", "web", "2"], 0, "web: restarted, fresh workers serve");
    let after = eventually("three again", SOON, || Some(ratoon.workers("web")).filter(|pids| pids.len() == 3));
    assert!(before.iter().all(|pid| after.contains(pid)), "{before:?} are not all in {after:?}");
}

/// "`ratoon stop` waits until the supervisor is gone", and lets finish what was begun.
#[test]
fn stop_serves_what_was_accepted_and_is_back_when_the_supervisor_is_gone() {
    let mut ratoon = serving(&fixture::pool("web", "workers = 2"));
    let file = ratoon.directory().join("go");
    let (mut client, _) = ratoon.engage(ratoon.address(), &until(&file));
    let mut command = command(&["stop", "--socket"]);
    let stopping = command.arg(socket(&ratoon)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    ratoon.logged("stopping: what was accepted or queued is served", &[]);
    assert!(ratoon.is_running());
    std::fs::write(file, "").unwrap();
    let output = stopping.wait_with_output().unwrap();
    assert!(!process::is_alive(ratoon.pid()), "stop was back before the supervisor was gone");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).starts_with("stopping: what was accepted or queued is served\n"), "{}", said(&output));
    assert!(said(&output).ends_with("stopped\n"), "{}", said(&output));
    assert_eq!(client.response().status, 200);
    ratoon.leaves_in_peace();
}

#[test]
fn stop_now_waits_for_no_request() {
    let mut ratoon = serving(&fixture::pool("web", "workers = 1"));
    let (_client, _) = ratoon.engage(ratoon.address(), &until(Path::new("/nowhere")));
    assert_asked(&ratoon, &["stop", "--now"], 0, "stopped");
    assert!(!process::is_alive(ratoon.pid()));
    ratoon.leaves_in_peace();
}

/// Whoever waits for something else is told why that will not be.
#[test]
fn a_stop_answers_everybody_who_waits() {
    let mut ratoon = serving(&fixture::pool("web", "workers = 1\nsettings = { start = \"ok\" }"));
    ratoon.configure(&fixture::pool("web", "workers = 1\nsettings = { start = \"await:never\" }"));
    let spawn = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.arg("--socket").arg(socket(&ratoon)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let reload = spawn(&["reload"]);
    ratoon.logged("template loaded", &[("gen", 2.into())]);
    let mut upgrade = spawn(&["upgrade"]);
    let mut told = String::new();
    BufReader::new(upgrade.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(told, "a reload is under way: the upgrade follows it\n");
    assert_asked(&ratoon, &["stop"], 0, "stopped");
    for waiting in [reload, upgrade] {
        let output = waiting.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).ends_with("the daemon is stopping\n"), "{}", said(&output));
    }
    ratoon.leaves_in_peace();
}
