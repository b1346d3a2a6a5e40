//! Clients that read slowly.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{SetWhenDropped, answers_as_fast, ask};
use crate::harness::{Client, Ratoon, get, process, raise_descriptor_limit};

#[test]
fn two_hundred_readers_at_a_kilobyte_a_second_do_not_affect_the_others() {
    raise_descriptor_limit();
    let config = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n";
    let (burdened, free) = (Ratoon::serving(config), Ratoon::serving(config));
    let workers = burdened.ready_workers("web", 2);
    free.ready_workers("web", 2);
    let mut readers: Vec<Client> = (0..200).map(|_| slow_reader(&burdened, "/bytes?n=100000000")).collect();
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // One after the other, each once a second; none of them at its end.
            for next in (0..readers.len()).cycle() {
                assert!(readers[next].read_some(1000).unwrap() > 0);
                std::thread::sleep(Duration::from_millis(5));
                if enough.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let _done = SetWhenDropped(&enough);
        answers_as_fast(burdened.address(), free.address());

        // Their responses go on by themselves: hardly any time, hardly any memory.
        let spent = || workers.iter().map(|pid| process::cpu_time(*pid)).sum::<Duration>();
        let (begun, before) = (Instant::now(), spent());
        while begun.elapsed() < Duration::from_secs(2) {
            ask(burdened.address());
            std::thread::sleep(Duration::from_millis(20));
        }
        let (spent, time) = (spent() - before, begun.elapsed());
        let memory: Vec<u64> = workers.iter().map(|pid| process::status(*pid, "RssAnon")).collect();
        eprintln!("200 slow readers: {spent:?} of CPU in {time:?}, RssAnon {memory:?} KiB");
        assert!(spent < time / 4, "the workers took {spent:?} of {time:?}");
        assert!(memory.iter().all(|kib| *kib < 32 * 1024), "RssAnon {memory:?} KiB");
    });
    assert_eq!(burdened.workers("web"), workers);
}

/// A client that has asked for something long and has read the first bytes of the answer.
fn slow_reader(ratoon: &Ratoon, target: &str) -> Client {
    let mut reader = Client::connect(ratoon.address());
    reader.keep_at_most(4096);
    reader.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
    assert!(reader.read_some(5).unwrap() > 0);
    reader
}

#[test]
fn a_response_that_the_application_itself_produces_keeps_its_worker_and_no_other() {
    let config = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\nrequest_timeout = \"1h\"\n";
    let ratoon = Ratoon::serving(config);
    ratoon.ready_workers("web", 2);
    let mut reader = Client::connect(ratoon.address());
    let kept = reader.get("/whoami").json()["pid"].clone();
    reader.keep_at_most(65536);
    reader.send(b"GET /count?n=5000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(reader.read_some(1).unwrap(), 1, "the worker has begun to send");

    for _ in 0..5 {
        // With the other one busy, a newcomer has to wait for it.
        let mut busy = Client::connect(ratoon.address());
        busy.send(b"GET /sleep?ms=100 HTTP/1.1\r\nHost: test\r\n\r\n");
        let newcomers: Vec<Value> = (0..5).map(|_| get(ratoon.address(), "/whoami").json()["pid"].clone()).collect();
        assert!(!newcomers.contains(&kept), "only the other worker takes connections");
        assert_eq!(busy.response().status, 200);
    }

    // The rest comes whole once it is read, and then the worker is free again.
    reader.put_back(b"H");
    let response = reader.response();
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert!(response.body.starts_with(b"0\n1\n2\n") && response.body.ends_with(b"\n4999998\n4999999\n"));
    assert_eq!(reader.get("/whoami").json()["pid"], kept);
}

#[test]
fn a_response_that_the_application_itself_produces_and_nobody_takes_is_broken_off_at_request_timeout() {
    let config = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nrequest_timeout = \"1s\"\n";
    let ratoon = Ratoon::serving(config);
    let worker = ratoon.ready_workers("web", 1);
    let mut reader = Client::connect(ratoon.address());
    let begun = Instant::now();
    reader.send(b"GET /count?n=50000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    let target = ("request", "GET /count?n=50000000 HTTP/1.1".into());
    ratoon.logged("response broken off: not taken within request_timeout", &[target]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "broken off after {:?}", begun.elapsed());
    assert!(reader.rest().len() < 50_000_000);
    // It was the client's fault: the worker lives.
    assert_eq!(get(ratoon.address(), "/hello").text(), "Hello, world!");
    assert_eq!(ratoon.workers("web"), worker);
}

#[test]
fn a_client_that_reads_slowly_all_the_time_is_not_taken_for_one_that_has_stopped() {
    let ratoon = Ratoon::serving("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nsend_timeout = \"1s\"\n");
    let mut reader = Client::connect(ratoon.address());
    reader.keep_at_most(65536);
    reader.send(b"GET /bytes?n=20000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    let begun = Instant::now();
    let mut length = 0;
    // 200 kB/s for four timeouts: much less than the kernel holds for it, so the worker has nothing to write meanwhile.
    while begun.elapsed() < Duration::from_secs(4) {
        length += reader.read_some(10_000).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    loop {
        match reader.read_some(1 << 20).unwrap() {
            0 => break,
            more => length += more,
        }
        if length > 20_000_000 {
            break;
        }
    }
    assert!(length > 20_000_000, "broken off after {length} bytes");
}
