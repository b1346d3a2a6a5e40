//! Leaving, when something is in the way.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Client, Ratoon, SOON, eventually, fixture, get, process, wrap};

const STOPPING: &str = "stopping: what was accepted or queued is served";
const SHORT: Duration = Duration::from_millis(700);

/// A pool's only worker has been sent TERM and does not leave: it is killed in time, and its slot serves again.
#[track_caller]
fn is_killed_at_stop_timeout_and_its_slot_serves_again(ratoon: &Ratoon, pid: Pid, target: &str) {
    let told = Instant::now();
    kill(pid, Signal::SIGTERM).unwrap();
    let who = [("pid", pid.as_raw().into()), ("cause", "stop timeout".into())];
    ratoon.logged("died", &who);
    assert!(told.elapsed() >= SHORT, "killed after {:?}", told.elapsed());
    assert_eq!(ratoon.all_logged("killing", &who).len(), 1);
    assert!(!ratoon.ready_workers("web", 1).contains(&pid));
    assert_eq!(get(ratoon.address(), target).status, 200);
    assert_eq!(ratoon.all_logged("died", &[]).len(), 1);
}

#[test]
fn a_worker_that_is_sent_term_and_whose_client_reads_slowly_is_killed_at_stop_timeout() {
    let timeouts = "stop_timeout = \"700ms\"\nsend_timeout = \"1h\"\n";
    let ratoon = Ratoon::serving(&format!("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n{timeouts}"));
    let pid = ratoon.ready_workers("web", 1)[0];
    let mut client = Client::connect(ratoon.address());
    client.keep_at_most(4096);
    client.send(b"GET /bytes?n=1000000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.read_some(1000).unwrap() > 0);
    is_killed_at_stop_timeout_and_its_slot_serves_again(&ratoon, pid, "/hello");
}

#[test]
fn a_worker_that_is_sent_term_and_whose_application_does_not_stop_is_killed_at_stop_timeout() {
    let lines = "workers = 1\nstop_timeout = \"700ms\"\nsettings = { stop = \"hang\" }";
    let ratoon = Ratoon::serving(&fixture::pool("web", lines));
    let pid = ratoon.ready_workers("web", 1)[0];
    is_killed_at_stop_timeout_and_its_slot_serves_again(&ratoon, pid, "/ok");
}

/// So many descriptors a worker may have.
const LIMIT: usize = 64;

#[test]
fn at_the_descriptor_limit_no_queued_request_is_lost_by_term() {
    let (limit, lines) = (format!("--nofile={LIMIT}:{LIMIT}"), "workers = 1\nsend_timeout = \"1h\"\n");
    let config = format!("[pool.web]\nlisten = [\"127.0.0.1:0\", \"unix:DIR/web\"]\n{lines}");
    let mut ratoon = Ratoon::start_with(&config, |command| wrap(command, &["prlimit", &limit]));
    let worker = ratoon.ready_workers("web", 1)[0];
    let mut readers = Vec::new();
    while process::descriptors(worker) < LIMIT {
        let mut reader = Client::connect(ratoon.address());
        reader.keep_at_most(4096);
        reader.send(b"GET /bytes?n=100000000 HTTP/1.1\r\nHost: test\r\n\r\n");
        assert!(reader.read_some(5).unwrap() > 0);
        readers.push(reader);
    }
    // In both queues: who has just come from the one is not given up for who waits in the other.
    let (address, path) = (ratoon.address(), ratoon.directory().join("web"));
    let connect = |number| if number % 2 == 0 { Client::try_connect(address) } else { Client::connect_unix(&path) };
    let mut queued: Vec<Client> = (0..20).map(|number| connect(number).unwrap()).collect();
    for client in &mut queued {
        client.send(b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    ratoon.signal(Signal::SIGTERM);
    ratoon.logged(STOPPING, &[]);
    for (number, client) in queued.iter_mut().enumerate() {
        drop(readers.pop().expect("more readers than queued requests"));
        client.set_patience(SOON);
        let answer = client.try_response().unwrap_or_else(|error| panic!("the {number}th is lost: {error}"));
        assert_eq!((answer.status, answer.text()), (200, "Hello, world!".into()));
    }
    drop(readers);
    ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
}

/// Two workers that wait in `start` for the file `go`, which is there and then is not.
fn serving_while_nobody_else_can_start() -> (Ratoon, Vec<Pid>) {
    let lines = "workers = 2\nstop_timeout = \"1h\"\nboot_timeout = \"1h\"\nsettings = { start = \"await:go\" }";
    let ratoon = Ratoon::start(&fixture::pool("web", lines));
    let go = ratoon.directory().join("go");
    std::fs::write(&go, "").unwrap();
    let workers = ratoon.ready_workers("web", 2);
    std::fs::remove_file(go).unwrap();
    (ratoon, workers)
}

#[test]
fn a_worker_that_hangs_in_start_is_not_left_behind_when_the_others_leave() {
    let (mut ratoon, workers) = serving_while_nobody_else_can_start();
    kill(workers[0], Signal::SIGKILL).unwrap();
    eventually("another worker starts", SOON, || {
        let present = ratoon.workers("web");
        (present.len() == 2 && !present.contains(&workers[0])).then_some(())
    });
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged("gone", &[("cause", "retired by stop".into())]).len(), 1);
}

/// The template was slow to follow an order that TERM made void: whoever comes of it has nobody who knows of it.
#[test]
fn a_worker_that_is_forked_after_term_and_hangs_in_start_is_not_left_behind() {
    let (mut ratoon, workers) = serving_while_nobody_else_can_start();
    let template = process::children(ratoon.pid(), "ratoon: web template")[0];
    kill(template, Signal::SIGSTOP).unwrap();
    kill(workers[0], Signal::SIGKILL).unwrap();
    let died = ratoon.logged("died", &[("pid", workers[0].as_raw().into())]);
    assert_eq!(died["retry"], "0s", "the order has been given");
    ratoon.signal(Signal::SIGTERM);
    ratoon.logged(STOPPING, &[]);
    kill(template, Signal::SIGCONT).unwrap();
    ratoon.leaves_in_peace();
}
