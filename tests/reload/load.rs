//! Reloads under load: nobody is refused, reset, cut short or told that the server has failed.

use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{asked, generations, logged_times, reload, reload_well, status, until};
use crate::harness::door::Door;
use crate::harness::{Client, RaisedAtTheEnd, Ratoon, SOON, eventually, fixture, process};

const CLIENTS: usize = 64;
const RELOADS: i64 = 100;

/// What all clients together have seen.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    answers: AtomicUsize,
    generations: Mutex<BTreeSet<i64>>,
    losses: Mutex<Vec<String>>,
}

/// One client's habits.
struct Habits {
    keeps_alive: bool,
    /// Whether its requests keep a handler busy.
    is_slow: bool,
}

/// Requests one after the other until it is over; notes every one that was lost, and why.
fn visit(door: &Door, habits: &Habits, seen: &Seen, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut kept: Option<Client> = None;
    while !seen.over.load(Ordering::SeqCst) {
        let millis = if habits.is_slow { rng.u64(5..=50) } else { 0 };
        let body: Vec<u8> = vec![rng.alphanumeric() as u8; rng.usize(0..=100_000)];
        let outcome = match kept.take() {
            Some(client) => Ok(client),
            None => door.connect(),
        };
        match outcome.and_then(|client| converse(client, millis, &body, habits)) {
            Ok((client, generation)) => {
                kept = client;
                seen.answers.fetch_add(1, Ordering::SeqCst);
                seen.generations.lock().unwrap().insert(generation);
            }
            Err(error) => {
                let door = if matches!(door, Door::Tcp(_)) { "TCP" } else { "Unix" };
                let kind = if habits.keeps_alive { "kept" } else { "new" };
                let loss = format!("{door}, {kind}, {millis} ms, {} bytes: {error:?}", body.len());
                seen.losses.lock().unwrap().push(loss);
            }
        }
    }
}

/// One request and its answer, which has to be what was sent; the connection, if it is kept, and who answered.
fn converse(mut client: Client, millis: u64, body: &[u8], habits: &Habits) -> io::Result<(Option<Client>, i64)> {
    let close = if habits.keeps_alive { "" } else { "Connection: close\r\n" };
    let length = body.len();
    let head = format!("POST /echo:{millis} HTTP/1.1\r\nHost: test\r\n{close}Content-Length: {length}\r\n\r\n");
    client.try_send(&[head.as_bytes(), body].concat())?;
    let answer = client.try_response()?;
    if answer.status != 200 || answer.body != body {
        return Err(io::Error::other(format!("{} with {} bytes", answer.status, answer.body.len())));
    }
    let generation = answer.header("generation").and_then(|text| text.parse().ok());
    let generation = generation.ok_or_else(|| io::Error::other("an answer of nobody"))?;
    let is_over = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if habits.keeps_alive && is_over {
        return Err(io::Error::other("the connection is not kept"));
    }
    Ok((habits.keeps_alive.then_some(client), generation))
}

/// All clients at work while `disturb` does what it does; nothing may be lost.
#[track_caller]
fn assert_nothing_is_lost(ratoon: &Ratoon, disturb: impl FnOnce(&Seen)) {
    let doors = [Door::Tcp(ratoon.address()), Door::Unix(ratoon.directory().join("web"))];
    let seen = Seen::default();
    std::thread::scope(|scope| {
        let _end = RaisedAtTheEnd(&seen.over);
        for number in 0..CLIENTS {
            let (seen, door) = (&seen, &doors[number % 2]);
            let habits = Habits { keeps_alive: number / 2 % 2 == 0, is_slow: number / 4 % 2 == 0 };
            scope.spawn(move || visit(door, &habits, seen, number as u64));
        }
        eventually("every client is served", SOON, || (seen.answers.load(Ordering::SeqCst) >= CLIENTS).then_some(()));
        disturb(&seen);
    });
    let losses = seen.losses.into_inner().unwrap();
    let answers = seen.answers.into_inner();
    assert!(losses.is_empty(), "{} of {answers} were lost: {:#?}", losses.len(), &losses[..losses.len().min(20)]);
}

/// Six workers that are reached in both ways.
fn config() -> String {
    let config = fixture::pool("web", "workers = 6\nsettle = \"0s\"");
    asked(&config.replace("127.0.0.1:0\"]", "127.0.0.1:0\", \"unix:DIR/web\"]"))
}

/// "100 reloads under load: 0 requests refused, reset, truncated or answered 5xx, every generation seen serving."
#[test]
fn a_hundred_reloads_under_load_lose_no_request_and_every_generation_serves() {
    let ratoon = Ratoon::serving(&config());
    ratoon.ready_workers("web", 6);
    let descriptors = process::descriptors_at_rest(ratoon.pid());
    assert_nothing_is_lost(&ratoon, |seen| {
        for times in 1..=RELOADS {
            reload_well(&ratoon);
            eventually("the new generation serves", SOON, || {
                seen.generations.lock().unwrap().contains(&(times + 1)).then_some(())
            });
        }
        let generations = seen.generations.lock().unwrap();
        assert!((1..=RELOADS + 1).all(|generation| generations.contains(&generation)), "{generations:?}");
    });
    assert_eq!(generations(&ratoon, "web", 6), [RELOADS + 1; 6]);
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
    // It could go on for ever: neither slots nor descriptors pile up.
    let slots: BTreeSet<_> =
        ratoon.all_logged("ready", &[]).iter().filter_map(|line| line["worker"].as_u64()).collect();
    assert!(slots.len() <= 12, "{slots:?}");
    eventually("the supervisor has as few descriptors as at first", SOON, || {
        (process::descriptors(ratoon.pid()) <= descriptors).then_some(())
    });
}

/// "25 HUPs within 300 ms cause at most two loads and leave one generation."
#[test]
fn twenty_five_hups_in_a_row_cause_at_most_two_loads_and_leave_one_generation() {
    let ratoon = Ratoon::serving(&config());
    ratoon.ready_workers("web", 6);
    // The first of them is not over before the last one has come, however busy the machine is.
    let loads = ratoon.directory().join("loads");
    ratoon.configure(
        &config().replace("workers = 6", &format!("workers = 6\nsettings = {{ load = \"{}\" }}", until(&loads))),
    );
    assert_nothing_is_lost(&ratoon, |_| {
        for _ in 0..25 {
            ratoon.signal(Signal::SIGHUP);
            std::thread::sleep(Duration::from_millis(12));
        }
        ratoon.logged("a reload is under way: another one follows it", &[]);
        // All are heard: the supervisor has answered since.
        status(&ratoon);
        std::fs::write(loads, "").unwrap();
        logged_times(&ratoon, "reloaded", 2);
        // A third one would have begun with the end of the second.
        assert_eq!(status(&ratoon)["state"], "serving");
        assert_eq!(ratoon.all_logged("reloading", &[]).len(), 2);
    });
    assert_eq!(generations(&ratoon, "web", 6), [3; 6]);
    assert_eq!(ratoon.all_logged("template loaded", &[]).len(), 3);
    eventually("one template is left", SOON, || {
        (process::children(ratoon.pid(), "ratoon: web template").len() == 1).then_some(())
    });
}

/// The way back is as smooth as the way there: here another pool's workers cannot start any more.
#[test]
fn a_reload_that_is_rolled_back_under_load_loses_no_request_either() {
    let jobs = |start: &str| fixture::pool("jobs", &format!("workers = 2\nsettings = {{ start = \"{start}\" }}"));
    let ratoon = Ratoon::serving(&(config() + &jobs("ok")));
    ratoon.ready_workers("web", 6);
    let needed = ratoon.directory().join("needed");
    assert_nothing_is_lost(&ratoon, |seen| {
        ratoon.configure(&(config() + &jobs("take:DIR/needed")));
        for _ in 0..5 {
            std::fs::write(&needed, "").unwrap();
            let outcome = reload(&ratoon, &[]);
            assert!(outcome.status == Some(1) && outcome.reason.contains("pool jobs"), "{outcome:?}");
            eventually("the first generation serves alone", SOON, || {
                (generations(&ratoon, "web", 6) == [1; 6]).then_some(())
            });
        }
        assert!(seen.generations.lock().unwrap().len() > 1, "no other generation has served");
    });
}
