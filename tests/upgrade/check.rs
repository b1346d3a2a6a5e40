//! A new program that is not fit to take over.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use super::{FAILED, TAKEN_OVER, Upgradable, config, install};
use crate::harness::{Client, RATOON, SOON, eventually, get, process};

/// "A binary that fails its check changes nothing", and the log says why.
#[test]
fn a_program_that_fails_its_check_changes_nothing() {
    let ratoon = Upgradable::serving(&config("workers = 2"));
    let workers = ratoon.ready_workers("web", 2);
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/ok").status, 200);
    let another_version = "sed 's/\"version\":[0-9]*/\"version\":99/g' < /proc/self/fd/$RATOON_ESTATE > \"$0.estate\"\n\
                           exec 9< \"$0.estate\"; RATOON_ESTATE=9 exec @ratoon@ \"$@\"";
    for (script, reason) in [
        ("exit 1", "ratoon: exited 1"),
        ("kill -9 $$", "ratoon: signal SIGKILL"),
        // Whatever else ends well.
        ("exit 0", "it did not say that it can take over"),
        ("echo 'no such library' >&2; exit 127", "no such library"),
        (another_version, "hands over version 99 of its state"),
        ("exec 9< /dev/null; RATOON_ESTATE=9 exec @ratoon@ \"$@\"", "is not one of a supervisor"),
        // With a child that holds on to everything it was given.
        ("sleep 3600 & sleep 3600; exit 1", "the new program took longer than 10s to check the state"),
    ] {
        ratoon.install_script(script);
        assert_stays(&ratoon, reason);
    }
    install(Path::new(RATOON), &ratoon.program(), "0644");
    assert_stays(&ratoon, "Permission denied");
    std::fs::remove_file(ratoon.program()).unwrap();
    assert_stays(&ratoon, "No such file or directory");

    assert_eq!(client.get("/ok").status, 200);
    assert_eq!(ratoon.ready_workers("web", 2), workers);
    assert_eq!(ratoon.status()["state"], "serving");
    eventually("what the check started is gone", SOON, || {
        process::children(ratoon.pid(), "").iter().all(|pid| process::title(*pid).starts_with("ratoon: ")).then_some(())
    });
    ratoon.install();
    ratoon.upgrade();
    assert_eq!(client.get("/ok").status, 200);
    assert_eq!(ratoon.ready_workers("web", 2), workers);
}

/// Asks for an upgrade that fails for this reason.
#[track_caller]
fn assert_stays(ratoon: &Upgradable, reason: &str) {
    let (failed, program) = (ratoon.all_logged(FAILED, &[]).len(), ratoon.executes());
    ratoon.signal(Signal::SIGUSR2);
    let line = eventually("the upgrade fails", SOON, || ratoon.all_logged(FAILED, &[]).into_iter().nth(failed));
    assert!(line["reason"].as_str().unwrap().contains(reason), "{line} is not for {reason:?}");
    assert_eq!(ratoon.executes(), program);
    assert_eq!(ratoon.all_logged(TAKEN_OVER, &[]), [] as [Value; 0]);
}

/// "Comes back only if that fails": even what goes wrong at the last moment costs nothing.
#[test]
fn a_program_that_is_gone_after_its_check_changes_nothing() {
    let ratoon = Upgradable::serving(&config("workers = 2\nsettle = \"0s\""));
    let workers = ratoon.ready_workers("web", 2);
    ratoon.install_script("rm \"$0\"; exec @ratoon@ \"$@\"");
    assert_stays(&ratoon, "No such file or directory");
    kill(workers[0], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[("pid", workers[0].as_raw().into())]);
    ratoon.ready_workers("web", 2);
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    ratoon.install();
    ratoon.upgrade();
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}
