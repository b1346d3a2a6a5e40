//! "It may crash without anyone noticing", hang, or flood: the supervisor is not moved.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::geteuid;

use super::{serving, status};
use crate::harness::{ADMIN, CONTROL, Client, Ratoon, SOON, eventually, fixture, get, process, root};

#[test]
fn one_that_is_killed_is_back_and_only_the_log_has_noticed() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let workers = ratoon.ready_workers("web", 1);
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/ok").status, 200);
    let killed = ratoon.admin_process();
    kill(killed, Signal::SIGKILL).unwrap();
    ratoon.logged("admin process died: everything else serves on", &[("cause", "killed from outside".into())]);
    assert_ne!(eventually("another one", SOON, || Some(ratoon.admin_process()).filter(|pid| *pid != killed)), killed);
    assert_eq!(get(ratoon.admin(), "/healthz").status, 200);
    assert_eq!(client.get("/ok").status, 200);
    assert_eq!(ratoon.ready_workers("web", 1), workers);
    assert_eq!(ratoon.all_logged("died", &[]).len(), 0);
}

#[test]
fn one_that_dies_again_and_again_is_started_ever_more_slowly() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let line = "admin process died: everything else serves on";
    for times in 1..=4 {
        let pid = ratoon.admin_process();
        kill(pid, Signal::SIGKILL).unwrap();
        eventually("its death is told", SOON, || (ratoon.all_logged(line, &[]).len() == times).then_some(()));
    }
    let pauses: Vec<String> =
        ratoon.all_logged(line, &[]).iter().map(|line| line["retry"].as_str().unwrap().to_owned()).collect();
    assert_eq!(pauses[0], "0s", "{pauses:?}");
    assert!(pauses[1..].iter().all(|pause| pause != "0s"), "{pauses:?}");
    assert_eq!(get(ratoon.admin(), "/healthz").status, 200);
}

/// "If it hangs the supervisor is not moved": it is asked, told, scaled and reloaded as ever.
#[test]
fn one_that_hangs_is_nobodys_business() {
    let ratoon = Ratoon::serving(&format!("{ADMIN}{CONTROL}{}", fixture::pool("web", "workers = 1\nsettle = \"0s\"")));
    let admin = ratoon.admin_process();
    kill(admin, Signal::SIGSTOP).unwrap();
    let silent = Client::connect(ratoon.admin());
    assert_eq!(ratoon.status()["state"], "serving");
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    kill(admin, Signal::SIGCONT).unwrap();
    drop(silent);
    assert_eq!(get(ratoon.admin(), "/healthz").status, 200);
    assert_eq!(ratoon.admin_process(), admin);
}

/// "A supervisor that is stopped makes `/healthz` say 503 within a bounded time."
#[test]
fn a_supervisor_that_does_not_answer_is_reported_in_time() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let address = ratoon.admin();
    assert_eq!(get(address, "/healthz").status, 200);
    ratoon.signal(Signal::SIGSTOP);
    let silence = eventually("it is found out", SOON, || {
        let begun = Instant::now();
        let response = get(address, "/healthz");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        (response.status == 503).then_some(response.text())
    });
    assert_eq!(silence, "the supervisor has not answered within 1 s\n");
    for route in ["/", "/status.json", "/metrics", "/readyz"] {
        assert_eq!(get(address, route).status, 503, "{route}");
    }
    ratoon.signal(Signal::SIGCONT);
    eventually("it answers again", SOON, || (get(address, "/healthz").status == 200).then_some(()));
    assert_eq!(status(address)["pid"], ratoon.pid().as_raw());
}

/// One with which nobody can speak any more would tell everybody for ever that the supervisor does not answer.
#[test]
fn one_whose_line_is_cut_is_replaced() {
    if !geteuid().is_root() {
        return;
    }
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let deaf = ratoon.admin_process();
    let script = root().join("tests/admin/nonsense.py");
    let arguments = [deaf.to_string(), ratoon.pid().to_string(), "cut".into()];
    let done = Command::new("python3").arg(script).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    eventually("it is gone", SOON, || (!process::is_alive(deaf)).then_some(()));
    ratoon.logged("admin process died: everything else serves on", &[]);
    assert_eq!(get(ratoon.admin(), "/healthz").text(), "ok\n");
}

/// "If it floods its socket pair the supervisor is not moved": one that talks nonsense is hung up on, killed, replaced.
#[test]
fn one_that_talks_nonsense_is_replaced() {
    if !geteuid().is_root() {
        eprintln!("only root can speak in its place");
        return;
    }
    let ratoon = Ratoon::serving(&format!("{ADMIN}{CONTROL}{}", fixture::pool("web", "workers = 1")));
    let workers = ratoon.ready_workers("web", 1);
    assert_eq!(get(ratoon.admin(), "/healthz").status, 200);
    let (admin, before) = (ratoon.admin_process(), process::memory(ratoon.pid(), "Private_Dirty"));
    let script = root().join("tests/admin/nonsense.py");
    let mut speaker = Command::new("python3");
    let said = speaker.arg(script).args([admin, ratoon.pid()].map(|pid| pid.to_string())).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    ratoon.logged("the admin process does not make sense: hanging up", &[]);
    eventually("it is replaced", SOON, || Some(ratoon.admin_process()).filter(|pid| *pid != admin));
    assert_eq!(get(ratoon.admin(), "/healthz").status, 200);
    assert_eq!(ratoon.status()["state"], "serving");
    assert_eq!(ratoon.ready_workers("web", 1), workers);
    let more = process::memory(ratoon.pid(), "Private_Dirty").saturating_sub(before);
    assert!(more <= 1024, "{more} KiB more");
}

#[test]
fn it_goes_when_the_supervisor_is_killed() {
    let mut ratoon = serving(&fixture::pool("web", "workers = 1"));
    let admin = ratoon.admin_process();
    ratoon.signal(Signal::SIGKILL);
    ratoon.wait_exit(SOON);
    eventually("the admin process is gone", SOON, || (!process::is_alive(admin)).then_some(()));
}
