//! A new release that comes up, and is worth nothing.

use super::{FAILED, Outcome, ROLLING, SETTLING, asked, generations, reload, reload_well, reloading};
use crate::harness::{Client, Ratoon, SOON, eventually, fixture, get};

/// A pool whose program reads its release from a file, and is watched for long.
fn released() -> String {
    let lines = "workers = 2\nsettle = \"60s\"\nsettings = { release = \"DIR/release\" }";
    asked(&fixture::pool("web", lines))
}

/// A daemon of it that serves the first release.
#[track_caller]
fn serving() -> Ratoon {
    let ratoon = Ratoon::start_with(&released(), |command| {
        std::fs::write(command.get_current_dir().unwrap().join("release"), "{}").unwrap();
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    ratoon.ready_workers("web", 2);
    ratoon
}

fn release(ratoon: &Ratoon, words: &str) {
    std::fs::write(ratoon.directory().join("release"), words).unwrap();
}

/// The old release serves again, and another good one can follow.
#[track_caller]
fn assert_is_rolled_back(ratoon: &Ratoon, outcome: &Outcome, cause: &str) {
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert!(outcome.reason.contains(&format!("the last one of: {cause}")), "{outcome:?}");
    let logged = ratoon.logged(FAILED, &[]);
    // Within settle: at its end it would have been said to be good.
    assert!(ratoon.all_logged("reloaded", &[]).is_empty(), "{}", ratoon.text());
    assert!(outcome.reason.ends_with(logged["reason"].as_str().unwrap()), "{outcome:?}, {logged}");
    eventually("two workers of the first generation serve alone", SOON, || {
        (generations(ratoon, "web", 2) == [1, 1]).then_some(())
    });
    for _ in 0..8 {
        assert_eq!(get(ratoon.address(), "/ok").status, 200);
    }
    let settle = released().replace("60s", "50ms");
    release(ratoon, "{}");
    ratoon.configure(&settle);
    reload_well(ratoon);
    let newest = generations(ratoon, "web", 2);
    assert!(newest.iter().all(|generation| *generation > 2), "{newest:?}");
}

/// "A new release that crashes on every request: rolled back within `settle`, the old one serves."
#[test]
fn a_release_that_crashes_on_every_request_is_rolled_back_and_the_old_one_serves() {
    let ratoon = serving();
    release(&ratoon, r#"{"handle": "exit:3"}"#);
    let asking = reloading(&ratoon, &[]).spawn().unwrap();
    ratoon.logged(SETTLING, &[]);
    eventually("enough of its requests have crashed", SOON, || {
        let _ = Client::connect(ratoon.address()).try_get("/ok");
        ratoon.all_logged(FAILED, &[]).pop()
    });
    assert_is_rolled_back(&ratoon, &Outcome::of(&asking.wait_with_output().unwrap()), "exited 3");
}

/// "Workers of the new generation crash within `settle`."
#[test]
fn a_release_whose_workers_fall_dead_is_rolled_back_and_the_old_one_serves() {
    let ratoon = serving();
    release(&ratoon, r#"{"start": "doom:500"}"#);
    assert_is_rolled_back(&ratoon, &reload(&ratoon, &[]), "exited 3");
}

/// Also when it comes to light while the old workers are being replaced.
#[test]
fn a_release_whose_workers_cannot_start_any_more_while_they_take_over_is_rolled_back() {
    let ratoon = serving();
    // The first worker of the new release is ready; those after it find that what they need is gone.
    let needed = ratoon.directory().join("needed");
    std::fs::write(&needed, "").unwrap();
    release(&ratoon, &format!(r#"{{"start": "take:{}"}}"#, needed.display()));
    let outcome = reload(&ratoon, &[]);
    ratoon.logged(ROLLING, &[]);
    assert_is_rolled_back(&ratoon, &outcome, "boot failed");
    assert!(ratoon.all_logged(SETTLING, &[]).len() < 2);
}

/// A death that was the operator's doing says nothing about a release.
#[test]
fn workers_that_are_killed_from_outside_within_settle_do_not_condemn_a_release() {
    use nix::sys::signal::{Signal, kill};

    let ratoon = serving();
    ratoon.configure(&released().replace("60s", "2s"));
    let asking = reloading(&ratoon, &[]).spawn().unwrap();
    ratoon.logged(SETTLING, &[]);
    for _ in 0..3 {
        let victim = ratoon.ready_workers("web", 2)[0];
        kill(victim, Signal::SIGKILL).unwrap();
        ratoon.logged("died", &[("pid", victim.as_raw().into()), ("cause", "killed from outside".into())]);
    }
    let outcome = Outcome::of(&asking.wait_with_output().unwrap());
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(generations(&ratoon, "web", 2), [2, 2]);
}
