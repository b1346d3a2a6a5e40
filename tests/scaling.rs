//! Promised: "a pool is as large as its load needs": grown for those who wait, never beyond its bounds, and nothing lost
//! on the way.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{CONTROL, Client, Door, Ratoon, SOON, Traffic, eventually, fixture, process};

const NOBODY: [Value; 0] = [];

/// A dynamic pool that starts with one worker.
const DYNAMIC: &str = "scaling = \"dynamic\"\nworkers = 1\nmin_workers = 1\nmin_spare = 1\nmax_spare = 2";

/// A word that keeps a handler until the test wants it to end.
fn until_it_goes(ratoon: &Ratoon) -> (String, PathBuf) {
    let go = ratoon.directory().join("go");
    (format!("await:{}", go.to_str().unwrap().replace('/', "~")), go)
}

/// "Grows within a second of the first waiting request, and settles." A machine that is busy with other things may be
/// late: half of the requests must have been in time.
#[test]
fn a_dynamic_pool_grows_for_whoever_waits_and_settles() {
    let ratoon =
        Ratoon::serving(&(CONTROL.to_owned() + &fixture::pool("web", &format!("{DYNAMIC}\nmax_workers = 12"))));
    let (word, go) = until_it_goes(&ratoon);
    let (mut clients, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let asked = Instant::now();
        clients.push(ratoon.engage(ratoon.address(), &word).0);
        waits.push(asked.elapsed());
    }
    waits.sort();
    assert!(waits[waits.len() / 2] < Duration::from_secs(1), "{waits:?}; the log:\n{}", ratoon.text());
    let settled = || Some(ratoon.status_of("web")).filter(|web| web["idle_processes"].as_u64() >= Some(1));
    eventually("a spare worker", SOON, settled);
    let size = ratoon.status_of("web")["wanted_processes"].clone();
    assert!((9..=12).contains(&size.as_u64().unwrap()), "{size}");
    // Longer than any census is apart, and than the reserve may be short.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(ratoon.status_of("web")["wanted_processes"], size);
    std::fs::write(go, "").unwrap();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// "`max children reached` is counted and logged once per episode", and never are there more.
#[test]
fn a_pool_that_is_too_small_says_so_once_and_never_exceeds_its_limit() {
    let ratoon = Ratoon::serving(&(CONTROL.to_owned() + &fixture::pool("web", &format!("{DYNAMIC}\nmax_workers = 3"))));
    let (word, go) = until_it_goes(&ratoon);
    let mut clients: Vec<Client> = (0..3).map(|_| ratoon.engage(ratoon.address(), &word).0).collect();
    for _ in 0..4 {
        let mut client = Client::connect(ratoon.address());
        client.send(format!("GET /{word} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
        clients.push(client);
    }
    let line = "max children reached: raise max_workers, or make requests shorter";
    ratoon.logged(line, &[("pool", "web".into()), ("max_workers", 3.into())]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert!(ratoon.workers("web").len() <= 3);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::write(go, "").unwrap();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    assert_eq!(ratoon.status_of("web")["max_children_reached"], 1);
    assert_eq!(ratoon.all_logged(line, &[]).len(), 1);
    assert_eq!(ratoon.all_logged("ready", &[]).len(), 3);
}

/// An ondemand pool, over TCP and over a Unix socket; and another one that shows when `idle_timeout` has passed.
fn on_demand(lines: &str) -> (Ratoon, [Door; 2]) {
    let listen = r#"listen = ["127.0.0.1:0", "unix:DIR/web"]"#;
    let lines = format!("scaling = \"ondemand\"\nmax_workers = 4\nidle_timeout = \"1s\"\n{lines}");
    let config = fixture::pool("web", &lines).replace(r#"listen = ["127.0.0.1:0"]"#, listen);
    let witness = fixture::pool("witness", &lines).replace("127.0.0.1:0", "unix:DIR/witness");
    let ratoon = Ratoon::serving(&(CONTROL.to_owned() + &config + &witness));
    let doors = [Door::Tcp(ratoon.address()), Door::Unix(ratoon.directory().join("web"))];
    (ratoon, doors)
}

/// Waits until a pool that has become idle only now has come to nothing.
#[track_caller]
fn idle_timeout_passes(ratoon: &Ratoon) {
    assert_eq!(Door::Unix(ratoon.directory().join("witness")).connect().unwrap().get("/ok").status, 200);
    eventually("idle_timeout has passed", SOON, || ratoon.workers("witness").is_empty().then_some(()));
}

#[track_caller]
fn comes_to_nothing(ratoon: &Ratoon) {
    eventually("the pool is empty", SOON, || ratoon.workers("web").is_empty().then_some(()));
    assert_eq!(ratoon.status_of("web")["wanted_processes"], 0);
}

/// "`ondemand` starts from zero workers on the first connection and returns to zero."
#[test]
fn an_ondemand_pool_starts_with_the_first_connection_and_returns_to_nothing() {
    let (ratoon, doors) = on_demand("");
    assert_eq!(ratoon.workers("web"), []);
    for door in doors.iter().chain(&doors) {
        assert_eq!(door.connect().unwrap().get("/ok").status, 200);
        comes_to_nothing(&ratoon);
    }
    let (word, go) = until_it_goes(&ratoon);
    let mut clients: Vec<Client> =
        doors.iter().map(|door| ratoon.engage_over(door.connect().unwrap(), &word).0).collect();
    assert!(ratoon.workers("web").len() >= 2);
    // A worker in a request is not idle.
    idle_timeout_passes(&ratoon);
    idle_timeout_passes(&ratoon);
    assert!(ratoon.workers("web").len() >= 2);
    std::fs::write(go, "").unwrap();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    drop(clients);
    comes_to_nothing(&ratoon);
    let gone = ratoon.all_logged("gone", &[]);
    assert!(gone.iter().all(|line| line["cause"] == "retired by scaling"), "{gone:?}");
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// Nobody would take a kept connection's next request if the last worker went: so it stays.
#[test]
fn an_ondemand_pool_stays_for_connections_that_are_kept() {
    let (ratoon, doors) = on_demand("");
    for door in &doors {
        let mut client = door.connect().unwrap();
        let pid = client.get("/ok").text();
        idle_timeout_passes(&ratoon);
        idle_timeout_passes(&ratoon);
        assert_eq!(client.get("/ok").text(), pid);
        drop(client);
        comes_to_nothing(&ratoon);
    }
}

/// And if it does go, somebody comes for them.
#[test]
fn what_the_last_worker_leaves_in_the_inbox_is_a_knock() {
    let (ratoon, doors) = on_demand("");
    for door in &doors {
        let mut client = door.connect().unwrap();
        let pid: i32 = client.get("/ok").text().parse().unwrap();
        ratoon.signal(Signal::SIGTTOU);
        ratoon.logged("gone", &[("pid", pid.into()), ("cause", "retired by scaling".into())]);
        assert_ne!(client.get("/ok").text(), pid.to_string());
        drop(client);
        // For the next round.
        ratoon.signal(Signal::SIGTTIN);
        comes_to_nothing(&ratoon);
    }
}

/// "An idle daemon with 8 workers wakes less than twice a second in all": the supervisor, its templates and workers.
#[test]
fn an_idle_daemon_sleeps() {
    let pools = [
        "workers = 8\nmax_memory = \"1GiB\"\nmax_age = \"1h\"",
        "scaling = \"dynamic\"\nworkers = 8\nmin_workers = 8\nmin_spare = 1\nmax_spare = 8\nmax_memory = \"1GiB\"",
    ];
    let daemons = pools.map(|lines| Ratoon::serving(&fixture::pool("web", lines)));
    for ratoon in &daemons {
        ratoon.ready_workers("web", 8);
        let mut client = Client::connect(ratoon.address());
        assert_eq!(client.get("/ok").status, 200);
    }
    // What was just begun comes to rest.
    std::thread::sleep(Duration::from_secs(2));
    let wakes = |ratoon: &Ratoon| -> u64 {
        let everybody: Vec<Pid> = ratoon.family();
        assert_eq!(everybody.len(), 10);
        everybody.iter().map(|pid| process::status(*pid, "voluntary_ctxt_switches")).sum()
    };
    let (before, begun) = ([0, 1].map(|place: usize| wakes(&daemons[place])), Instant::now());
    std::thread::sleep(Duration::from_secs(8));
    for place in [0, 1] {
        let more = wakes(&daemons[place]) - before[place];
        let most = 2.0 * begun.elapsed().as_secs_f64();
        assert!((more as f64) < most, "{more} wakes in {:?} of:\n{}", begun.elapsed(), pools[place]);
    }
}

/// "Scaling up and down under load: 0 lost; TTIN / TTOU move the size by one and survive a reload."
#[test]
fn a_pool_that_is_made_larger_and_smaller_under_load_loses_nothing() {
    let listen = r#"listen = ["127.0.0.1:0", "unix:DIR/web"]"#;
    let config = fixture::pool("web", "workers = 3\nsettle = \"100ms\"").replace(r#"listen = ["127.0.0.1:0"]"#, listen);
    let ratoon = Ratoon::serving(&(CONTROL.to_owned() + &config));
    ratoon.ready_workers("web", 3);
    let doors = [Door::Tcp(ratoon.address()), Door::Unix(ratoon.directory().join("web"))];
    let traffic = Traffic::begin(&doors, 8, &["ok", "sleep:5", "sleep:20"]);
    for _ in 0..3 {
        for (signal, sizes) in [(Signal::SIGTTIN, [4, 5, 6, 7]), (Signal::SIGTTOU, [6, 5, 4, 3])] {
            for size in sizes {
                ratoon.signal(signal);
                ratoon.ready_workers("web", size);
            }
            traffic.goes_on(100);
        }
    }
    ratoon.signal(Signal::SIGTTIN);
    ratoon.ready_workers("web", 4);
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    ratoon.ready_workers("web", 4);
    traffic.goes_on(100);
    traffic.ends_without_a_loss();
    assert_eq!(ratoon.status_of("web")["wanted_processes"], 4);
    let gone = ratoon.all_logged("gone", &[("cause", "retired by scaling".into())]);
    assert_eq!(gone.len(), 12);
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// Grown for its load and cut down under it: by the file, for left to itself a pool takes a whole minute for that.
#[test]
fn a_dynamic_pool_that_grows_and_is_made_smaller_under_load_loses_nothing() {
    let listen = r#"listen = ["127.0.0.1:0", "unix:DIR/web"]"#;
    let config = |most: usize| {
        let lines = format!("{DYNAMIC}\nsettle = \"0s\"\nmax_workers = {most}");
        CONTROL.to_owned() + &fixture::pool("web", &lines).replace(r#"listen = ["127.0.0.1:0"]"#, listen)
    };
    let ratoon = Ratoon::serving(&config(8));
    let doors = [Door::Tcp(ratoon.address()), Door::Unix(ratoon.directory().join("web"))];
    let traffic = Traffic::begin(&doors, 8, &["ok", "sleep:5", "sleep:30"]);
    for _ in 0..3 {
        eventually("it has grown", SOON, || (ratoon.workers("web").len() >= 6).then_some(()));
        for most in [2, 8] {
            let before = ratoon.all_logged("reloaded", &[]).len();
            ratoon.configure(&config(most));
            ratoon.signal(Signal::SIGHUP);
            eventually("a reload", SOON, || ratoon.all_logged("reloaded", &[]).into_iter().nth(before));
            eventually("no more than there may be", SOON, || (ratoon.workers("web").len() <= most).then_some(()));
            traffic.goes_on(200);
        }
    }
    traffic.ends_without_a_loss();
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// The same of a pool that comes out of nothing and returns to it, again and again, while some clients stay.
#[test]
fn an_ondemand_pool_that_grows_and_shrinks_under_load_loses_nothing() {
    let (ratoon, doors) = on_demand("");
    for _ in 0..2 {
        let traffic = Traffic::begin(&doors, 6, &["ok", "sleep:5", "sleep:30"]);
        for _ in 0..4 {
            eventually("it has grown", SOON, || (ratoon.workers("web").len() == 4).then_some(()));
            ratoon.signal(Signal::SIGTTOU);
            eventually("one has gone", SOON, || (ratoon.workers("web").len() == 3).then_some(()));
            traffic.goes_on(100);
            ratoon.signal(Signal::SIGTTIN);
        }
        traffic.ends_without_a_loss();
        comes_to_nothing(&ratoon);
    }
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}

/// "Growth is gated on waiting", also where nobody connects: clients that keep their connections wait for the worker that
/// holds them, and no queue tells of it. They come in bursts too short for the reserve to be missed.
#[test]
fn a_dynamic_pool_grows_for_clients_that_wait_on_kept_connections() {
    let ratoon =
        Ratoon::serving(&(CONTROL.to_owned() + &fixture::pool("web", &format!("{DYNAMIC}\nmax_workers = 12"))));
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(ratoon.address())).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/ok").status, 200));
    assert_eq!(ratoon.ready_workers("web", 1).len(), 1);
    eventually("three times as many workers", SOON, || {
        for client in &mut clients {
            client.send(b"GET /sleep:60 HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
        std::thread::sleep(Duration::from_millis(300));
        (ratoon.workers("web").len() >= 3).then_some(())
    });
    assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
}
