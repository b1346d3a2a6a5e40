//! What may be the application's own is never closed or reaped behind its back: that there is more of it is said, once a
//! kind, with the route it followed.

use serde_json::Value;

use super::{NOBODY, serving};
use crate::harness::{Client, Ratoon, SOON, eventually, process};

const LEFT: &str = "a request has left something behind";
const LEFT_BY_ONE: &str = "one of so many requests has left something behind";
const KINDS: [(&str, &str); 6] = [
    ("descriptor", "descriptors"),
    ("child", "children"),
    ("zombie", "children"),
    ("thread", "threads"),
    ("signal", "signal dispositions"),
    ("timer", "timers"),
];

fn said(ratoon: &Ratoon) -> Vec<Value> {
    ratoon.all_logged(LEFT, &[]).into_iter().chain(ratoon.all_logged(LEFT_BY_ONE, &[])).collect()
}

/// What the worker has had to say of the requests so far has been read.
#[track_caller]
fn everything_is_said(ratoon: &Ratoon, client: &mut Client) {
    let text = ratoon.all_logged("deferred", &[]).len().to_string();
    assert_eq!(client.get(&format!("/defer:say={text}")).status, 200);
    ratoon.logged("deferred", &[("text", text.into())]);
}

#[test]
fn what_a_request_leaks_is_named_once_with_its_route() {
    for (leak, what) in KINDS {
        let ratoon = serving("reset_check = 1");
        let mut client = Client::connect(ratoon.address());
        assert_eq!(client.get("/ok?before").status, 200);
        assert_eq!(client.get(&format!("/leak:{leak}?with=a&secret=b")).status, 200);
        assert_eq!(client.get("/ok?after").status, 200);
        assert_eq!(client.get(&format!("/leak:{leak}")).status, 200);
        assert_eq!(client.get("/ok").status, 200);
        ratoon.logged(LEFT, &[("what", what.into())]);
        everything_is_said(&ratoon, &mut client);
        let said = said(&ratoon);
        assert_eq!(said.len(), 1, "{leak}: {said:?}");
        assert_eq!(said[0]["route"], format!("GET /leak:{leak}"), "{said:?}");
        assert_eq!(said[0]["now"].as_u64().unwrap(), said[0]["before"].as_u64().unwrap() + 1, "{said:?}");
        assert_eq!(ratoon.all_logged("gone", &[]), NOBODY);
    }
}

/// "The default is 100": then it is known only among which requests it was.
#[test]
fn a_leak_between_two_counts_is_named_with_their_number_and_the_last_of_them() {
    let ratoon = serving("reset_check = 10");
    let mut client = Client::connect(ratoon.address());
    for number in 1..=10 {
        let word = if number == 4 { "leak:descriptor" } else { "ok" };
        assert_eq!(client.get(&format!("/{word}?{number}")).status, 200);
    }
    everything_is_said(&ratoon, &mut client);
    let said = said(&ratoon);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((&said[0]["message"], &said[0]["what"]), (&LEFT_BY_ONE.into(), &"descriptors".into()));
    assert_eq!((&said[0]["requests"], &said[0]["last"]), (&10.into(), &"GET /ok".into()));
}

#[test]
fn with_reset_check_0_nothing_is_counted() {
    let ratoon = serving("reset_check = 0");
    let mut client = Client::connect(ratoon.address());
    for (leak, _) in KINDS {
        assert_eq!(client.get(&format!("/leak:{leak}")).status, 200);
    }
    everything_is_said(&ratoon, &mut client);
    assert_eq!(said(&ratoon), NOBODY);
}

/// What is counted may be the application's own: it stays open, and with `recycle`, too, its worker stays.
#[test]
fn what_was_counted_is_neither_closed_nor_reaped_nor_a_reason_to_leave() {
    let ratoon = serving("reset_check = 1\nreset = \"recycle\"");
    let pid = ratoon.ready_workers("web", 1)[0];
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/ok").status, 200);
    // The count itself takes a descriptor, for a moment after the answer.
    let before = process::descriptors_at_rest(pid);
    for _ in 0..5 {
        assert_eq!(client.get("/leak:descriptor:child:zombie").text(), pid.to_string());
    }
    assert_eq!(client.get("/ok").text(), pid.to_string());
    eventually("its descriptors are still open", SOON, || (process::descriptors(pid) == before + 5).then_some(()));
    assert_eq!(process::children(pid, "sleep").len(), 5);
    eventually("the dead are not reaped", SOON, || (process::zombies(pid).len() == 5).then_some(()));
}

/// Connections that come and go, large bodies that arrive or leave, also while the count is taken.
#[test]
fn what_is_ratoons_own_is_no_leak() {
    let ratoon = serving("reset_check = 1\nbody_memory = \"1KiB\"");
    let mut client = Client::connect(ratoon.address());
    let mut others: Vec<Client> = Vec::new();
    let body = "b".repeat(3_000_000);
    for _ in 0..10 {
        let mut idle = Client::connect(ratoon.address());
        assert_eq!(idle.get("/ok").status, 200);
        others.push(idle);
        // Half of a body, which stays like that …
        let mut half = Client::connect(ratoon.address());
        half.send(
            format!("POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}", &body[..50_000]).as_bytes(),
        );
        others.push(half);
        // … one that nobody reads on its way back …
        let mut deaf = Client::connect(ratoon.address());
        deaf.keep_at_most(4096);
        let head = format!("POST /mirror HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        deaf.send(head.as_bytes());
        deaf.send(body.as_bytes());
        deaf.await_response();
        others.push(deaf);
        // … and one that goes to its end.
        client.send(head.as_bytes());
        client.send(body.as_bytes());
        assert_eq!(client.response().body.len(), body.len());
        assert_eq!(client.get("/ok").status, 200);
    }
    drop(others.split_off(15));
    everything_is_said(&ratoon, &mut client);
    assert_eq!(said(&ratoon), NOBODY);
    // It is counted all the same.
    assert_eq!(client.get("/leak:descriptor").status, 200);
    ratoon.logged(LEFT, &[("what", "descriptors".into()), ("route", "GET /leak:descriptor".into())]);
}
