//! Promised: "what was accepted or queued when it is told to stop is served; then it is gone".

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use serde_json::Value;

use crate::harness::{CONTROL, Client, Door, RaisedAtTheEnd, Ratoon, SOON, eventually, fixture, get, process};

const NOBODY: [Value; 0] = [];

/// Twenty requests that take `millis` each wait for two workers when the signal comes.
#[track_caller]
fn assert_all_twenty_are_answered((mut ratoon, door): (Ratoon, Door), signal: Signal, millis: u32) {
    ratoon.ready_workers("web", 2);
    let mut clients: Vec<Client> = (0..20).map(|_| door.connect().unwrap()).collect();
    for client in &mut clients {
        client.send(format!("GET /sleep?ms={millis} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
    }
    ratoon.signal(signal);
    for client in &mut clients {
        let answer = client.response();
        assert_eq!((answer.status, answer.text()), (200, format!("slept {millis} ms\n")));
    }
    ratoon.leaves_in_peace();
    assert!(door.connect().is_err());
    let causes: Vec<_> = ratoon.all_logged("gone", &[]).into_iter().map(|line| line["cause"].clone()).collect();
    assert_eq!(causes, ["retired by stop", "retired by stop"]);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// "TERM with 20 one-second requests queued on 2 workers: all 20 are answered, then it is gone with status 0."
#[test]
fn after_term_twenty_queued_requests_are_answered_over_tcp_and_over_a_unix_socket() {
    let lines = "workers = 2\nstop_timeout = \"30s\"\n";
    std::thread::scope(|scope| {
        scope.spawn(|| assert_all_twenty_are_answered(Door::tcp(lines), Signal::SIGTERM, 1000));
        scope.spawn(|| assert_all_twenty_are_answered(Door::unix(lines), Signal::SIGTERM, 1000));
    });
}

/// "QUIT is the same."
#[test]
fn after_quit_twenty_queued_requests_are_answered_as_well() {
    assert_all_twenty_are_answered(Door::tcp("workers = 2\n"), Signal::SIGQUIT, 50);
    assert_all_twenty_are_answered(Door::unix("workers = 2\n"), Signal::SIGQUIT, 50);
}

/// What one connection came to: when its request was sent, if it could be, and all that came back.
struct Outcome {
    sent: Option<Instant>,
    answer: Vec<u8>,
}

/// "TERM under 64 clients that keep connecting: gone within the longest request plus 1 s." A machine that is busy with
/// other things may be late: one of three stops must be in time. Whatever the machine: each request that was sent before
/// the signal is answered, and no answer is cut off.
#[track_caller]
fn assert_newcomers_do_not_delay_the_end(start: impl Fn(&str) -> (Ratoon, Door)) {
    let whole =
        |answer: &[u8]| answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"\r\n\r\nslept 200 ms\n");
    let in_time = (0..3).any(|_| {
        let (mut ratoon, door) = start("workers = 32\n");
        ratoon.ready_workers("web", 32);
        let (over, outcomes) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let (told, took) = std::thread::scope(|scope| {
            let _end = RaisedAtTheEnd(&over);
            for _ in 0..64 {
                scope.spawn(|| keep_connecting(&door, &over, &outcomes));
            }
            eventually("everybody has been served", SOON, || (outcomes.lock().unwrap().len() > 64).then_some(()));
            let told = Instant::now();
            ratoon.signal(Signal::SIGTERM);
            ratoon.wait_exit(SOON);
            (told, told.elapsed())
        });
        for Outcome { sent, answer } in outcomes.into_inner().unwrap() {
            let early = sent.is_some_and(|sent| sent < told);
            let late = sent.and_then(|sent| sent.checked_duration_since(told));
            let text = String::from_utf8_lossy(&answer);
            assert!(whole(&answer) || (answer.is_empty() && !early), "sent {late:?} after TERM: {text:?}");
        }
        ratoon.leaves_in_peace();
        assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
        took < Duration::from_millis(200) + Duration::from_secs(1)
    });
    assert!(in_time, "three times in a row it was still there 1.2 s after TERM");
}

fn keep_connecting(door: &Door, over: &AtomicBool, outcomes: &Mutex<Vec<Outcome>>) {
    while !over.load(Ordering::SeqCst) {
        let Ok(mut client) = door.connect() else { continue };
        let request = b"GET /sleep?ms=200 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let sent = client.try_send(request).ok().map(|()| Instant::now());
        let answer = client.rest();
        outcomes.lock().unwrap().push(Outcome { sent, answer });
    }
}

#[test]
fn clients_that_keep_connecting_over_tcp_do_not_delay_the_end() {
    assert_newcomers_do_not_delay_the_end(Door::tcp);
}

#[test]
fn clients_that_keep_connecting_over_a_unix_socket_do_not_delay_the_end() {
    assert_newcomers_do_not_delay_the_end(Door::unix);
}

/// A supervisor whose only other worker is in a request, to be ended by making the file `go`.
fn in_a_request(lines: &str) -> (Ratoon, Client) {
    let ratoon = Ratoon::serving(&fixture::pool("web", &format!("workers = 2\n{lines}")));
    ratoon.ready_workers("web", 2);
    let (client, _) = ratoon.engage(ratoon.address(), "await:go");
    (ratoon, client)
}

/// "TERM may be sent twice": it neither hurries nor restarts anything.
#[test]
fn a_repeated_term_changes_nothing() {
    let (mut ratoon, mut client) = in_a_request("");
    for signal in [Signal::SIGTERM, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGTERM] {
        ratoon.signal(signal);
        ratoon.logged("stopping: what was accepted or queued is served", &[]);
    }
    eventually("the idle worker has left", SOON, || (ratoon.workers("web").len() == 1).then_some(()));
    assert!(ratoon.is_running());
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    assert_eq!(client.response().status, 200);
    ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged("stopping: what was accepted or queued is served", &[]).len(), 1);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// "INT = now", also while it drains.
#[test]
fn int_during_a_drain_ends_it_at_once() {
    let (mut ratoon, mut client) = in_a_request("stop_timeout = \"1h\"\nrequest_timeout = \"1h\"");
    ratoon.signal(Signal::SIGTERM);
    ratoon.logged("stopping: what was accepted or queued is served", &[]);
    ratoon.signal(Signal::SIGINT);
    ratoon.leaves_in_peace();
    assert!(client.try_response().is_err());
    let gone = ratoon.logged("gone", &[("cause", "stopped now".into())]);
    assert_eq!(gone["retry"], Value::Null);
}

/// "INT = now": Ctrl-C in a terminal, which everybody in the group hears.
#[test]
fn ctrl_c_ends_everything_at_once_and_only_the_supervisor_acts_on_it() {
    let (mut ratoon, mut client) = in_a_request("stop_timeout = \"1h\"\nrequest_timeout = \"1h\"");
    killpg(ratoon.pid(), Signal::SIGINT).unwrap();
    ratoon.leaves_in_peace();
    assert!(client.try_response().is_err());
    assert_eq!(ratoon.all_logged("gone", &[("cause", "stopped now".into())]).len(), 2);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// "QUIT = graceful", also when it is Ctrl-\ in a terminal: workers hear it and finish what they have.
#[test]
fn a_quit_that_everybody_hears_is_a_graceful_stop() {
    let (mut ratoon, mut client) = in_a_request("");
    killpg(ratoon.pid(), Signal::SIGQUIT).unwrap();
    ratoon.logged("gone", &[("cause", "retired by stop".into())]);
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    assert_eq!(client.response().status, 200);
    ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged("gone", &[("cause", "retired by stop".into())]).len(), 2);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// "What is not done within `stop_timeout` is killed, and recorded as such."
#[test]
fn a_handler_that_is_stuck_when_stop_timeout_passes_is_killed_for_it() {
    let (mut ratoon, mut client) = in_a_request("stop_timeout = \"700ms\"");
    let (told, pid) = (Instant::now(), ratoon.all_logged("begins", &[])[0]["pid"].clone());
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    assert!(told.elapsed() >= Duration::from_millis(700));
    assert!(client.try_response().is_err());
    ratoon.logged("stop_timeout is over: killing who is left", &[("workers", 1.into())]);
    for message in ["killing", "died"] {
        let line = ratoon.logged(message, &[("cause", "stop timeout".into()), ("pid", pid.clone())]);
        assert_eq!(line["request"], "GET /await:go HTTP/1.1");
    }
    assert_eq!(ratoon.all_logged("gone", &[("cause", "retired by stop".into())]).len(), 1);
}

/// "`request_timeout` holds during a stop, too."
#[test]
fn a_handler_that_never_returns_is_killed_for_its_deadline_during_a_stop_as_well() {
    let (mut ratoon, mut client) =
        in_a_request("request_timeout = \"500ms\"\nkill_grace = \"100ms\"\nstop_timeout = \"1h\"");
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    assert_eq!(client.response().status, 504);
    ratoon.logged("died", &[("cause", "request timeout".into())]);
    assert_eq!(ratoon.all_logged("died", &[]).len(), 1);
}

/// "A stop waits for no program that hangs": neither one that loads nor workers that start.
#[test]
fn term_while_it_boots_ends_it() {
    let mut ratoon = Ratoon::start(&fixture::pool("web", "settings = { load = \"hang\" }"));
    eventually("the template loads", SOON, || process::children(ratoon.pid(), "ratoon: web template").pop());
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();

    let lines = "workers = 3\nstop_timeout = \"300ms\"\nsettings = { start = \"hang\" }";
    let mut ratoon = Ratoon::start(&fixture::pool("web", lines));
    eventually("three workers start", SOON, || (ratoon.workers("web").len() == 3).then_some(()));
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged("ready", &[]), NOBODY);
}

/// "A pool that keeps failing does not keep it from stopping."
#[test]
fn term_while_a_program_keeps_failing_ends_it() {
    let mut ratoon = Ratoon::start("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nprogram = [\"/bin/false\"]\n");
    eventually("it has failed three times", SOON, || ratoon.all_logged("template died", &[]).into_iter().nth(2));
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
}

/// "A worker that dies while it drains is not replaced, and the rest goes on."
#[test]
fn a_worker_that_is_killed_during_a_stop_is_not_replaced() {
    let (mut ratoon, mut client) = in_a_request("");
    let (mut other, victim) = ratoon.engage(ratoon.address(), "hang");
    ratoon.signal(Signal::SIGTERM);
    ratoon.logged("stopping: what was accepted or queued is served", &[]);
    kill(victim, Signal::SIGKILL).unwrap();
    let died = ratoon.logged("died", &[("pid", victim.as_raw().into()), ("cause", "killed from outside".into())]);
    assert_eq!(died["retry"], Value::Null);
    assert!(other.try_response().is_err());
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    assert_eq!(client.response().status, 200);
    ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged("ready", &[]).len(), 2);
}

/// "A Unix socket is removed at the end."
#[test]
fn the_file_of_a_unix_socket_goes_with_the_supervisor() {
    let (mut ratoon, _) = Door::unix("workers = 1\n");
    let path = ratoon.directory().join("web");
    assert!(path.exists());
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    assert!(!path.exists());
}

/// "INT = now", also for a worker that is being forked at that moment.
#[test]
fn int_while_workers_are_being_forked_leaves_nobody_behind() {
    for _ in 0..15 {
        let mut ratoon = Ratoon::start(&fixture::pool("web", "workers = 8"));
        ratoon.logged("template loaded", &[]);
        ratoon.signal(Signal::SIGINT);
        assert!(ratoon.wait_exit(SOON).success());
        assert_eq!(ratoon.family(), []);
    }
}

/// A worker may have answered before the supervisor has heard from its template that there is one.
#[test]
fn term_while_a_worker_says_that_it_is_ready_ends_it_as_well() {
    for round in 0..40 {
        let mut ratoon = Ratoon::start("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nstop_timeout = \"60s\"\n");
        assert_eq!(get(ratoon.address(), "/hello").text(), "Hello, world!");
        ratoon.signal(Signal::SIGTERM);
        let status = ratoon.wait_exit(SOON);
        assert!(status.success(), "round {round}: {status}");
    }
}

/// "For `drain_delay` a pool that stops is not ready any more and serves all the same, also those who come only then."
#[test]
fn a_pool_that_stops_lets_clients_in_for_its_drain_delay_and_says_that_it_stops() {
    let lines = "workers = 2\ndrain_delay = \"1h\"\n";
    let mut ratoon = Ratoon::serving(&format!("{CONTROL}{}", fixture::pool("web", lines)));
    assert_eq!(ratoon.status_of("web")["stopping"], false);
    ratoon.signal(Signal::SIGTERM);
    ratoon.logged("stopping: not ready any more, and accepting for drain_delay", &[("accepting", "1h0m".into())]);
    assert_eq!(
        (ratoon.status()["state"].clone(), ratoon.status_of("web")["stopping"].clone()),
        ("stopping".into(), true.into())
    );
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    // One that dies is replaced, as long as clients come.
    kill(ratoon.workers("web")[0], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[]);
    ratoon.ready_workers("web", 2);
    // A second TERM changes nothing.
    ratoon.signal(Signal::SIGTERM);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    ratoon.signal(Signal::SIGINT);
    ratoon.leaves_in_peace();
}

#[test]
fn each_pool_ends_when_its_own_drain_delay_is_over() {
    let config = fixture::pool("quick", "workers = 1")
        + &fixture::pool("patient", "workers = 1\ndrain_delay = \"4s\"\nsettings = { stop = \"await:go\" }");
    let mut ratoon = Ratoon::serving(&config);
    let patient = ratoon.address_of("patient");
    ratoon.signal(Signal::SIGTERM);
    eventually("the quick pool is gone", SOON, || ratoon.workers("quick").is_empty().then_some(()));
    assert_eq!(get(patient, "/ok").status, 200);
    assert_eq!(ratoon.all_logged("stopping: what was accepted or queued is served", &[]).len(), 0);
    ratoon.logged("stopping: what was accepted or queued is served", &[]);
    assert!(Client::try_connect(patient).is_err() || ratoon.workers("patient").len() == 1);
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    ratoon.leaves_in_peace();
}

/// "Who has never served has nobody to wait for."
#[test]
fn a_stop_before_everything_serves_waits_for_nobody() {
    let lines = "workers = 1\ndrain_delay = \"1h\"\nstop_timeout = \"300ms\"\nsettings = { start = \"hang\" }";
    let mut ratoon = Ratoon::start(&fixture::pool("web", lines));
    ratoon.logged("template loaded", &[]);
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
}
