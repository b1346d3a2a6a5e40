//! Requests for which nobody may be waiting any more.

use std::thread::sleep;
use std::time::Duration;

use super::counted;
use crate::harness::{Client, Door, Ratoon, SOON, eventually, fixture};

/// The only worker is in a request until there is a file `go`.
fn in_a_request(lines: &str) -> (Ratoon, Client) {
    let ratoon = Ratoon::serving(&fixture::pool("web", &format!("workers = 1\n{lines}")));
    let (client, _) = ratoon.engage(ratoon.address(), "await:go");
    (ratoon, client)
}

fn let_go(ratoon: &Ratoon, client: &mut Client) {
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_request_that_waited_longer_than_queue_timeout_is_answered_503_and_not_run() {
    let lines = "workers = 1\nqueue_timeout = \"2s\"\n";
    let ratoon = Ratoon::serving(&fixture::pool("web", lines));
    let mut known = Client::connect(ratoon.address());
    assert_eq!(known.get("/ok").status, 200);
    let (mut first, _) = ratoon.engage(ratoon.address(), "await:go");
    // One in the queue, one beside a busy worker, one that has been connected for long and asks only now.
    let (mut queued, mut silent) = (Client::connect(ratoon.address()), Client::connect(ratoon.address()));
    for client in [&mut queued, &mut known] {
        client.send(b"GET /sleep:1 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    // What has waited for so long, and whatever longer the machine takes, is late.
    sleep(Duration::from_millis(2500));
    let_go(&ratoon, &mut first);
    for client in [&mut queued, &mut known] {
        let answer = client.response();
        assert_eq!((answer.status, answer.header("retry-after"), answer.header("connection")), (503, Some("1"), None));
        assert_eq!(client.get("/ok").status, 200);
    }
    assert_eq!(silent.get("/ok").status, 200);
    assert!(ratoon.all_logged("begins", &[("word", "sleep:1".into())]).is_empty());
    assert_eq!(counted(&ratoon, |cell| cell.late), 2);
}

/// What is pipelined waits for its predecessors, which is its client's own affair.
#[test]
fn pipelined_requests_do_not_wait_for_a_worker_while_they_wait_for_each_other() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1\nqueue_timeout = \"2s\"\n"));
    let mut client = Client::connect(ratoon.address());
    client.send("GET /sleep:250 HTTP/1.1\r\nHost: test\r\n\r\n".repeat(12).as_bytes());
    assert!((0..12).all(|_| client.response().status == 200));
}

#[test]
fn without_queue_timeout_a_request_may_wait_for_as_long_as_it_must() {
    let (ratoon, mut first) = in_a_request("");
    let mut queued = Client::connect(ratoon.address());
    queued.send(b"GET /sleep:1 HTTP/1.1\r\nHost: test\r\n\r\n");
    sleep(Duration::from_millis(600));
    let_go(&ratoon, &mut first);
    assert_eq!(queued.response().status, 200);
    assert_eq!(counted(&ratoon, |cell| cell.late), 0);
}

/// A reader's response holds the worker while the loop goes on: another request becomes whole, and its client resets.
#[test]
fn a_request_whose_client_has_reset_its_connection_is_not_run() {
    for (ratoon, door) in [Door::tcp("workers = 1\n"), Door::unix("workers = 1\n")] {
        let [mut holder, mut gone, mut hasty] = [(); 3].map(|()| door.connect().unwrap());
        for client in [&mut holder, &mut gone, &mut hasty] {
            assert_eq!(client.get("/hello").status, 200);
        }
        holder.send(b"GET /count?n=2000000 HTTP/1.1\r\nHost: test\r\n\r\n");
        holder.await_response();
        let before = counted(&ratoon, |cell| cell.requests);
        gone.send(b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
        // What is refused has come after it, and is refused at once.
        hasty.send(b"nonsense\r\n");
        assert_eq!(hasty.response().status, 400);
        gone.reset();
        assert_eq!(holder.response().status, 200);
        eventually("it is known to be gone", SOON, || (counted(&ratoon, |cell| cell.gone) == 1).then_some(()));
        assert_eq!(counted(&ratoon, |cell| cell.requests), before);
        assert_eq!(door.connect().unwrap().get("/hello").status, 200);
    }
}

#[test]
fn a_request_whose_client_says_that_it_sends_nothing_more_is_run_unless_half_close_says_otherwise() {
    for (half_close, runs) in [("wait", true), ("gone", false)] {
        let (ratoon, mut first) = in_a_request(&format!("half_close = \"{half_close}\"\n"));
        let mut queued = Client::connect(ratoon.address());
        queued.send(b"GET /sleep:1 HTTP/1.1\r\nHost: test\r\n\r\n");
        queued.finish();
        let_go(&ratoon, &mut first);
        assert_eq!(queued.rest().starts_with(b"HTTP/1.1 200 "), runs);
        assert_eq!(counted(&ratoon, |cell| cell.requests), 1 + u64::from(runs));
        assert_eq!(counted(&ratoon, |cell| cell.gone), u64::from(!runs));
    }
}
