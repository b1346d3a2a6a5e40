//! What a panic means: its client is told 500, everybody else is served, and the worker, whose fields may be half
//! changed, makes room for another, unless it is told to go on.

use super::{NOBODY, serving};
use crate::harness::{CONTROL, Client, Door, Ratoon, Traffic, fixture, get};

#[test]
fn a_worker_that_panics_answers_500_hands_its_connections_over_and_is_replaced() {
    let ratoon = serving("");
    let mut bystander = Client::connect(ratoon.address());
    let mut client = Client::connect(ratoon.address());
    let pid = bystander.get("/ok").text();
    for word in ["panic", "defer:panic", "spoil:outrage"] {
        let before = bystander.get("/ok").text();
        let answer = client.get(&format!("/{word}"));
        assert_eq!(answer.status, if word == "panic" { 500 } else { 200 }, "{word}");
        let gone = ratoon.logged("gone", &[("pid", before.parse::<i32>().unwrap().into())]);
        assert_eq!((&gone["cause"], &gone["retry"]), (&"recycled after a panic".into(), &"0s".into()), "{word}");
        // Both connections go on, elsewhere.
        assert_ne!(client.get("/ok").text(), before);
        assert_ne!(bystander.get("/ok").text(), before);
    }
    assert_ne!(client.get("/ok").text(), pid);
    assert_eq!(ratoon.status_of("web")["deaths"]["recycled after a panic"], 3);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

#[test]
fn with_panics_continue_the_same_worker_goes_on() {
    let ratoon = serving("panics = \"continue\"");
    let mut client = Client::connect(ratoon.address());
    let pid = client.get("/ok").text();
    for _ in 0..20 {
        assert_eq!(client.get("/panic").status, 500);
        assert_eq!(client.get("/ok").text(), pid);
    }
    assert_eq!(ratoon.all_logged("gone", &[]), NOBODY);
}

/// A panic in every other request costs those requests, and a fork each: no other request, no pause, no failed pool.
#[test]
fn under_load_a_route_that_always_panics_costs_nobody_elses_request() {
    for (panics, recycles) in [("recycle", true), ("continue", false)] {
        let lines = format!("workers = 3\npanics = \"{panics}\"");
        let ratoon = Ratoon::serving(&format!("{CONTROL}{}", fixture::pool("web", &lines)));
        let traffic = Traffic::begin(&[Door::Tcp(ratoon.address())], 4, &["ok", "sleep:2", "echo:1"]);
        let mut client = Client::connect(ratoon.address());
        for round in 0..100 {
            let answer = client.try_get("/panic").unwrap_or_else(|error| panic!("panic {round} is lost: {error}"));
            assert_eq!(answer.status, 500);
        }
        traffic.goes_on(100);
        traffic.ends_without_a_loss();
        let deaths = ratoon.status_of("web")["deaths"].clone();
        assert_eq!(deaths["recycled after a panic"].as_u64().is_some(), recycles, "{deaths}");
        assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
        assert_eq!(ratoon.status_of("web")["health"]["state"], "sound");
        let paused: Vec<_> = ratoon.all_logged("gone", &[]).into_iter().filter(|line| line["retry"] != "0s").collect();
        assert_eq!(paused, NOBODY);
    }
}

/// A panic in a response that the application itself produces is one like any other.
#[test]
fn a_reader_that_panics_recycles_its_worker() {
    let ratoon = serving("");
    let pid = get(ratoon.address(), "/ok").text();
    assert_eq!(get(ratoon.address(), "/brittle:10").status, 200);
    let gone = ratoon.logged("gone", &[("cause", "recycled after a panic".into())]);
    assert_eq!(gone["pid"].to_string(), pid);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}
