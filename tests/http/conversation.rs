//! Several requests on one connection: kept, pipelined, closed, and what the client is told in between.

use std::time::Duration;

use super::{CONFIG, Sending, Server, is_refused};
use crate::harness::{Client, Ratoon, SOON, eventually};

const ONE_WORKER: &str = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nsettings.faults = true\n";

#[test]
fn a_connection_is_kept_for_many_requests() {
    let server = Server::new(CONFIG);
    let mut client = server.connect();
    let first = client.get("/whoami").json();
    for count in 1..200 {
        let who = client.get("/whoami").json();
        assert_eq!(who["pid"], first["pid"]);
        assert_eq!(who["served"].as_u64().unwrap(), first["served"].as_u64().unwrap() + count);
    }
    server.is_whole();
}

#[test]
fn pipelined_requests_are_answered_one_at_a_time_and_in_order() {
    let server = Server::new(CONFIG);
    let whoami = b"GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    let requests = [
        whoami,
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nthe first",
        b"GET /sleep?ms=50 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nthe \r\n6\r\nsecond\r\n0\r\n\r\n",
        whoami,
    ]
    .concat();
    for sending in [Sending::Whole, Sending::ByteByByte, Sending::OverUnix] {
        let mut client = server.ask(sending, &requests);
        let before = client.response().json();
        assert_eq!(client.response().text(), "the first", "{sending:?}");
        assert_eq!(client.response().text(), "slept 50 ms\n", "{sending:?}");
        assert_eq!(client.response().text(), "the second", "{sending:?}");
        let after = client.response().json();
        assert_eq!(after["pid"], before["pid"], "{sending:?}");
        assert_eq!(after["served"].as_u64().unwrap(), before["served"].as_u64().unwrap() + 4, "{sending:?}");
        assert_eq!(client.get("/hello").status, 200, "{sending:?}");
    }
    server.is_whole();
}

#[test]
fn a_hundred_pipelined_requests_do_not_keep_others_waiting_for_the_last_of_them() {
    let ratoon = Ratoon::serving(ONE_WORKER);
    let mut greedy = Client::connect(ratoon.address());
    assert_eq!(greedy.get("/hello").status, 200);
    let mut modest = Client::connect(ratoon.address());
    assert_eq!(modest.get("/hello").status, 200);
    greedy.send(&b"GET /sleep?ms=20 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
    assert_eq!(greedy.response().status, 200);
    let served = modest.get("/whoami").json()["served"].as_u64().unwrap();
    assert!(served < 90, "the other client had to wait for {served} requests");
    for _ in 1..100 {
        assert_eq!(greedy.response().status, 200);
    }
}

#[test]
fn a_request_after_one_that_closes_is_not_served() {
    let ratoon = Ratoon::serving(ONE_WORKER);
    let served = || Client::connect(ratoon.address()).get("/whoami").json()["served"].as_u64().unwrap();
    let closing = [
        "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Close\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n",
        "GET /hello HTTP/1.0\r\n\r\n",
        "POST /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
    ];
    for request in closing {
        let before = served();
        let mut client = Client::connect(ratoon.address());
        client.send(format!("{request}GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let response = client.response();
        assert_eq!(response.header("connection"), Some("close"), "{request}");
        assert_eq!(client.until_closed().as_deref(), Some(&b""[..]), "{request}");
        assert_eq!(served(), before + 2, "{request}");
    }
}

#[test]
fn http_1_0_is_served_with_and_without_keep_alive() {
    let server = Server::new(CONFIG);
    let mut client = server.connect();
    for _ in 0..3 {
        client.send(b"GET /hello HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let kept = client.response();
        assert_eq!((kept.status, kept.text().as_str()), (200, "Hello, world!"));
        assert_eq!(kept.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("keep-alive"));
    }
    client.send(b"POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nend");
    assert_eq!(client.response().text(), "end");
    assert_eq!(client.until_closed().as_deref(), Some(&b""[..]));
    server.is_whole();
}

#[test]
fn a_response_to_head_is_that_to_get_without_its_body_and_the_connection_stays_in_step() {
    let server = Server::new(CONFIG);
    for mut client in [server.connect(), server.connect_unix()] {
        for (target, length) in [("/hello", Some("13")), ("/bytes?n=100000", Some("100000")), ("/count", None)] {
            client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            let head = client.try_response_to(true).unwrap();
            assert_eq!((head.status, head.header("content-length")), (200, length), "{target}");
            let get = client.get(target);
            assert_eq!(get.header("content-type"), head.header("content-type"), "{target}");
            assert_eq!(get.header("transfer-encoding").is_some(), length.is_none(), "{target}");
        }
        client.send(b"HEAD /hello HTTP/1.1\r\n\r\n");
        let refused = client.try_response_to(true).unwrap();
        assert_eq!(refused.status, 400);
        assert_eq!(client.until_closed().as_deref(), Some(&b""[..]), "a refusal of HEAD has no body either");
    }
    server.is_whole();
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on_before_it_sends_the_body() {
    let server = Server::new(CONFIG);
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let mut client = server.connect();
        for _ in 0..2 {
            client.send(
                format!("POST /echo HTTP/1.1\r\nHost: a\r\n{framing}\r\nExpect: 100-Continue\r\n\r\n").as_bytes(),
            );
            assert_eq!(client.response().status, 100, "{framing}");
            let body: &[u8] = if framing.starts_with('C') { b"hello" } else { b"5\r\nhello\r\n0\r\n\r\n" };
            client.send(body);
            let response = client.response();
            assert_eq!((response.status, response.text().as_str()), (200, "hello"), "{framing}");
        }
    }
    server.is_whole();
}

#[test]
fn a_client_whose_expectation_is_in_vain_gets_its_final_answer_at_once() {
    let server = Server::new(&format!("{CONFIG}max_body = \"1KiB\"\n"));
    let mut client = server.connect();
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n");
    is_refused(&mut client, 413).unwrap();
    let mut client = server.connect();
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 200-ok\r\n\r\n");
    is_refused(&mut client, 417).unwrap();
    // RFC 9110, 10.1.1: HTTP/1.0 knows no expectation, and none of its clients an interim response.
    let mut client = server.connect();
    client.send(b"POST /echo HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    client.send(b"hello");
    assert_eq!(client.response().text(), "hello");
    // Nothing is to be waited for where there is no body.
    let mut client = server.connect();
    client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 200);
    server.is_whole();
}

#[test]
fn a_client_that_half_closes_after_its_request_gets_its_answer() {
    let server = Server::new(CONFIG);
    let requests: [(&str, usize); 6] = [
        ("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", 13),
        ("GET /hello HTTP/1.0\r\n\r\n", 13),
        ("GET /sleep?ms=300 HTTP/1.1\r\nHost: a\r\n\r\n", 13),
        ("GET /bytes?n=20000000 HTTP/1.1\r\nHost: a\r\n\r\n", 20_000_000),
        ("GET /count?n=100000 HTTP/1.1\r\nHost: a\r\n\r\n", 588_890),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 5),
    ];
    for (request, length) in requests {
        for sending in [Sending::Whole, Sending::OverUnix] {
            let mut client = server.ask(sending, request.as_bytes());
            client.finish();
            assert_eq!(client.response().body.len(), length, "{request} ({sending:?})");
            assert_eq!(client.until_closed().as_deref(), Some(&b""[..]), "{request} ({sending:?})");
        }
    }
    server.is_whole();
}

/// The end of the client's stream arrives together with the last bytes, while the worker looks elsewhere.
#[test]
fn an_end_that_arrives_with_the_last_bytes_is_not_overlooked() {
    let ratoon = Ratoon::serving(ONE_WORKER);
    let mut busy = Client::connect(ratoon.address());
    assert_eq!(busy.get("/hello").status, 200);
    for (last, answers) in [("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", 1), ("GET /hello HT", 0), ("", 0)] {
        let mut client = Client::connect(ratoon.address());
        client.set_patience(Duration::from_secs(5));
        assert_eq!(client.get("/hello").status, 200);
        busy.send(b"GET /sleep?ms=300 HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("the worker sleeps", SOON, || {
            let worker = ratoon.workers("web")[0];
            let call = std::fs::read_to_string(format!("/proc/{worker}/syscall")).unwrap_or_default();
            call.starts_with(&format!("{} ", nix::libc::SYS_clock_nanosleep)).then_some(())
        });
        client.send(last.as_bytes());
        client.finish();
        assert_eq!(busy.response().status, 200);
        for _ in 0..answers {
            assert_eq!(client.response().status, 200);
        }
        let told = client.until_closed().unwrap_or_else(|| panic!("{last:?}: the end was overlooked"));
        assert!(told.is_empty() || told.starts_with(b"HTTP/1.1 400 "), "{last:?}");
    }
}

#[test]
fn options_for_the_server_as_a_whole_are_answered_and_connect_is_refused() {
    let server = Server::new(CONFIG);
    let mut client = server.connect();
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    let status = client.response().status;
    assert!(matches!(status, 200 | 204 | 404), "{status}");
    assert_eq!(client.get("/hello").status, 200);
    client.send(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    is_refused(&mut client, 501).unwrap();
    server.is_whole();
}
