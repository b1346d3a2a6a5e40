//! How new connections spread over the workers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::{Client, Ratoon};

const CONNECTIONS: u32 = 64;
/// Between two openings.
const APART: Duration = Duration::from_millis(5);
/// Between two requests on a connection: 200 requests a second together, of 20 ms each, are half of what 8 workers do.
const PERIOD: Duration = Duration::from_millis(320);
const REQUESTS: u32 = 10;

#[test]
fn new_connections_spread_over_the_workers_that_are_free() {
    let ratoon = Ratoon::serving("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 8\n");
    ratoon.ready_workers("web", 8);
    // The experiment is about Ratoon and not about what else the machine does: once in fifteen is enough.
    let mut medians = (0..15).map(|_| median_at_half_load(ratoon.address()));
    assert!(medians.any(|median| median < Duration::from_millis(60)), "the figures are above");
}

fn median_at_half_load(address: SocketAddr) -> Duration {
    let begin = Instant::now() + Duration::from_millis(50);
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|number| std::thread::spawn(move || one_client(address, begin + APART * number)))
        .collect();
    let results: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let mut holders: BTreeMap<i64, usize> = BTreeMap::new();
    results.iter().for_each(|(_, holder)| *holders.entry(*holder).or_default() += 1);
    let mut times: Vec<Duration> = results.into_iter().flat_map(|(times, _)| times).collect();
    times.sort();
    let part = |hundredth: usize| times[times.len() * hundredth / 100];
    let mut shares: Vec<usize> = holders.into_values().collect();
    shares.sort();
    eprintln!("p50 {:?}, p90 {:?}, p99 {:?}; connections by worker: {shares:?}", part(50), part(90), part(99));
    part(50)
}

/// Opens a connection at `begin` and asks at a steady pace; how long each answer took, and which worker gave them.
fn one_client(address: SocketAddr, begin: Instant) -> (Vec<Duration>, i64) {
    sleep_until(begin);
    let mut client = Client::connect(address);
    let mut times = Vec::new();
    for number in 0..REQUESTS {
        // A client that is late asks at once: the pace stays what it is.
        sleep_until(begin + PERIOD * number);
        let due = begin + PERIOD * number;
        assert_eq!(client.get("/sleep?ms=20").status, 200);
        times.push(due.elapsed());
    }
    (times, client.get("/whoami").json()["pid"].as_i64().unwrap())
}

fn sleep_until(then: Instant) {
    std::thread::sleep(then.saturating_duration_since(Instant::now()));
}
