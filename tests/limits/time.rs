//! Who is slow costs a connection, and is told so once if there is anything to tell.

use std::time::{Duration, Instant};

use super::is_refused;
use crate::harness::{Client, Ratoon, SOON, eventually, process};

const POOL: &str = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n";

fn serving(limit: &str) -> Ratoon {
    Ratoon::serving(&format!("{POOL}{limit}\n"))
}

#[test]
fn a_slow_head_is_a_408_however_it_trickles() {
    let ratoon = serving("header_timeout = \"1s\"");
    let begun = Instant::now();
    let mut client = Client::connect(ratoon.address());
    client.send(b"GET /hello HTTP/1.1\r\nHo");
    is_refused(&mut client, 408);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // The time is for the whole head: it does not begin anew with every byte.
    let mut client = Client::connect(ratoon.address());
    let begun = Instant::now();
    client.set_patience(Duration::from_millis(20));
    let told = loop {
        let _ = client.try_send(b"G");
        if let Some(told) = client.until_closed() {
            break told;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "a head may trickle without end");
    };
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.starts_with("HTTP/1.1 408 ") && told.matches("HTTP/1.1").count() == 1, "{told}");
}

#[test]
fn a_slow_head_of_a_later_request_is_a_408_after_its_own_time() {
    let ratoon = serving("header_timeout = \"1s\"");
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/sleep?ms=1200").status, 200);
    let begun = Instant::now();
    client.send(b"GET /hello HTTP/1.1\r\n");
    is_refused(&mut client, 408);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_body_that_pauses_too_long_is_a_408_and_one_that_merely_takes_long_is_served() {
    let ratoon = serving("body_timeout = \"1s\"\nheader_timeout = \"1s\"");
    for framing in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut client = Client::connect(ratoon.address());
        let begun = Instant::now();
        client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{framing}").as_bytes());
        is_refused(&mut client, 408);
        assert!(begun.elapsed() >= Duration::from_secs(1), "{framing}");
    }
    let mut client = Client::connect(ratoon.address());
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n");
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(100));
        client.send(b"x");
    }
    assert_eq!(client.response().text(), "x".repeat(15));
}

#[test]
fn a_client_that_says_nothing_is_closed_without_a_word() {
    let ratoon = serving("header_timeout = \"1s\"");
    let mut client = Client::connect(ratoon.address());
    client.set_patience(Duration::from_secs(20));
    assert_eq!(client.until_closed().as_deref(), Some(&b""[..]));
}

#[test]
fn an_idle_connection_is_closed_without_a_word_when_its_time_is_over() {
    let ratoon = serving("keep_alive_timeout = \"1s\"");
    let mut client = Client::connect(ratoon.address());
    client.set_patience(Duration::from_secs(20));
    assert_eq!(client.get("/hello").status, 200);
    let begun = Instant::now();
    assert_eq!(client.get("/sleep?ms=1200").status, 200);
    assert_eq!(client.until_closed().as_deref(), Some(&b""[..]));
    assert!(begun.elapsed() >= Duration::from_millis(2200), "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_does_not_read_its_response_is_closed_and_one_that_reads_slowly_is_not() {
    let ratoon = serving("send_timeout = \"1s\"");
    const LENGTH: usize = 50_000_000;
    let request = format!("GET /bytes?n={LENGTH} HTTP/1.1\r\nHost: a\r\n\r\n");
    let workers = ratoon.ready_workers("web", 2);
    let descriptors = || workers.iter().map(|pid| process::descriptors(*pid)).sum::<usize>();
    let before: usize = workers.iter().map(|pid| process::descriptors_at_rest(*pid)).sum();
    let mut client = Client::connect(ratoon.address());
    client.send(request.as_bytes());
    eventually("the connection is there", SOON, || (descriptors() > before).then_some(()));
    eventually("the connection is closed", SOON, || (descriptors() == before).then_some(()));
    client.set_patience(Duration::from_secs(20));
    let got = client.until_closed().unwrap();
    assert!(got.len() < LENGTH, "all of it");

    let mut client = Client::connect(ratoon.address());
    client.send(request.replace("Host: a", "Host: a\r\nConnection: close").as_bytes());
    let (begun, mut read) = (Instant::now(), 0);
    loop {
        // Much at a time: the kernel speaks up for a full window only when a good part of it is free again.
        match client.read_some(2_000_000).unwrap() {
            0 => break,
            length => read += length,
        }
        if begun.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    assert!(read >= LENGTH, "only {read} bytes");
}
