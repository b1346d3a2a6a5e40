//! `ratoon upgrade`: what USR2 does, and its exit status is the outcome.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{CHECKS, TAKEN_OVER, Upgradable, config};
use crate::harness::{RATOON, SOON, eventually};

fn command(ratoon: &Upgradable, arguments: &[&str]) -> Command {
    let mut command = Command::new(RATOON);
    command.args(arguments).arg("--socket").arg(ratoon.directory().join("control.sock")).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn last_line(output: &Output, exit: i32) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert_eq!(output.status.code(), Some(exit), "{said}");
    said.lines().last().unwrap().to_owned()
}

/// That it is done says the new program itself, over the connection on which the old one was asked.
#[test]
fn whoever_asks_for_an_upgrade_is_answered_by_the_new_program() {
    let ratoon = Upgradable::serving(&config("workers = 2"));
    let workers = ratoon.ready_workers("web", 2);
    ratoon.install();
    let output = command(&ratoon, &["upgrade"]).output().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(last_line(&output, 0), format!("upgraded: ratoon {version} has taken over"));
    ratoon.logged(TAKEN_OVER, &[]);
    assert_eq!(ratoon.all_logged(TAKEN_OVER, &[]).len(), 1);
    assert_eq!(ratoon.executes(), ratoon.installed());
    assert_eq!(ratoon.ready_workers("web", 2), workers);
}

#[test]
fn an_upgrade_that_fails_says_why_and_that_the_old_program_goes_on() {
    let ratoon = Upgradable::serving(&config("workers = 1"));
    ratoon.install_script("echo 'no such library' >&2; exit 127");
    let line = last_line(&command(&ratoon, &["upgrade"]).output().unwrap(), 1);
    assert!(line.contains("no such library"), "{line}");
    assert!(line.ends_with(": the old program goes on"), "{line}");
    // What goes wrong at the last moment, after everything was written down.
    ratoon.install_script("rm \"$0\"; exec @ratoon@ \"$@\"");
    let line = last_line(&command(&ratoon, &["upgrade"]).output().unwrap(), 1);
    assert!(line.contains("No such file or directory"), "{line}");
    assert_eq!(ratoon.all_logged(TAKEN_OVER, &[]), [] as [Value; 0]);
    assert_eq!(ratoon.status()["state"], "serving");
}

/// Whoever waits for something else waits on, and is answered by the successor.
#[test]
fn a_restart_that_is_waited_for_goes_on_through_an_upgrade() {
    let ratoon = Upgradable::serving(&config("workers = 1\nsettings = { start = \"sleep:50\" }"));
    let before = ratoon.ready_workers("web", 1);
    // Not ready before the new program has taken over.
    let (began, go) = (ratoon.directory().join("began"), ratoon.directory().join("go"));
    ratoon.configure(&config(&format!("workers = 1\nsettle = \"0s\"\nsettings = {{ start = \"await:{}\" }}", "go")));
    std::fs::write(&go, "").unwrap();
    assert_eq!(last_line(&command(&ratoon, &["reload"]).output().unwrap(), 0), "reloaded: the new generation serves");
    std::fs::remove_file(&go).unwrap();
    let restart = command(&ratoon, &["restart", "web"]).spawn().unwrap();
    ratoon.logged("restarting: workers are replaced by fresh ones", &[]);
    ratoon.install_script(&format!("touch {began:?}; exec @ratoon@ \"$@\""));
    ratoon.upgrade();
    eventually("the new program was asked", SOON, || began.exists().then_some(()));
    std::fs::write(&go, "").unwrap();
    let line = last_line(&restart.wait_with_output().unwrap(), 0);
    assert_eq!(line, "web: restarted, fresh workers serve");
    assert!(ratoon.workers("web").iter().all(|pid| !before.contains(pid)));
    assert_eq!(ratoon.all_logged(CHECKS, &[]).len(), 1);
}
