//! Pools that come, go, and are called something else.

use std::path::Path;

use super::{asked, generations, reload, reload_well, until};
use crate::harness::{Client, Ratoon, SOON, eventually, fixture, get, process};

/// A pool of so many workers at a Unix socket of this name.
#[track_caller]
fn pool(name: &str, socket: &str, lines: &str) -> String {
    let config = fixture::pool(name, &format!("settle = \"50ms\"\n{lines}"));
    config.replace("127.0.0.1:0", &format!("unix:DIR/{socket}"))
}

fn ask(ratoon: &Ratoon, socket: &str) -> std::io::Result<u16> {
    Client::connect_unix(&ratoon.directory().join(socket))?.try_get("/ok").map(|answer| answer.status)
}

#[test]
fn a_pool_that_is_added_serves() {
    let one = asked(&pool("one", "one", "workers = 1"));
    let ratoon = Ratoon::serving(&one);
    ratoon.configure(&(one + &pool("two", "two", "workers = 2")));
    reload_well(&ratoon);
    ratoon.ready_workers("two", 2);
    assert_eq!([ask(&ratoon, "one").unwrap(), ask(&ratoon, "two").unwrap()], [200, 200]);
    assert_eq!(process::children(ratoon.pid(), "ratoon: two template").len(), 1);
}

/// "Removed pools drain": what is in flight is finished, what is queued is served, then nothing is left.
#[test]
fn a_pool_that_is_removed_finishes_what_it_has_and_goes() {
    let one = asked(&pool("one", "one", "workers = 1"));
    let ratoon = Ratoon::serving(&(one.clone() + &pool("two", "two", "workers = 1")));
    ratoon.ready_workers("two", 1);
    let gate = ratoon.directory().join("go");
    let place = ratoon.directory().join("two");
    let (mut busy, _) = ratoon.engage_over(Client::connect_unix(&place).unwrap(), &until(&gate));
    let mut queued = Client::connect_unix(&place).unwrap();
    queued.send(b"GET /ok HTTP/1.1\r\nHost: test\r\n\r\n");

    ratoon.configure(&one);
    reload_well(&ratoon);
    ratoon.logged("removed: what was accepted or queued is served", &[("pool", "two".into())]);
    std::fs::write(&gate, "").unwrap();
    assert_eq!([busy.response().status, queued.response().status], [200, 200]);
    eventually("nothing is left of it", SOON, || {
        let left = process::children(ratoon.pid(), "ratoon: two");
        (left.is_empty() && Client::connect_unix(&place).is_err() && !place.exists()).then_some(())
    });
    assert!(ratoon.all_logged("died", &[]).is_empty());
    assert_eq!(ask(&ratoon, "one").unwrap(), 200);
    assert_eq!(super::status(&ratoon)["pools"].as_array().unwrap().len(), 1);

    // What has gone may come back.
    ratoon.configure(&(one + &pool("two", "two", "workers = 1")));
    reload_well(&ratoon);
    assert_eq!(ask(&ratoon, "two").unwrap(), 200);
}

/// "A pool renamed keeps its address": nobody is refused on the way.
#[test]
fn a_pool_that_is_renamed_keeps_its_address() {
    let named = |name: &str| asked(&pool(name, "web", "workers = 2"));
    let ratoon = Ratoon::serving(&named("before"));
    let place = ratoon.directory().join("web");
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
    let was = inode(&place);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::SeqCst) {
                assert_eq!(ask(&ratoon, "web").unwrap(), 200);
            }
        });
        {
            let _end = crate::harness::RaisedAtTheEnd(&over);
            ratoon.configure(&named("after"));
            reload_well(&ratoon);
            eventually("the old one has gone", SOON, || {
                process::children(ratoon.pid(), "ratoon: before").is_empty().then_some(())
            });
        }
        client.join().unwrap();
    });
    assert_eq!(ask(&ratoon, "web").unwrap(), 200);
    assert_eq!(inode(&place), was);
    ratoon.ready_workers("after", 2);
    // And a later reload, of which the old name knows nothing.
    reload_well(&ratoon);
    assert_eq!(ask(&ratoon, "web").unwrap(), 200);
}

/// A new pool that does not come up takes nothing with it, and leaves nothing behind.
#[test]
fn a_pool_that_is_added_and_fails_leaves_nothing_behind() {
    let one = asked(&pool("one", "one", "workers = 1"));
    let ratoon = Ratoon::serving(&one);
    let workers = ratoon.ready_workers("one", 1);
    ratoon.configure(&(one.clone() + &pool("two", "two", "workers = 2\nsettings = { start = \"error:no queue\" }")));
    let outcome = reload(&ratoon, &[]);
    assert_eq!(outcome.status, Some(1));
    assert!(outcome.reason.contains("pool two") && outcome.reason.contains("no queue"), "{outcome:?}");
    eventually("nothing is left of it", SOON, || {
        let left = process::children(ratoon.pid(), "ratoon: two");
        (left.is_empty() && !ratoon.directory().join("two").exists()).then_some(())
    });
    assert_eq!(ratoon.ready_workers("one", 1), workers);
    eventually("the status knows nothing of it", SOON, || {
        (super::status(&ratoon)["pools"].as_array().unwrap().len() == 1).then_some(())
    });
    ratoon.configure(&(one + &pool("two", "two", "workers = 1")));
    reload_well(&ratoon);
    assert_eq!(ask(&ratoon, "two").unwrap(), 200);
}

/// "`ratoon reload web` reloads only that pool."
#[test]
fn a_reload_of_one_pool_leaves_the_others_alone() {
    let both = |lines: &str| asked(&(pool("one", "one", lines) + &pool("two", "two", lines)));
    let ratoon = Ratoon::serving(&both("workers = 1"));
    let others = ratoon.ready_workers("two", 1);
    ratoon.configure(&both("workers = 2"));
    let outcome = reload(&ratoon, &["one"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(generations(&ratoon, "one", 2), [2, 2]);
    assert_eq!(ratoon.ready_workers("two", 1), others);
    // What the file says of the other is learnt when everything is reloaded.
    reload_well(&ratoon);
    assert_eq!(generations(&ratoon, "two", 2), [2, 2]);
    assert_eq!(generations(&ratoon, "one", 2), [3, 3]);
    let outcome = reload(&ratoon, &["three"]);
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert!(outcome.reason.contains("there are one, two"), "{outcome:?}");
}

/// A pool whose workers could not start is brought back by a reload.
#[test]
fn a_pool_that_has_failed_is_mended_by_a_reload() {
    let broken = asked(&get_pool("settings = { start = \"error:no database\" }"));
    let ratoon = Ratoon::start(&broken);
    ratoon.logged(
        "pool failed: too many boots failed within a minute; it keeps its listeners and is tried again, slowly",
        &[],
    );
    ratoon.configure(&asked(&get_pool("")));
    reload_well(&ratoon);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    ratoon.logged("serving: every pool has a ready worker", &[]);
}

fn get_pool(lines: &str) -> String {
    fixture::pool("web", &format!("workers = 2\nsettle = \"50ms\"\n{lines}"))
}
