//! "Answers while every worker is busy", however many ask, and however slowly.

use std::time::{Duration, Instant};

use super::{serving, status, until};
use crate::harness::{Client, SOON, eventually, fixture, get, process, raise_descriptor_limit};

#[test]
fn the_state_is_told_while_every_worker_is_busy() {
    let ratoon = serving(&fixture::pool("web", "workers = 2"));
    let word = until(&ratoon, "go");
    let _busy = [(); 2].map(|()| ratoon.engage(ratoon.address(), &word));
    let _waiting = Client::connect(ratoon.address());
    let pool = eventually("both are busy and one waits", SOON, || {
        let pool = status(ratoon.admin())["pools"][0].clone();
        (pool["active_processes"] == 2 && pool["listeners"][0]["listen_queue"] == 1).then_some(pool)
    });
    assert!(pool["processes"][0]["request_line"].as_str().unwrap().starts_with("GET /await:"), "{pool}");
    let mut client = Client::connect(ratoon.admin());
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        assert_eq!(client.get("/status.json").status, 200);
        times.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    times.sort();
    eprintln!("while every worker is busy: median {:?}, longest {:?}", times[25], times[49]);
    assert!(times[49] < Duration::from_secs(5), "{times:?}");
}

/// "200 silent connections do not wedge it", nor do two hundred heads that never end.
#[test]
fn silent_and_slow_clients_hold_up_nobody() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let address = ratoon.admin();
    let silent: Vec<Client> = (0..200).map(|_| Client::connect(address)).collect();
    let mut slow: Vec<Client> = (0..200).map(|_| Client::connect(address)).collect();
    for client in &mut slow {
        let _ = client.try_send(b"GET /status.json HTTP/1.1\r\nHost: te");
    }
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(get(address, "/healthz").text(), "ok\n");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    assert_eq!(process::threads(ratoon.admin_process()), 1);
    drop((silent, slow));
    assert_eq!(ratoon.all_logged("admin process died: everything else serves on", &[]).len(), 0);
}

/// "1024 clients are held at a time": beyond that who has been idle for longest makes room, at once.
#[test]
fn a_crowd_that_keeps_its_connections_keeps_nobody_out() {
    raise_descriptor_limit();
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let address = ratoon.admin();
    let crowd: Vec<Client> = (0..1400)
        .map(|_| {
            let mut client = Client::connect(address);
            client.send(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
            client
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(get(address, "/healthz").text(), "ok\n");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    drop(crowd);
}

/// "A flood of requests costs the supervisor at most five questions a second."
#[test]
fn a_flood_of_requests_is_a_trickle_of_questions() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let address = ratoon.admin();
    let mut client = Client::connect(address);
    assert_eq!(client.get("/status.json").status, 200);
    let begun = Instant::now();
    let mut seen = std::collections::BTreeSet::new();
    let mut asked = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        seen.insert(client.get("/status.json").json()["start_since_ms"].as_u64().unwrap());
        asked += 1;
    }
    let most = 2 + begun.elapsed().as_millis() / 200;
    assert!(asked > most && (seen.len() as u128) <= most, "{asked} requests, {} answers", seen.len());
}

#[test]
fn a_head_that_is_too_long_or_makes_no_sense_is_refused() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let mut client = Client::connect(ratoon.admin());
    let _ = client.try_send(format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(10_000)).as_bytes());
    assert_eq!(client.response().status, 431);
    let mut client = Client::connect(ratoon.admin());
    client.send(b"GET /\r\n\r\n");
    assert_eq!(client.response().status, 400);
    let mut client = Client::connect(ratoon.admin());
    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n");
    assert_eq!(client.response().status, 413);
    assert_eq!(get(ratoon.admin(), "/healthz").status, 200);
}
