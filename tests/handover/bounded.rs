//! `max_requests`: no worker serves more, and nobody notices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use super::{ask_over_new_connections, ask_over_one_connection, counted, server_of};
use crate::harness::{Client, Door, Ratoon, SOON, eventually};

/// "`max_requests = 50`, 10,000 requests": 5,000 at each door.
#[track_caller]
fn assert_nobody_serves_more_than_fifty((ratoon, door): (Ratoon, Door)) {
    let (never, shares) = (AtomicBool::new(false), Mutex::default());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| ask_over_one_connection(&door, 375, &never, &shares));
            scope.spawn(|| ask_over_new_connections(&door, 250, &never, &shares));
        }
    });
    let shares = shares.into_inner().unwrap();
    assert_eq!(shares.values().sum::<u64>(), 5000);
    assert!(shares.values().all(|served| *served <= 50), "{shares:?}");
    assert!(shares.len() < 200, "{} workers where 100 would do", shares.len());
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
}

#[test]
fn with_max_requests_50_no_request_of_5000_is_lost_and_no_worker_serves_more_over_tcp() {
    assert_nobody_serves_more_than_fifty(Door::tcp("workers = 4\nmax_requests = 50\n"));
}

#[test]
fn with_max_requests_50_no_request_of_5000_is_lost_and_no_worker_serves_more_over_a_unix_socket() {
    assert_nobody_serves_more_than_fifty(Door::unix("workers = 4\nmax_requests = 50\n"));
}

#[track_caller]
fn assert_five_hundred_requests_are_five_hundred_processes((ratoon, door): (Ratoon, Door)) {
    let mut client = door.connect().unwrap();
    let mut servers: BTreeSet<i32> = (0..500).map(|_| server_of(&mut client).as_raw()).collect();
    assert_eq!(servers.len(), 500, "over one connection");
    servers.extend((0..500).map(|_| server_of(&mut door.connect().unwrap()).as_raw()));
    assert_eq!(servers.len(), 1000, "over a new connection each");
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
}

#[test]
fn with_max_requests_1_five_hundred_requests_are_served_by_five_hundred_processes_over_tcp() {
    assert_five_hundred_requests_are_five_hundred_processes(Door::tcp("workers = 4\nmax_requests = 1\n"));
}

#[test]
fn with_max_requests_1_five_hundred_requests_are_served_by_five_hundred_processes_over_a_unix_socket() {
    assert_five_hundred_requests_are_five_hundred_processes(Door::unix("workers = 4\nmax_requests = 1\n"));
}

/// Whatever is pipelined: each answer is of the request whose turn it is, and no worker takes up what it may not serve.
#[test]
fn pipelined_requests_are_answered_in_their_order_by_as_many_workers_as_it_takes() {
    for (ratoon, door) in [Door::tcp("workers = 2\nmax_requests = 7\n"), Door::unix("workers = 2\nmax_requests = 7\n")]
    {
        let mut client = door.connect().unwrap();
        let body = |number: usize| format!("this is request {number}{}", ".".repeat(number * 20));
        let request = |number| {
            let (body, length) = (body(number), body(number).len());
            format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}")
        };
        let all: String = (0..100).map(request).collect();
        client.send(all.as_bytes());
        for number in 0..100 {
            let answer = client.response();
            assert_eq!((answer.status, answer.text(), answer.header("connection")), (200, body(number), None));
        }
        eventually("fourteen have served seven each", SOON, || {
            (ratoon.all_logged("gone", &[]).len() == 14).then_some(())
        });
        assert_eq!(counted(&ratoon, |cell| cell.requests), 100);
    }
}

/// The only request it may serve is on its way for long: its other clients are not made to wait for that.
#[test]
fn a_worker_whose_last_request_is_an_upload_under_way_gives_its_other_connections_away() {
    let (_ratoon, door) = Door::tcp("workers = 2\nmax_requests = 1\n");
    let mut uploads: Vec<Client> = Vec::new();
    let mut others: Vec<Client> = (0..6).map(|_| door.connect().unwrap()).collect();
    uploads.push(door.connect().unwrap());
    uploads[0].send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    for _ in 0..3 {
        let servers: BTreeSet<i32> = others.iter_mut().map(|client| server_of(client).as_raw()).collect();
        assert_eq!(servers.len(), others.len());
    }
    uploads[0].send(b"world");
    assert_eq!(uploads[0].response().text(), "helloworld");
    assert_eq!(uploads[0].get("/hello").status, 200);
}

/// More requests arrive at the same time than their worker may serve: it takes up none too many.
#[test]
fn uploads_that_arrive_at_the_same_time_are_counted_in_when_their_heads_are_read() {
    let (ratoon, door) = Door::tcp("workers = 1\nmax_requests = 2\n");
    let worker = ratoon.ready_workers("web", 1)[0];
    let mut clients: Vec<Client> = (0..6).map(|_| door.connect().unwrap()).collect();
    eventually("it has them all", SOON, || (counted(&ratoon, |cell| cell.connections.into()) == 6).then_some(()));
    kill(worker, Signal::SIGSTOP).unwrap();
    for client in &mut clients {
        client.send(b"GET /whoami HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    }
    kill(worker, Signal::SIGCONT).unwrap();
    eventually("it gives the others away", SOON, || (counted(&ratoon, |cell| cell.handed_over) == 4).then_some(()));
    clients.iter_mut().for_each(|client| client.send(b"world"));
    let mut shares = BTreeMap::<i32, u32>::new();
    for client in &mut clients {
        *shares.entry(super::pid_in(client.try_response()).unwrap().as_raw()).or_default() += 1;
    }
    assert_eq!(shares.into_values().collect::<Vec<_>>(), [2, 2, 2]);
}

/// A request that was counted in and never came does not count.
#[test]
fn an_upload_that_is_broken_off_leaves_its_worker_as_many_requests_as_before() {
    let (ratoon, door) = Door::tcp("workers = 1\nmax_requests = 3\n");
    let mut client = door.connect().unwrap();
    let first = server_of(&mut client);
    for _ in 0..5 {
        let mut upload = door.connect().unwrap();
        upload.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
        upload.finish();
        assert_eq!(upload.response().status, 400);
    }
    assert_eq!((server_of(&mut client), server_of(&mut client)), (first, first));
    assert_ne!(server_of(&mut client), first);
    ratoon.logged("gone", &[("pid", first.as_raw().into()), ("cause", "recycled by requests".into())]);
    assert_eq!(ratoon.all_logged("gone", &[]).len(), 1);
}
