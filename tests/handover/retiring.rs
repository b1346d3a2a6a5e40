//! A worker that is told to leave, by a signal or by the supervisor, while its clients stay.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{ask_over_new_connections, ask_over_one_connection, counted, server_of};
use crate::harness::{CONTROL, Client, Door, RaisedAtTheEnd, Ratoon, SOON, eventually, fixture, process};

const NOBODY: [Value; 0] = [];

/// Has this worker leave; back when another is ready in its place.
#[track_caller]
fn replace(ratoon: &Ratoon, worker: Pid, workers: usize) {
    kill(worker, Signal::SIGTERM).unwrap();
    ratoon.logged("gone", &[("pid", worker.as_raw().into()), ("cause", "retired by operator".into())]);
    ratoon.ready_workers("web", workers);
}

#[track_caller]
fn assert_workers_can_be_replaced_under_load((ratoon, door): (Ratoon, Door)) {
    ratoon.ready_workers("web", 3);
    let (over, shares) = (AtomicBool::new(false), Mutex::default());
    std::thread::scope(|scope| {
        let _end = RaisedAtTheEnd(&over);
        for _ in 0..8 {
            scope.spawn(|| ask_over_one_connection(&door, u64::MAX, &over, &shares));
            scope.spawn(|| ask_over_new_connections(&door, u64::MAX, &over, &shares));
        }
        for _ in 0..4 {
            for worker in ratoon.ready_workers("web", 3) {
                let answers = || shares.lock().unwrap().values().sum::<u64>();
                let before = answers();
                replace(&ratoon, worker, 3);
                eventually("all go on", SOON, || (answers() > before + 100).then_some(()));
            }
        }
    });
    assert!(shares.into_inner().unwrap().len() > 6, "several generations of workers have served");
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

#[test]
fn workers_that_are_sent_term_one_after_the_other_lose_no_request_of_anybody_over_tcp() {
    assert_workers_can_be_replaced_under_load(Door::tcp("workers = 3\n"));
}

#[test]
fn workers_that_are_sent_term_one_after_the_other_lose_no_request_of_anybody_over_a_unix_socket() {
    assert_workers_can_be_replaced_under_load(Door::unix("workers = 3\n"));
}

#[test]
fn an_idle_connection_goes_on_with_whoever_takes_the_place_of_its_worker() {
    for (ratoon, door) in [Door::tcp("workers = 1\n"), Door::unix("workers = 1\n")] {
        let mut clients: Vec<Client> = (0..100).map(|_| door.connect().unwrap()).collect();
        let old = server_of(&mut clients[0]);
        assert!(clients.iter_mut().all(|client| server_of(client) == old));
        replace(&ratoon, old, 1);
        let new = ratoon.ready_workers("web", 1)[0];
        assert!(clients.iter_mut().all(|client| server_of(client) == new));
        // And again, where handlers are slow: the new worker may have taken some from itself.
        assert!(counted(&ratoon, |cell| cell.handed_over) >= 100);
        assert_eq!(counted(&ratoon, |cell| cell.accepted), 100);
        assert_eq!(counted(&ratoon, |cell| cell.connections.into()), 100);
    }
}

/// Heads of some bytes and of several KiB, which travel differently.
#[test]
fn the_bytes_of_a_head_that_has_half_arrived_survive_the_hand_over() {
    for (ratoon, door) in [Door::tcp("workers = 1\n"), Door::unix("workers = 1\n")] {
        let mut clients = Vec::new();
        for length in [1, 30, 900, 1100, 12_000] {
            let head = format!("GET /headers HTTP/1.1\r\nHost: test\r\nX-Long: {}\r\n\r\n", "x".repeat(length));
            for cut in [1, 20, 40, head.len() - 3, head.len() - 1] {
                let mut client = door.connect().unwrap();
                assert_eq!(client.get("/hello").status, 200);
                client.send(&head.as_bytes()[..cut]);
                clients.push((client, head.as_bytes()[cut..].to_vec(), length));
            }
        }
        for _ in 0..2 {
            let old = ratoon.ready_workers("web", 1)[0];
            // What it answers now has come after all that was sent before.
            assert_eq!(server_of(&mut door.connect().unwrap()), old);
            replace(&ratoon, old, 1);
        }
        for (client, rest, length) in &mut clients {
            client.send(rest);
            let answer = client.response();
            assert_eq!((answer.status, answer.text().contains(&"x".repeat(*length))), (200, true));
        }
    }
}

#[test]
fn an_upload_under_way_is_served_by_the_worker_that_leaves_and_its_connection_goes_on_with_another() {
    // Alone: a sibling might be given the connection before the upload is looked at.
    let (ratoon, door) = Door::tcp("workers = 1\n");
    let mut client = door.connect().unwrap();
    let old = server_of(&mut client);
    client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    // What it answers now has come after that.
    let mut idle = door.connect().unwrap();
    assert_eq!(server_of(&mut idle), old);
    kill(old, Signal::SIGTERM).unwrap();
    eventually("the idle one is served elsewhere", SOON, || (server_of(&mut idle) != old).then_some(()));
    assert!(process::is_alive(old), "it waits for the upload");
    client.send(b"world");
    let answer = client.response();
    assert_eq!((answer.text(), answer.header("connection")), ("helloworld".into(), None));
    assert_ne!(server_of(&mut client), old);
    ratoon.logged("gone", &[("pid", old.as_raw().into()), ("cause", "retired by operator".into())]);
}

#[test]
fn a_response_that_is_leaving_keeps_only_its_own_connection() {
    let (ratoon, door) = Door::tcp("workers = 2\nsend_timeout = \"1h\"\n[log]\nlevel = \"debug\"\n");
    let mut slow = door.connect().unwrap();
    let old = server_of(&mut slow);
    slow.send(b"GET /bytes?n=50000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    slow.await_response();
    kill(old, Signal::SIGTERM).unwrap();
    // A signal takes its time: with a third worker there it has been noticed.
    ratoon.ready_workers("web", 3);
    for _ in 0..20 {
        assert_ne!(server_of(&mut door.connect().unwrap()), old);
    }
    assert!(process::is_alive(old), "its client still reads");
    assert_eq!(slow.response().body.len(), 50_000_000);
    assert_ne!(server_of(&mut slow), old);
    ratoon.logged("gone", &[("pid", old.as_raw().into()), ("cause", "retired by operator".into())]);
}

/// Whoever gets it does not begin to count anew.
#[test]
fn the_time_of_an_idle_connection_and_of_a_head_goes_on_where_it_was() {
    let (ratoon, door) = Door::tcp("workers = 1\nkeep_alive_timeout = \"2s\"\nheader_timeout = \"2s\"\n");
    let (mut idle, mut slow) = (door.connect().unwrap(), door.connect().unwrap());
    assert_eq!((idle.get("/hello").status, slow.get("/hello").status), (200, 200));
    slow.send(b"GET /hello HT");
    for client in [&mut idle, &mut slow] {
        client.set_patience(Duration::from_millis(1));
    }
    let (mut hand_overs, mut rest) = (0, None);
    eventually("both are told that they were too slow", SOON, || {
        replace(&ratoon, ratoon.ready_workers("web", 1)[0], 1);
        hand_overs += 1;
        rest = rest.take().or_else(|| slow.until_closed());
        (idle.is_closed() && rest.is_some()).then_some(())
    });
    assert!(hand_overs > 2, "{hand_overs} times");
    assert!(rest.unwrap().starts_with(b"HTTP/1.1 408 "));
}

/// "On a full stop idle connections are closed last": also those that were on their way from one worker to another.
#[test]
fn a_request_on_a_connection_in_the_inbox_is_served_when_all_stop() {
    let mut ratoon = Ratoon::serving(&(CONTROL.to_owned() + &fixture::pool("web", "workers = 2")));
    let workers = ratoon.ready_workers("web", 2);
    let (over, word) = (ratoon.directory().join("go"), "await:go");
    let mut client = Client::connect(ratoon.address());
    let retiring = Pid::from_raw(client.get("/ok").text().parse().unwrap());
    let other = workers.into_iter().find(|pid| *pid != retiring).unwrap();
    // The other is in a request, whoever replaces the first cannot start: nobody takes from the inbox.
    let mut engaged = eventually("the other is engaged", SOON, || {
        let mut client = Client::connect(ratoon.address());
        (client.get("/ok").text() == other.to_string()).then(|| ratoon.engage_over(client, word).0)
    });
    let template = process::children(ratoon.pid(), "ratoon: web template")[0];
    kill(template, Signal::SIGSTOP).unwrap();
    kill(retiring, Signal::SIGTERM).unwrap();
    ratoon.logged("gone", &[("pid", retiring.as_raw().into())]);
    ratoon.signal(Signal::SIGTERM);
    ratoon.logged("stopping: what was accepted or queued is served", &[]);
    // It answers when everybody has been told: the line in the log comes before that.
    assert_eq!(ratoon.status()["state"], "stopping");
    client.send(b"GET /ok HTTP/1.1\r\nHost: test\r\n\r\n");
    std::fs::write(over, "").unwrap();
    let answer = client.response();
    assert_eq!((answer.text(), answer.header("connection")), (other.to_string(), Some("close")));
    kill(template, Signal::SIGCONT).unwrap();
    assert_eq!(engaged.response().status, 200);
    ratoon.leaves_in_peace();
}

#[test]
fn under_load_a_stop_loses_no_request_that_was_sent_before_it() {
    let (mut ratoon, door) = Door::tcp("workers = 3\n");
    let (over, answered) = (AtomicBool::new(false), Mutex::new(0));
    std::thread::scope(|scope| {
        let _end = RaisedAtTheEnd(&over);
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = door.connect().unwrap();
                // Until the server says that this was the last: so much is promised, and nothing beyond.
                while !over.load(Ordering::SeqCst) {
                    let answer = client.get("/sleep?ms=3");
                    assert_eq!(answer.status, 200);
                    *answered.lock().unwrap() += 1;
                    if answer.header("connection") == Some("close") {
                        assert!(client.is_closed());
                        return;
                    }
                }
            });
        }
        eventually("all are served", SOON, || (*answered.lock().unwrap() > 100).then_some(()));
        ratoon.signal(Signal::SIGTERM);
        ratoon.wait_exit(SOON);
    });
    ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}
