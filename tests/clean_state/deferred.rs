//! Deferred work runs when the client has its answer, the last deferred first, each panic contained, within the request's
//! own time, and nothing of the next request begins before it is done.

use std::fs::write;
use std::time::Duration;

use serde_json::Value;

use super::{NOBODY, serving, soil};
use crate::harness::{CONTROL, Client, Ratoon, SOON, eventually, fixture, ratoon as command};

/// The words for `await` of a file in the test's own directory.
fn until(ratoon: &Ratoon, file: &str) -> String {
    format!("await={}", ratoon.directory().join(file).to_str().unwrap().replace('/', "~"))
}

fn let_go(ratoon: &Ratoon, file: &str) {
    write(ratoon.directory().join(file), "").unwrap();
}

/// Deferred work has said this, in this order.
#[track_caller]
fn has_said(ratoon: &Ratoon, texts: &[&str]) {
    let said = eventually("deferred work has said so much", SOON, || {
        Some(ratoon.all_logged("deferred", &[])).filter(|lines| lines.len() >= texts.len())
    });
    assert_eq!(said.iter().map(|line| line["text"].as_str().unwrap()).collect::<Vec<_>>(), texts);
}

#[test]
fn deferred_work_runs_after_the_response_the_last_deferred_first_and_may_defer_more() {
    let ratoon = serving("");
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/defer:say=1:again=2:say=3").status, 200);
    has_said(&ratoon, &["3", "2", "1"]);
}

/// The client has the whole response while the deferred work still runs, however the response is made.
#[test]
fn the_client_has_its_whole_response_while_the_deferred_work_still_runs() {
    let ratoon = serving("");
    for (round, (verb, length)) in
        [("defer", None), ("defer-reader", Some(1 << 20)), ("defer-large", Some(64 << 20))].iter().enumerate()
    {
        let file = format!("go{round}");
        let mut client = Client::connect(ratoon.address());
        let answer = client.get(&format!("/{verb}:say={round}:{}", until(&ratoon, &file)));
        assert_eq!(answer.status, 200);
        assert!(length.is_none_or(|length| answer.body.len() == length), "{verb}: {}", answer.body.len());
        eventually("the deferred work has begun", SOON, || {
            (ratoon.all_logged("deferred work waits", &[]).len() == round + 1).then_some(())
        });
        assert_eq!(ratoon.all_logged("deferred", &[]).len(), round);
        // The next request on that connection is served after it.
        client.send(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n");
        client.set_patience(Duration::from_millis(50));
        assert!(client.try_response().is_err(), "{verb}: it was served in the midst of deferred work");
        client.set_patience(SOON);
        let_go(&ratoon, &file);
        assert_eq!(client.response().status, 200);
        ratoon.logged("deferred", &[("text", round.to_string().into())]);
    }
}

#[test]
fn deferred_work_runs_after_an_error_and_a_panic_and_the_panic_of_another() {
    let ratoon = serving("panics = \"continue\"");
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/defer-panic:say=1:panic:say=2").status, 500);
    has_said(&ratoon, &["2", "1"]);
    let panicked = ratoon.logged("deferred work panicked", &[]);
    assert_eq!(panicked["request"], "GET /defer-panic:say=1:panic:say=2 HTTP/1.1");
    assert!(ratoon.text().contains("the fixture's deferred work panics"));
    assert_eq!(client.get("/defer-error:say=3").status, 500);
    has_said(&ratoon, &["2", "1", "3"]);
}

/// "The end of a request, in this order": deferred work still has the request's own, and what it touches goes, too.
#[test]
fn deferred_work_has_the_extensions_and_request_locals_of_its_request_and_leaves_none() {
    let ratoon = serving("");
    let mut client = Client::connect(ratoon.address());
    let before = soil(&mut client);
    client.send(b"GET /defer:touch:touch HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(soil(&mut client), before);
    let counts = eventually("both have counted", SOON, || {
        let counts = ratoon.all_logged("deferred work counts", &[("request_id", "mine".into())]);
        (counts.len() == 2).then_some(counts)
    });
    assert_eq!(counts.iter().map(|line| line["count"].clone()).collect::<Vec<Value>>(), [1, 2]);
}

#[test]
fn deferred_work_runs_also_when_the_client_goes_before_it_has_its_response() {
    let ratoon = serving("");
    for verb in ["defer-large", "defer-reader"] {
        let mut client = Client::connect(ratoon.address());
        client.keep_at_most(4096);
        client.send(format!("GET /{verb}:say={verb} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        client.await_response();
        client.reset();
        ratoon.logged("deferred", &[("text", verb.into())]);
    }
}

/// A client that does not take its response keeps nobody from the deferred work for ever: and has not spent its time.
#[test]
fn deferred_work_waits_for_a_slow_client_no_longer_than_request_timeout_and_then_has_its_time() {
    let ratoon = serving("request_timeout = \"1s\"\nkill_grace = \"60s\"");
    let mut client = Client::connect(ratoon.address());
    client.send(format!("GET /defer-large:say=done:{} HTTP/1.1\r\nHost: a\r\n\r\n", until(&ratoon, "go")).as_bytes());
    ratoon.logged("deferred work waits", &[]);
    let_go(&ratoon, "go");
    ratoon.logged("deferred", &[("text", "done".into())]);
    // Its response goes on all the same.
    let answer = client.response();
    assert_eq!((answer.status, answer.body.len()), (200, 64 << 20));
    assert_eq!(ratoon.all_logged("last words", &[]), NOBODY);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// "When the soft timeout strikes in deferred work the client has had its answer."
#[test]
fn deferred_work_that_overruns_is_named_and_its_client_told_nothing_more() {
    let ratoon = serving("request_timeout = \"300ms\"\nkill_grace = \"1s\"");
    let (mut client, pid) = ratoon.engage(ratoon.address(), "defer:spin");
    let told = String::from_utf8(client.until_closed().expect("an end")).unwrap();
    assert!(told.starts_with("HTTP/1.1 200 ") && told.matches("HTTP/1.").count() == 1, "{told:?}");
    let words = ratoon.logged("last words", &[("pid", pid.as_raw().into())]);
    assert_eq!((&words["doing"], &words["why"]), (&"deferred".into(), &"request timeout".into()));
    assert_eq!(words["request"], "GET /defer:spin HTTP/1.1");
    let trace = words["backtrace"].as_str().unwrap();
    assert!(trace.contains("spin_in_deferred_work") && !trace.contains("serve::"), "{trace}");
    let died = ratoon.logged("died", &[("pid", pid.as_raw().into())]);
    assert_eq!((&died["cause"], &died["request"]), (&"request timeout".into(), &"GET /defer:spin HTTP/1.1".into()));
}

#[test]
fn deferred_work_that_extends_the_deadline_is_given_the_time() {
    let lines = "request_timeout = \"1s\"\nkill_grace = \"0s\"";
    let ratoon = serving(lines);
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get(&format!("/defer:say=done:{}:later=60000", until(&ratoon, "go"))).status, 200);
    ratoon.logged("deferred work waits", &[]);
    // A request without it is killed meanwhile.
    let other = serving(lines);
    let (_client, pid) = other.engage(other.address(), "defer:spin");
    other.logged("died", &[("pid", pid.as_raw().into()), ("cause", "request timeout".into())]);
    let_go(&ratoon, "go");
    ratoon.logged("deferred", &[("text", "done".into())]);
    assert_eq!(client.get("/ok").status, 200);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

#[test]
fn the_status_shows_deferred_work_as_what_it_is() {
    let ratoon = serving("");
    let mut client = Client::connect(ratoon.address());
    let target = format!("/defer:{}", until(&ratoon, "go"));
    assert_eq!(client.get(&target).status, 200);
    ratoon.logged("deferred work waits", &[]);
    let web = ratoon.status_of("web");
    let worker = &web["processes"][0];
    assert_eq!((&worker["state"], &web["active_processes"]), (&"deferred".into(), &1.into()));
    assert_eq!(worker["request_line"].as_str().map(|line| line.starts_with("GET /defer:await=")), Some(true));
    assert!(worker["request_duration_ms"].is_u64(), "{worker}");
    let socket = ratoon.directory().join("control.sock");
    let shown = command(&["status", "--socket", socket.to_str().unwrap()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.lines().any(|line| line.contains(" deferred ") && line.contains("GET /defer:")), "{shown}");
    let_go(&ratoon, "go");
    eventually("it is idle again", SOON, || (ratoon.status_of("web")["idle_processes"] == 1).then_some(()));
}

/// Whoever is busy with deferred work keeps nobody: the siblings serve.
#[test]
fn other_clients_are_served_by_others_meanwhile() {
    let ratoon = Ratoon::serving(&format!("{CONTROL}{}", fixture::pool("web", "workers = 2")));
    let mut client = Client::connect(ratoon.address());
    let busy = client.get(&format!("/defer:say=done:{}", until(&ratoon, "go"))).text();
    ratoon.logged("deferred work waits", &[]);
    for _ in 0..10 {
        let mut other = Client::connect(ratoon.address());
        assert_ne!(other.get("/ok").text(), busy);
    }
    let_go(&ratoon, "go");
    ratoon.logged("deferred", &[("text", "done".into())]);
}
