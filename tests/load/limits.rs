//! At the limit of descriptors.

use std::time::{Duration, Instant};

use crate::harness::{Client, Ratoon, SOON, eventually, get, process, wrap};

/// So many descriptors a worker may have: far fewer than there will be clients.
const LIMIT: usize = 64;
const NO_ROOM: &str = "no room for a connection: raise max_connections or the limit on open files";

/// A supervisor, with one worker, that may not have more descriptors.
fn confined() -> Ratoon {
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    let config = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nheader_timeout = \"60s\"\n";
    let ratoon = Ratoon::start_with(config, |command| wrap(command, &["prlimit", &limit]));
    ratoon.ready_workers("web", 1);
    ratoon
}

#[test]
fn at_the_descriptor_limit_the_oldest_idle_connections_make_room() {
    let ratoon = confined();
    let mut clients = Vec::new();
    for _ in 0..2 * LIMIT {
        let mut client = Client::connect(ratoon.address());
        assert_eq!(client.get("/hello").status, 200);
        clients.push(client);
    }
    ratoon.logged(NO_ROOM, &[]);
    let young = clients.split_off(2 * LIMIT - LIMIT / 2);
    for (number, mut client) in young.into_iter().enumerate() {
        assert!(client.try_get("/hello").is_ok(), "the {number}th of the youngest half is still served");
    }
    for mut client in clients.drain(..LIMIT) {
        assert!(client.is_closed(), "the oldest had to go");
    }
    assert!(ratoon.all_logged("died", &[]).is_empty());
}

#[test]
fn at_the_descriptor_limit_with_nobody_idle_newcomers_wait_and_the_worker_does_not_spin() {
    let ratoon = confined();
    let worker = ratoon.ready_workers("web", 1)[0];
    let mut busy = Vec::new();
    eventually("there is no room for one more", SOON, || {
        let mut client = Client::connect(ratoon.address());
        client.send(b"GET /bytes?n=100000000 HTTP/1.1\r\nHost: test\r\n\r\n");
        busy.push(client);
        (!ratoon.all_logged(NO_ROOM, &[]).is_empty()).then_some(())
    });
    let mut newcomer = Client::connect(ratoon.address());
    newcomer.send(b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");

    let (begun, before) = (Instant::now(), process::cpu_time(worker));
    std::thread::sleep(Duration::from_secs(1));
    let (spent, time) = (process::cpu_time(worker) - before, begun.elapsed());
    eprintln!("{} connections and no room for one more: {spent:?} of CPU in {time:?}", busy.len());
    assert!(spent < time / 5, "{spent:?} of CPU in {time:?}");
    assert!(process::descriptors(worker) >= LIMIT, "everybody is still there");

    drop(busy);
    assert_eq!(newcomer.response().text(), "Hello, world!");
    eventually("the worker is rid of them", SOON, || (process::descriptors(worker) < LIMIT / 2).then_some(()));
    assert_eq!(get(ratoon.address(), "/hello").status, 200);
}

#[test]
fn at_the_descriptor_limit_a_newcomer_is_not_shed_before_those_who_have_been_idle_for_longer() {
    let ratoon = confined();
    let mut idle = Vec::new();
    eventually("there is no room for one more", SOON, || {
        let mut client = Client::connect(ratoon.address());
        assert_eq!(client.get("/hello").status, 200);
        idle.push(client);
        (!ratoon.all_logged(NO_ROOM, &[]).is_empty()).then_some(())
    });
    // They have not said anything yet when the next one comes.
    let mut newcomers: Vec<Client> = (0..5).map(|_| Client::connect(ratoon.address())).collect();
    for client in &mut idle[..6] {
        client.set_patience(SOON);
        assert!(client.is_closed(), "idle for longest");
    }
    for client in &mut newcomers {
        assert_eq!(client.get("/hello").status, 200);
    }
}
