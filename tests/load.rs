//! Promised: slow and idle clients cost a file descriptor and not a worker; load is spread; memory loaded before
//! the fork is shared.

mod limits;
mod memory;
mod silent;
mod slow;
mod spread;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Client, Ratoon};

/// What `wrk` says about errors, and how many requests were answered.
fn wrk(seconds: u32, address: SocketAddr, more: &[&str]) -> (u64, Vec<String>) {
    let output = Command::new("wrk")
        .args(["-t2", "-c64", "--timeout", "30s", &format!("-d{seconds}s")])
        .args(more)
        .arg(format!("http://{address}/hello"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let answered = said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let is_trouble = |line: &&str| line.contains("Socket errors") || line.contains("Non-2xx");
    (answered.unwrap_or(0), said.lines().filter(is_trouble).map(str::to_owned).collect())
}

#[track_caller]
fn wrk_finds_no_error(seconds: u32, more: &[&str]) {
    let ratoon = Ratoon::serving("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n");
    let before = ratoon.ready_workers("web", 2);
    // However little of the machine is left for this, each connection is used again.
    // More than once: whoever is left waiting for ever at the end of one time is missed in the next.
    for _ in 0..3 {
        let (answered, trouble) = wrk(seconds, ratoon.address(), more);
        assert!(trouble.is_empty(), "{trouble:?} in {answered} requests");
        assert!(answered > 64, "only {answered} requests");
    }
    assert_eq!(ratoon.workers("web"), before, "nobody died of it");
    assert!(ratoon.all_logged("died", &[]).is_empty());
}

#[test]
fn sixty_four_keep_alive_connections_find_no_error() {
    wrk_finds_no_error(2, &[]);
}

#[test]
fn sixty_four_clients_that_connect_for_every_request_find_no_error() {
    wrk_finds_no_error(2, &["-H", "Connection: close"]);
}

#[test]
#[ignore = "ten seconds each: make soak"]
fn sixty_four_clients_find_no_error_in_ten_seconds() {
    wrk_finds_no_error(10, &[]);
    wrk_finds_no_error(10, &["-H", "Connection: close"]);
}

/// Whether `burdened` answers as fast as `free`, in alternating rounds: within twice the median, once in five tries,
/// for the machine may be busy with other things.
#[track_caller]
fn answers_as_fast(burdened: SocketAddr, free: SocketAddr) {
    let mut tries = (0..5).map(|_| {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            with.extend((0..10).map(|_| ask(burdened)));
            without.extend((0..10).map(|_| ask(free)));
        }
        (median(with), median(without))
    });
    let is_as_fast = |(with, without): (Duration, Duration)| {
        eprintln!("median of /hello with the burden {with:?}, without {without:?}");
        with < without * 2
    };
    assert!(tries.any(is_as_fast), "slower in every try");
}

/// How long a request on a connection of its own takes.
fn ask(address: SocketAddr) -> Duration {
    let begun = Instant::now();
    assert_eq!(Client::connect(address).get("/hello").status, 200);
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Ends what goes on beside a test, also when an assertion fails.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
