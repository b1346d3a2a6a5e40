//! Room: memory and disk for bodies, and the number of connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::is_refused;
use crate::harness::{Client, Ratoon, SOON, eventually, get, memory};

const MIB: usize = 1024 * 1024;

/// The unlinked files in `directory` that a process has open, by their length in bytes.
fn unlinked(pid: Pid, directory: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let ours = |path: &Path| {
        let target = std::fs::read_link(path).ok()?;
        let target = target.to_str()?;
        let is_ours = target.starts_with(directory.to_str()?) && target.ends_with(" (deleted)");
        is_ours.then(|| std::fs::metadata(path).ok().map(|found| found.len()))?
    };
    entries.filter_map(|entry| ours(&entry.path())).collect()
}

const POOL: &str =
    "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\nmax_body = \"2GiB\"\nbody_memory = \"64KiB\"\n";

fn spooling(more: &str) -> Ratoon {
    Ratoon::start_with(&format!("{POOL}body_dir = \"DIR/bodies\"\n{more}"), |command| {
        let directory = command.get_current_dir().unwrap().join("bodies");
        std::fs::create_dir(directory).unwrap();
    })
}

#[test]
fn a_body_that_is_too_long_for_memory_is_in_a_file_that_has_no_name_and_goes_with_it() {
    let ratoon = spooling("");
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let workers = ratoon.ready_workers("web", 2);
    let bodies = ratoon.directory().join("bodies");
    let files = || workers.iter().flat_map(|pid| unlinked(*pid, &bodies)).collect::<Vec<u64>>();
    let mut client = Client::connect(ratoon.address());
    let body: Vec<u8> = (0..MIB).map(|place| (place >> 5) as u8).collect();
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n").as_bytes());
    client.send(&body[..MIB / 2]);
    eventually("half of the body is in a file", SOON, || (files() == [MIB as u64 / 2]).then_some(()));
    assert_eq!(std::fs::read_dir(&bodies).unwrap().count(), 0, "the file has no name");
    client.send(&body[MIB / 2..]);
    assert!(client.response().body == body);
    eventually("the file is gone", SOON, || files().is_empty().then_some(()));
    // And when the client is gone in the middle of it.
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n").as_bytes());
    client.send(&body[..MIB / 2]);
    eventually("half of the body is in a file", SOON, || (files() == [MIB as u64 / 2]).then_some(()));
    drop(client);
    eventually("the file is gone", SOON, || files().is_empty().then_some(()));
}

#[test]
fn the_bound_on_the_disk_is_one_for_all_workers_and_who_exceeds_it_is_told_to_come_again() {
    let ratoon = spooling("body_disk = \"8MiB\"\n");
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let workers = ratoon.ready_workers("web", 2);
    let bodies = ratoon.directory().join("bodies");
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 6 * MIB);
    // One upload takes most of the room at one worker, which is then busy with a request of another connection …
    let mut first = Client::connect(ratoon.address());
    let holder = first.get("/whoami").json()["pid"].as_i64().unwrap() as i32;
    let holder = Pid::from_raw(holder);
    first.send(head.as_bytes());
    first.send(&vec![b'x'; 5 * MIB]);
    eventually("the first upload is on the disk", SOON, || {
        (unlinked(holder, &bodies) == [5 * MIB as u64]).then_some(())
    });
    // … so that the second can be brought to the other worker, whichever takes it in.
    let mut second = loop {
        let mut client = Client::connect(ratoon.address());
        if client.get("/whoami").json()["pid"] != holder.as_raw() {
            break client;
        }
    };
    second.send(head.as_bytes());
    let _ = second.try_send(&vec![b'x'; 6 * MIB]);
    second.set_patience(Duration::from_secs(20));
    let refused = second.response();
    assert_eq!(refused.status, 503, "{}", refused.text());
    let seconds: u32 = refused.header("retry-after").expect("says when to come again").parse().unwrap();
    assert!(seconds > 0);
    assert_eq!(second.until_closed().as_deref(), Some(&b""[..]));
    // The first goes on, and what it leaves is room for others.
    first.send(&vec![b'x'; MIB]);
    assert_eq!(first.response().body.len(), 6 * MIB);
    let mut third = Client::connect(ratoon.address());
    third.send(head.as_bytes());
    third.send(&vec![b'x'; 6 * MIB]);
    assert_eq!(third.response().status, 200);
    assert_eq!(ratoon.workers("web"), workers);
}

#[test]
fn a_body_that_cannot_be_stored_is_a_503_and_the_log_says_why() {
    let ratoon = spooling("");
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let bodies = ratoon.directory().join("bodies");
    std::fs::remove_dir(&bodies).unwrap();
    let mut client = Client::connect(ratoon.address());
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n").as_bytes());
    let _ = client.try_send(&vec![b'x'; MIB]);
    is_refused(&mut client, 503);
    let line = ratoon.logged("cannot create a file for a large body", &[("level", "ERROR".into())]);
    assert_eq!(line["directory"], bodies.to_str().unwrap());
    // What `body_memory` holds is served, and the rest again once the operator has seen to it.
    let mut client = Client::connect(ratoon.address());
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n");
    client.send(&[b'x'; 65536]);
    assert_eq!(client.response().body, [b'x'; 65536]);
    std::fs::create_dir(&bodies).unwrap();
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n").as_bytes());
    client.send(&vec![b'x'; MIB]);
    assert_eq!(client.response().body.len(), MIB);
}

const FOUR: &str = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nmax_connections = 4\nbody_timeout = \"1h\"\n";

#[test]
fn a_worker_takes_no_more_connections_in_than_it_may_until_one_leaves() {
    let ratoon = Ratoon::serving(FOUR);
    let mut inside: Vec<Client> = (0..4).map(|_| Client::connect(ratoon.address())).collect();
    for client in &mut inside {
        assert_eq!(client.get("/hello").status, 200);
        // From now on each has a request under way.
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na");
    }
    let mut outside = Client::connect(ratoon.address());
    outside.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    outside.set_patience(Duration::from_millis(1500));
    assert!(outside.try_response().is_err(), "a fifth connection was taken in");
    inside.pop();
    outside.set_patience(SOON);
    assert_eq!(outside.response().status, 200);
    for client in &mut inside {
        client.send(b"b");
        assert_eq!(client.response().text(), "ab");
    }
}

#[test]
fn whoever_waits_takes_the_place_of_the_connection_that_has_been_idle_for_longest() {
    let ratoon = Ratoon::serving(FOUR);
    let mut inside: Vec<Client> = (0..4).map(|_| Client::connect(ratoon.address())).collect();
    for number in [2, 0, 1, 3] {
        assert_eq!(inside[number].get("/hello").status, 200);
    }
    assert_eq!(get(ratoon.address(), "/hello").status, 200);
    assert!(inside.remove(2).is_closed());
    for client in &mut inside {
        assert_eq!(client.get("/hello").status, 200);
    }
}

/// Promised: "at `max_connections` the longest idle one makes room for a newcomer", as fast as they come.
#[test]
fn where_all_are_idle_newcomers_are_let_in_as_fast_as_they_come() {
    let ratoon = Ratoon::serving(
        "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\nmax_connections = 60\nkeep_alive_timeout = \"1h\"\n",
    );
    ratoon.ready_workers("web", 2);
    let connect = |_| {
        let mut client = Client::connect(ratoon.address());
        client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        client
    };
    let mut idle: Vec<Client> = (0..120).map(connect).collect();
    idle.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    let begun = Instant::now();
    let mut newcomers: Vec<Client> = (0..120).map(connect).collect();
    newcomers.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    assert!(begun.elapsed() < SOON, "the last of 120 came in after {:?}", begun.elapsed());
}

#[test]
fn over_whose_connection_a_request_has_come_by_then_is_served_and_the_next_longest_idle_goes() {
    let ratoon = Ratoon::serving(FOUR);
    let worker = ratoon.ready_workers("web", 1)[0];
    let mut inside: Vec<Client> = (0..4).map(|_| Client::connect(ratoon.address())).collect();
    for client in &mut inside {
        assert_eq!(client.get("/hello").status, 200);
    }
    // It finds the newcomer first, and the request when it is about to let its client go.
    kill(worker, Signal::SIGSTOP).unwrap();
    let mut newcomer = Client::connect(ratoon.address());
    newcomer.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    inside[0].send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    kill(worker, Signal::SIGCONT).unwrap();
    assert_eq!(newcomer.response().status, 200);
    assert_eq!(inside[0].response().status, 200);
    assert!(inside.remove(1).is_closed());
    inside.iter_mut().for_each(|client| assert_eq!(client.get("/hello").status, 200));
}

/// Bytes that no other piece has at this place: a piece that is missing, doubled or out of place is noticed.
struct Pieces {
    piece: Vec<u8>,
    next: u64,
}

impl Pieces {
    fn new() -> Pieces {
        let mut rng = fastrand::Rng::with_seed(1);
        Pieces { piece: std::iter::repeat_with(|| rng.u8(..)).take(MIB).collect(), next: 0 }
    }

    fn next(&mut self) -> &[u8] {
        for block in self.piece.chunks_mut(4096) {
            block[..8].copy_from_slice(&self.next.to_le_bytes());
            self.next += 1;
        }
        &self.piece
    }
}

/// Promised: "a body of a gibibyte passes through a worker that stays below 64 MiB".
#[test]
fn a_body_of_one_gibibyte_streams_through_echo_and_the_worker_stays_below_64_mib() {
    const LENGTH: usize = 1024 * MIB;
    let bodies = memory::directory();
    let ratoon = Ratoon::start(&format!("{POOL}body_dir = {:?}\nbody_disk = \"2GiB\"\n", bodies.path()));
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let workers = ratoon.ready_workers("web", 2);
    let stream = TcpStream::connect(ratoon.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut uploader = stream.try_clone().unwrap();
    let sent = std::thread::spawn(move || {
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n");
        uploader.write_all(head.as_bytes()).unwrap();
        let mut pieces = Pieces::new();
        for _ in 0..LENGTH / MIB {
            uploader.write_all(pieces.next()).unwrap();
        }
        uploader.shutdown(Shutdown::Write).unwrap();
    });
    let mut stream = std::io::BufReader::with_capacity(MIB, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("\r\ncontent-length: {LENGTH}\r\n")), "{head}");
    let (mut pieces, mut piece) = (Pieces::new(), vec![0; MIB]);
    for number in 0..LENGTH / MIB {
        stream.read_exact(&mut piece).unwrap();
        assert!(piece == pieces.next(), "MiB {number} differs");
    }
    assert_eq!(stream.read(&mut piece).unwrap(), 0);
    sent.join().unwrap();
    // The most that was ever resident, in KiB: the whole time counts, not the moment of a look.
    for worker in workers {
        let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 64 * 1024, "worker {worker} took {peak} KiB");
    }
}
