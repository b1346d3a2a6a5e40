//! Listeners that one edition or one pool has and the next one wants.

use nix::sys::signal::Signal;

use super::{asked, reload_well, until};
use crate::harness::{Client, Ratoon, SOON, eventually, fixture, free_address, get};

/// "A later good reload works", also one that follows at once, while the processes of the failed one still have the
/// socket that was opened for them.
#[test]
fn a_listener_of_a_reload_that_failed_is_there_for_the_one_that_follows_at_once() {
    let added = free_address();
    let both = |lines: &str| {
        let pool = fixture::pool("web", &format!("workers = 1\nsettle = \"0s\"\n{lines}"));
        asked(&pool.replace("127.0.0.1:0\"]", &format!("127.0.0.1:0\", \"{added}\"]")))
    };
    let ratoon = Ratoon::serving(&asked(&fixture::pool("web", "workers = 1\nsettle = \"0s\"")));
    ratoon.configure(&both("boot_timeout = \"1s\"\nsettings = { start = \"hang\" }"));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("template loaded", &[("gen", 2.into())]);
    ratoon.configure(&both(""));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("a reload is under way: another one follows it", &[]);
    ratoon.logged("reload failed: everything is as it was", &[]);
    ratoon.logged("reloaded", &[]);
    assert_eq!(get(added, "/ok").status, 200);
}

/// "TERM serves what is queued", whoever of two pools has the listener at that moment.
#[test]
fn a_listener_that_moves_between_pools_is_served_in_a_stop_like_any_other() {
    let moving = free_address();
    let pool = |name: &str, listen: &str| {
        let lines = "workers = 1\nsettle = \"1h\"";
        fixture::pool(name, lines).replace("\"127.0.0.1:0\"", &listen.replace("MOVING", &moving.to_string()))
    };
    let before = [pool("one", "\"127.0.0.1:0\", \"MOVING\""), pool("two", "\"127.0.0.1:0\"")].concat();
    let after = [pool("one", "\"127.0.0.1:0\""), pool("two", "\"127.0.0.1:0\", \"MOVING\"")].concat();
    let mut ratoon = Ratoon::serving(&asked(&before));
    ratoon.configure(&asked(&after));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged(super::SETTLING, &[]);
    // Both are busy: whoever comes to the listener waits in its queue.
    let gate = ratoon.directory().join("go");
    let mut busy = ["one", "two"].map(|name| ratoon.engage(ratoon.address_of(name), &until(&gate)).0);
    let mut queued: Vec<Client> = (0..6).map(|_| Client::connect(moving)).collect();
    queued.iter_mut().for_each(|client| client.send(b"GET /ok HTTP/1.1\r\nHost: test\r\n\r\n"));
    ratoon.signal(Signal::SIGTERM);
    ratoon.logged("stopping: what was accepted or queued is served", &[]);
    std::fs::write(&gate, "").unwrap();
    for client in busy.iter_mut().chain(&mut queued) {
        assert_eq!(client.response().status, 200);
    }
    eventually("it leaves", SOON, || (!ratoon.is_running()).then_some(()));
}

/// What is named in the file twice, one after the other, is one socket all the time.
#[test]
fn a_listener_that_moves_to_another_pool_and_back_serves_all_the_while() {
    let moving = free_address();
    let file = |at_one: bool| {
        let here = format!("\"127.0.0.1:0\", \"{moving}\"");
        let pool = |name: &str, has: bool| {
            let listen = if has { here.as_str() } else { "\"127.0.0.1:0\"" };
            fixture::pool(name, "workers = 1\nsettle = \"0s\"").replace("\"127.0.0.1:0\"", listen)
        };
        asked(&[pool("one", at_one), pool("two", !at_one)].concat())
    };
    let ratoon = Ratoon::serving(&file(true));
    for at_one in [false, true, false] {
        ratoon.configure(&file(at_one));
        reload_well(&ratoon);
        assert_eq!(get(moving, "/ok").status, 200);
    }
}

/// A Unix socket without its file is one that nobody finds.
#[test]
fn a_unix_socket_whose_file_was_removed_is_back_after_a_reload() {
    let pool = fixture::pool("web", "workers = 1\nsettle = \"0s\"").replace("127.0.0.1:0", "unix:DIR/web");
    let ratoon = Ratoon::serving(&asked(&pool));
    let path = ratoon.directory().join("web");
    std::fs::remove_file(&path).unwrap();
    assert!(Client::connect_unix(&path).is_err());
    reload_well(&ratoon);
    assert_eq!(Client::connect_unix(&path).unwrap().get("/ok").status, 200);
    reload_well(&ratoon);
    assert_eq!(Client::connect_unix(&path).unwrap().get("/ok").status, 200);
}
