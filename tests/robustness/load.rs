//! More to do than can be done.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Client, RaisedAtTheEnd, Ratoon, SOON, eventually};

/// More than a worker takes from the kernel at a time.
const CLIENTS: u32 = 150;
/// The load lasts for as long: whoever is told by then was told under it.
const LOAD: Duration = SOON;

#[test]
fn a_client_that_is_slow_with_its_head_is_told_so_while_the_worker_has_more_to_do_than_it_can() {
    let config = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nheader_timeout = \"1s\"\n";
    let ratoon = Ratoon::serving(config);
    // They have been taken in before there is any load, for which a worker under load would need its time.
    let greeted = || {
        let mut client = Client::connect(ratoon.address());
        assert_eq!(client.get("/hello").status, 200);
        client
    };
    let mut slow = greeted();
    slow.set_patience(LOAD);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| greeted()).collect();
    let (over, answers) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let _end = RaisedAtTheEnd(&over);
        for client in clients {
            scope.spawn(|| hammer(client, &over, &answers));
        }
        eventually("all of them are served", SOON, || (answers.load(Ordering::SeqCst) > 2 * CLIENTS).then_some(()));
        let begun = Instant::now();
        slow.send(b"GET /hello HTTP/1.1\r\nHost:");
        let answer = slow.try_response().unwrap_or_else(|error| panic!("nothing within {LOAD:?}: {error}"));
        let took = begun.elapsed();
        assert_eq!(answer.status, 408);
        assert!(took >= Duration::from_secs(1), "after {took:?}");
    });
}

/// One request after the other over one connection.
fn hammer(mut client: Client, over: &AtomicBool, answers: &AtomicU32) {
    while !over.load(Ordering::SeqCst) {
        assert_eq!(client.get("/spin?ms=2").status, 200);
        answers.fetch_add(1, Ordering::SeqCst);
    }
}
