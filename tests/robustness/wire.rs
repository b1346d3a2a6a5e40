//! Listeners in odd states, and answers without the body whose length they state.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};

use crate::harness::{Client, Ratoon, SOON, eventually, fixture, ratoon};

/// So many listeners a pool may have.
const MOST: usize = 64;

fn listeners(count: usize) -> String {
    let addresses: Vec<String> = (0..count).map(|number| format!("\"unix:DIR/{number}\"")).collect();
    format!("[pool.web]\nworkers = 1\nlisten = [{}]\n", addresses.join(", "))
}

#[test]
fn a_pool_with_more_than_64_listeners_is_refused_in_one_line() {
    let mut refused = Ratoon::start(&listeners(MOST + 1));
    assert_eq!(refused.wait_exit(SOON).code(), Some(2));
    let config = refused.directory().join("config.toml");
    let checked = ratoon(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(2));
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(said.contains("config.toml:3: pool.web.listen: ") && said.contains("64"), "{said}");
    assert_eq!(said.matches('\n').count(), 1, "{said}");
    eventually("the daemon says the same", SOON, || (refused.text() == said.trim_end()).then_some(()));

    let full = Ratoon::serving(&listeners(MOST));
    for number in [0, MOST - 1] {
        let mut client = Client::connect_unix(&full.directory().join(number.to_string())).unwrap();
        assert_eq!(client.get("/hello").status, 200);
    }
}

fn unix_socket() -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap()
}

#[test]
fn a_unix_socket_whose_server_is_too_busy_to_answer_is_in_use_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.sock");
    let (address, server) = (UnixAddr::new(&path).unwrap(), unix_socket());
    bind(server.as_raw_fd(), &address).unwrap();
    listen(&server, Backlog::new(0).unwrap()).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = unix_socket();
        match connect(client.as_raw_fd(), &address) {
            Ok(()) => waiting.push(client),
            Err(full) => break assert_eq!(full, Errno::EAGAIN),
        }
    }

    let mut second =
        Ratoon::start(&format!("[pool.web]\nworkers = 1\nlisten = [{:?}]\n", format!("unix:{}", path.display())));
    assert_eq!(second.wait_exit(SOON).code(), Some(2));
    eventually("it says why", SOON, || second.text().contains("another process has it").then_some(()));
    assert!(path.exists(), "it is not ours to remove");
}

#[test]
fn an_answer_to_head_and_a_304_may_state_the_length_of_the_body_they_leave_out() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1"));
    let mut client = Client::connect(ratoon.address());
    client.set_patience(SOON);
    for (method, status) in [("GET", 304), ("HEAD", 304), ("HEAD", 200)] {
        // What follows at once is answered as if nothing had been stated.
        let head = "HTTP/1.1\r\nHost: test\r\n\r\n";
        client.send(format!("{method} /unsent:{status}:1234 {head}GET /ok {head}").as_bytes());
        let answer = client.try_response_to(method == "HEAD").unwrap();
        assert_eq!((answer.status, answer.header("content-length")), (status, Some("1234")), "{method}");
        assert_eq!(answer.header("transfer-encoding"), None);
        let next = client.response();
        assert_eq!((next.status, next.text()), (200, ratoon.workers("web")[0].to_string()), "after {method} {status}");
    }
    // An answer with a body has the length of that body.
    assert_eq!(client.get("/unsent:200:1234").header("content-length"), Some("0"));
}
