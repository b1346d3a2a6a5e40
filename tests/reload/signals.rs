//! The signals that change what there is, and what becomes of that in a reload.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::{asked, generations, logged_times, reload_well, status, until, web};
use crate::harness::{Client, Ratoon, SOON, eventually, fixture, get, process, wrap};

#[test]
fn hup_loads_everything_anew() {
    let ratoon = Ratoon::serving(&web(""));
    let before = ratoon.ready_workers("web", 2);
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    assert_eq!(generations(&ratoon, "web", 2), [2, 2]);
    for pid in before {
        ratoon.logged("gone", &[("pid", pid.as_raw().into()), ("cause", "retired by reload".into())]);
    }
    assert_eq!(ratoon.pid(), process::parent(ratoon.ready_workers("web", 2)[0]).unwrap());
}

/// "Signals that arrive during a reload are remembered once."
#[test]
fn hups_during_a_reload_are_remembered_once() {
    let ratoon = Ratoon::serving(&web(""));
    let loads = ratoon.directory().join("loads");
    ratoon.configure(&web(&format!("settings = {{ load = \"{}\" }}", until(&loads))));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloading", &[]);
    for _ in 0..5 {
        ratoon.signal(Signal::SIGHUP);
        ratoon.logged("a reload is under way: another one follows it", &[]);
        // Each is heard on its own: the supervisor has answered in between.
        status(&ratoon);
    }
    std::fs::write(loads, "").unwrap();
    logged_times(&ratoon, "reloaded", 2);
    assert_eq!(status(&ratoon)["state"], "serving");
    assert_eq!(ratoon.all_logged("reloading", &[]).len(), 2);
    assert_eq!(generations(&ratoon, "web", 2), [3, 3]);
}

/// A wish that came during a reload is granted also when that one fails.
#[test]
fn a_hup_during_a_reload_that_fails_is_granted_with_the_file_as_it_is_then() {
    let ratoon = Ratoon::serving(&web(""));
    let file = ratoon.directory().join("go");
    ratoon.configure(&web(&format!("settings = {{ start = \"{}\" }}\nboot_timeout = \"4s\"", until(&file))));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("template loaded", &[("gen", 2.into())]);
    ratoon.configure(&web(""));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("a reload is under way: another one follows it", &[]);
    ratoon.logged(super::FAILED, &[]);
    ratoon.logged("reloaded", &[]);
    assert_eq!(generations(&ratoon, "web", 2), [3, 3]);
}

/// "TTIN / TTOU move the size by one and survive a reload."
#[test]
fn ttin_and_ttou_move_the_size_by_one_and_a_reload_leaves_it_there() {
    let ratoon = Ratoon::serving(&web(""));
    let before = ratoon.ready_workers("web", 2);
    ratoon.signal(Signal::SIGTTIN);
    let grown = ratoon.ready_workers("web", 3);
    assert!(before.iter().all(|pid| grown.contains(pid)));
    reload_well(&ratoon);
    assert_eq!(generations(&ratoon, "web", 3), [2, 2, 2]);
    for size in [2, 1] {
        ratoon.signal(Signal::SIGTTOU);
        ratoon.ready_workers("web", size);
    }
    ratoon.logged("gone", &[("cause", "retired by scaling".into())]);
    reload_well(&ratoon);
    assert_eq!(generations(&ratoon, "web", 1), [3]);
    assert_eq!(status(&ratoon)["pools"][0]["wanted_processes"], 1);
}

/// A supervisor that no terminal controls.
#[track_caller]
fn detached(config: &str) -> Ratoon {
    let ratoon = Ratoon::start_with(config, |command| {
        let mut wrapped = Command::new("setsid");
        wrapped.arg(command.get_program()).args(command.get_args()).current_dir(command.get_current_dir().unwrap());
        wrapped.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        *command = wrapped;
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    ratoon
}

/// "WINCH retire all workers but stay, HUP brings them back."
#[test]
fn winch_retires_all_workers_and_hup_brings_them_back() {
    let mut ratoon = detached(&web(""));
    let before = ratoon.ready_workers("web", 2);
    let file = ratoon.directory().join("go");
    let (mut busy, _) = ratoon.engage(ratoon.address(), &until(&file));
    ratoon.signal(Signal::SIGWINCH);
    ratoon.logged("all workers retire; a reload brings them back", &[]);
    std::fs::write(&file, "").unwrap();
    assert_eq!(busy.response().status, 200);
    eventually("all workers have gone", SOON, || ratoon.workers("web").is_empty().then_some(()));
    for pid in before {
        ratoon.logged("gone", &[("pid", pid.as_raw().into()), ("cause", "retired by operator".into())]);
    }
    assert!(ratoon.is_running());
    // Whoever comes meanwhile waits in the queue.
    let mut waiting = Client::connect(ratoon.address());
    waiting.send(b"GET /ok HTTP/1.1\r\nHost: test\r\n\r\n");
    ratoon.signal(Signal::SIGHUP);
    assert_eq!(waiting.response().status, 200);
    ratoon.logged("reloaded", &[]);
    assert_eq!(generations(&ratoon, "web", 2), [2, 2]);
}

/// "…ignored where there is a controlling terminal: every resize sends it."
#[test]
fn winch_from_a_terminal_does_nothing() {
    // The supervisor leads a session of its own, with a terminal, and dies with the test all the same.
    let with_terminal = "import ctypes, os, pty, sys\n\
        log = os.dup(2)\n\
        child, terminal = pty.fork()\n\
        if child == 0:\n    ctypes.CDLL(None).prctl(1, 9)\n    os.dup2(log, 2)\n    os.execv(sys.argv[1], sys.argv[1:])\n\
        os.waitpid(child, 0)\n";
    let ratoon = Ratoon::start_with(&web(""), |command| wrap(command, &["python3", "-c", with_terminal]));
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let supervisor = process::children(ratoon.pid(), "")[0];
    kill(supervisor, Signal::SIGWINCH).unwrap();
    // What is sent after it is heard after it, or at once with it: so twice.
    for (signal, workers) in [(Signal::SIGTTIN, 3), (Signal::SIGTTOU, 2)] {
        kill(supervisor, signal).unwrap();
        ratoon.logged("size changed by the operator", &[("workers", workers.into())]);
    }
    assert_eq!(ratoon.all_logged("all workers retire; a reload brings them back", &[]).len(), 0);
    kill(supervisor, Signal::SIGTERM).unwrap();
    eventually("it leaves", SOON, || (!process::is_alive(supervisor)).then_some(()));
}

/// A client between two requests neither loses its connection while there is nobody, nor waits longer than that.
#[test]
fn a_kept_connection_outlives_the_time_without_workers() {
    let ratoon = detached(&web(""));
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/ok").status, 200);
    ratoon.signal(Signal::SIGWINCH);
    eventually("all workers have gone", SOON, || ratoon.workers("web").is_empty().then_some(()));
    client.send(b"GET /ok HTTP/1.1\r\nHost: test\r\n\r\n");
    ratoon.signal(Signal::SIGHUP);
    assert_eq!(client.response().status, 200);
}

/// Never more than the surge and one on trial, however fast they come.
#[test]
fn hups_without_end_pile_up_neither_workers_nor_templates() {
    let ratoon = Ratoon::serving(&asked(&fixture::pool("web", "workers = 4\nsettle = \"0s\"")));
    for _ in 0..40 {
        ratoon.signal(Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(25));
    }
    eventually("the last reload is over", SOON, || (status(&ratoon)["state"] == "serving").then_some(()));
    let newest = generations(&ratoon, "web", 4);
    assert!(newest.iter().all(|generation| *generation == newest[0]), "{newest:?}");
    // By the log, for it is in order: whoever looks at one process after the other sees some that are never there at once.
    let balance = || {
        let (mut workers, mut templates) = (0, 0);
        for line in ratoon.lines() {
            match line["message"].as_str() {
                Some("ready") => workers += 1,
                Some("gone") => workers -= 1,
                Some("template loaded") => templates += 1,
                Some("template gone") => templates -= 1,
                _ => {}
            }
            assert!(workers <= 4 + 1 + 1 && templates <= 3, "{workers} workers, {templates} templates at {line}");
        }
        (workers, templates)
    };
    eventually("four workers and a template are left", SOON, || (balance() == (4, 1)).then_some(()));
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}
