//! Promised: "on USR2 the supervisor becomes a newer program in place": same pid, same workers, nothing lost.

mod check;
mod command;
mod death;
mod links;
mod reload;
mod signals;
mod state;
mod status_page;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    CONTROL, Door, RATOON, Ratoon, SOON, Traffic, eventually, fixture, get, install, install_script, process,
};

const TAKEN_OVER: &str = "upgraded: this program has taken over";
const FAILED: &str = "upgrade failed: the old program goes on";
const CHECKS: &str = "upgrade: the new program checks the state it would be handed";

/// A supervisor that was started from a program of the test's own, which the test replaces.
struct Upgradable {
    ratoon: Ratoon,
    place: TempDir,
}

impl std::ops::Deref for Upgradable {
    type Target = Ratoon;

    fn deref(&self) -> &Ratoon {
        &self.ratoon
    }
}

impl Upgradable {
    #[track_caller]
    fn serving(config: &str) -> Upgradable {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("ratoon");
        install(Path::new(RATOON), &program, "0755");
        let ratoon = Ratoon::start_with(config, |command| {
            let mut ours = Command::new(&program);
            ours.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
            ours.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
            *command = ours;
        });
        ratoon.logged("serving: every pool has a ready worker", &[]);
        Upgradable { ratoon, place }
    }

    fn program(&self) -> PathBuf {
        self.place.path().join("ratoon")
    }

    /// Puts another copy of the same program in the place of the one that runs.
    fn install(&self) {
        install(Path::new(RATOON), &self.program(), "0755");
    }

    /// Puts a script there; in it, `@ratoon@` stands for the real program.
    fn install_script(&self, text: &str) {
        let text = format!("#!/bin/sh\n{}\n", text.replace("@ratoon@", RATOON));
        install_script(&text, &self.program());
    }

    /// Asks for an upgrade, and waits until there has been one.
    #[track_caller]
    fn upgrade(&self) {
        let before = self.ratoon.all_logged(TAKEN_OVER, &[]).len();
        self.ratoon.signal(Signal::SIGUSR2);
        eventually(&format!("an upgrade; the log:\n{}", self.ratoon.text()), SOON, || {
            (self.ratoon.all_logged(TAKEN_OVER, &[]).len() > before).then_some(())
        });
    }

    /// Which file it executes.
    fn executes(&self) -> (u64, u64) {
        let file = std::fs::metadata(format!("/proc/{}/exe", self.ratoon.pid())).unwrap();
        (file.dev(), file.ino())
    }

    fn installed(&self) -> (u64, u64) {
        let file = std::fs::metadata(self.program()).unwrap();
        (file.dev(), file.ino())
    }
}

fn two_doors(ratoon: &Ratoon) -> [Door; 2] {
    [Door::Tcp(ratoon.address()), Door::Unix(ratoon.directory().join("web"))]
}

/// A pool of the fixture over TCP and over a Unix socket, and a control socket.
fn config(lines: &str) -> String {
    let listen = r#"listen = ["127.0.0.1:0", "unix:DIR/web"]"#;
    CONTROL.to_owned() + &fixture::pool("web", lines).replace(r#"listen = ["127.0.0.1:0"]"#, listen)
}

/// "USR2 under load: same pid, same worker pids, 0 lost; then a HUP and a crash are handled by the new binary."
#[test]
fn an_upgrade_under_load_keeps_pid_and_workers_and_loses_nothing() {
    let mut ratoon = Upgradable::serving(&config("workers = 4\nsettle = \"100ms\""));
    let workers = ratoon.ready_workers("web", 4);
    let traffic = Traffic::begin(&two_doors(&ratoon), 8, &["ok", "sleep:5", "sleep:30"]);
    traffic.goes_on(200);
    for _ in 0..3 {
        let before = ratoon.executes();
        ratoon.install();
        ratoon.upgrade();
        assert_eq!(ratoon.executes(), ratoon.installed());
        assert_ne!(ratoon.executes(), before);
        traffic.goes_on(200);
        assert_eq!(ratoon.ready_workers("web", 4), workers);
    }
    assert_eq!(ratoon.status()["state"], "serving");
    assert_eq!(ratoon.status()["pid"], ratoon.pid().as_raw());

    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    let renewed = ratoon.ready_workers("web", 4);
    assert!(renewed.iter().all(|pid| !workers.contains(pid)), "{renewed:?} after {workers:?}");
    traffic.goes_on(200);
    traffic.ends_without_a_loss();

    kill(renewed[1], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[("pid", renewed[1].as_raw().into()), ("gen", 2.into())]);
    ratoon.ready_workers("web", 4);
    assert_eq!(ratoon.status_of("web")["generations"], serde_json::json!([2]));
    assert_eq!(process::threads(ratoon.pid()), 1);

    ratoon.signal(Signal::SIGTERM);
    ratoon.ratoon.leaves_in_peace();
    for file in ["web", "control.sock"] {
        assert!(!ratoon.directory().join(file).exists(), "{file} was left behind");
    }
}

/// "What we have is handed over, and nothing else": no descriptor and no variable is left over from it.
#[test]
fn ten_upgrades_leave_nothing_behind() {
    let ratoon = Upgradable::serving(&config("workers = 2\nsettle = \"0s\""));
    ratoon.ready_workers("web", 2);
    ratoon.upgrade();
    let descriptors = process::descriptors_at_rest(ratoon.pid());
    for _ in 0..9 {
        ratoon.upgrade();
    }
    // Whatever it has open for a moment only.
    eventually("no more are open than after the first", SOON, || {
        (process::descriptors(ratoon.pid()) <= descriptors).then_some(())
    });
    let open = std::fs::read_dir(format!("/proc/{}/fd", ratoon.pid())).unwrap();
    let open: Vec<PathBuf> = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(!open.iter().any(|file| file.to_string_lossy().contains("estate")), "{open:?}");
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    assert_eq!(get(ratoon.address(), "/environment:RATOON_ESTATE").text(), "unset");
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
}

/// "Signals are blocked until the new program listens to them": none is lost, and none does what it does to others.
#[test]
fn a_signal_that_comes_while_the_program_is_being_executed_is_heard_by_the_new_one() {
    let mut ratoon = Upgradable::serving(&config("workers = 2"));
    let (mut client, _) = ratoon.engage(ratoon.address(), "await:go");
    ratoon.install_script("[ $1 = check ] || kill -TERM $$\nexec @ratoon@ \"$@\"");
    ratoon.upgrade();
    ratoon.logged("stopping: what was accepted or queued is served", &[]);
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    assert_eq!(client.response().status, 200);
    ratoon.ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
}
