//! What is counted of requests and connections, as the status has it.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::harness::{CONTROL, Client, Ratoon, SOON, eventually, fixture, get};

#[track_caller]
fn serving(lines: &str) -> Ratoon {
    Ratoon::serving(&(CONTROL.to_owned() + &fixture::pool("web", lines)))
}

#[track_caller]
fn counts(ratoon: &Ratoon, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(what, SOON, || Some(ratoon.status_of("web")["traffic"].clone()).filter(&is_so))
}

fn sum(times: &Value) -> u64 {
    times["buckets"].as_array().unwrap().iter().filter_map(Value::as_u64).sum()
}

/// "By class": what the application answered, what it never saw, and what nobody answered are three things.
#[test]
fn requests_are_counted_by_what_became_of_them() {
    let ratoon = serving("workers = 1\nrequest_timeout = \"1s\"\nkill_grace = \"2s\"\nmax_body = \"1KiB\"");
    let address = ratoon.address();
    assert_eq!(get(address, "/ok").status, 200);
    assert_eq!(get(address, "/unsent:304:5").status, 304);
    assert_eq!(get(address, "/unsent:404:5").status, 404);
    assert_eq!(get(address, "/error:yes").status, 500);
    let mut client = Client::connect(address);
    client.send(b"GET /ok HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().status, 400);
    let mut client = Client::connect(address);
    client.send(b"POST /echo:0 HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\n\r\n");
    assert_eq!(client.response().status, 413);

    // Answered by its last words alone.
    assert_eq!(get(address, "/spin").status, 504);
    ratoon.logged("died", &[]);
    ratoon.ready_workers("web", 1);

    let seen = counts(&ratoon, "what was lost", |traffic| traffic["lost"] == 1);
    assert_eq!(seen["answers"], json!({"1xx": 0, "2xx": 1, "3xx": 1, "4xx": 1, "5xx": 1}));
    assert_eq!(seen["refused"], json!({"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 2, "5xx": 0}));
    assert_eq!((seen["requests"].clone(), seen["accepted_conn"].clone()), (json!(5), json!(7)));
    assert_eq!(sum(&seen["request_duration"]), 4);
}

/// "A worker's counters survive its death", also what went over connections that were open when it was killed.
#[test]
fn a_killed_worker_takes_no_count_with_it() {
    let ratoon = serving("workers = 1");
    let address = ratoon.address();
    let mut client = Client::connect(address);
    for _ in 0..3 {
        assert_eq!(client.get("/ok").status, 200);
    }
    let before = counts(&ratoon, "three requests", |traffic| traffic["answers"]["2xx"] == 3);
    assert!(before["received_bytes"].as_u64().unwrap() >= 3 * "GET /ok HTTP/1.1\r\nHost: test\r\n\r\n".len() as u64);
    assert!(before["sent_bytes"].as_u64().unwrap() > 0);
    assert_eq!(sum(&before["request_duration"]), 3);

    kill(ratoon.ready_workers("web", 1)[0], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[]);
    ratoon.ready_workers("web", 1);
    assert_eq!(ratoon.status_of("web")["traffic"], before);
}

/// "Time waited in the accept queue, as measured": by the kernel, when a busy worker comes to it.
#[test]
fn what_a_connection_has_waited_in_the_queue_is_measured() {
    let ratoon = serving("workers = 1");
    let address = ratoon.address();
    let (mut first, _) = ratoon.engage(address, "sleep:400");
    let mut second = Client::connect(address);
    second.send(b"GET /ok HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!((first.response().status, second.response().status), (200, 200));
    let seen = counts(&ratoon, "two accepted", |traffic| sum(&traffic["queue_time"]) == 2);
    // The second came while a handler slept, a little after its beginning.
    let waited = Duration::from_nanos(seen["queue_time"]["sum_ns"].as_u64().unwrap());
    assert!(waited > Duration::from_millis(50), "{waited:?}");
}

/// "One is lost, no longer in hand": a kill leaves nothing running on, and what ran is counted once.
#[test]
fn a_request_in_hand_when_its_worker_is_killed_is_counted_as_lost() {
    let ratoon = serving("workers = 1");
    let (_client, pid) = ratoon.engage(ratoon.address(), "hang");
    assert_eq!(ratoon.status_of("web")["traffic"]["lost"], 0);
    kill(pid, Signal::SIGKILL).unwrap();
    let seen = counts(&ratoon, "it is lost", |traffic| traffic["lost"] == 1);
    assert_eq!(seen["answers"]["5xx"], 0);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    counts(&ratoon, "and stays so", |traffic| traffic["lost"] == 1 && traffic["answers"]["2xx"] == 1);
}
