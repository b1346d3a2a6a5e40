//! Who waits for a slow handler: its own client, and nobody else whom a free worker could serve.

use std::collections::BTreeSet;

use crate::harness::{Client, RaisedAtTheEnd, Ratoon, SOON, eventually, fixture};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn the_idle_connections_of_a_worker_whose_handlers_are_slow_are_served_by_its_siblings() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 2"));
    ratoon.ready_workers("web", 2);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(ratoon.address())).collect();
    // Now both know that handlers are slow.
    let mut slow = BTreeSet::new();
    eventually("both have been slow", SOON, || {
        let (mut client, pid) = ratoon.engage(ratoon.address(), "sleep:100");
        assert_eq!(client.response().status, 200);
        slow.insert(pid);
        (slow.len() == 2).then_some(())
    });
    let (mut engaged, busy) = ratoon.engage(ratoon.address(), "await:go");
    for client in &mut clients {
        assert_ne!(client.get("/ok").text(), busy.to_string());
    }
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    assert_eq!(engaged.response().status, 200);
}

/// A reader is application code, too: while it produces a response its worker runs nothing else.
#[test]
fn the_idle_connections_of_a_worker_that_is_held_by_a_response_are_served_by_its_siblings() {
    let ratoon = Ratoon::serving("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n");
    ratoon.ready_workers("web", 2);
    let pid_of = |client: &mut Client| client.get("/whoami").json()["pid"].clone();
    let mut holder = Client::connect(ratoon.address());
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(ratoon.address())).collect();
    // On a busy machine one of them may have been quicker by all of these.
    let busy = eventually("it has others", SOON, || {
        clients.push(Client::connect(ratoon.address()));
        let pid = pid_of(&mut holder);
        clients.iter_mut().any(|client| pid_of(client) == pid).then_some(pid)
    });
    holder.send(b"GET /count?n=100000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    holder.await_response();
    for client in &mut clients {
        assert_ne!(pid_of(client), busy);
    }
}

/// Nobody is forgotten in the inbox, and nothing changes its order, however often connections change hands.
#[test]
fn many_clients_of_slow_handlers_are_all_served_by_all_workers() {
    let ratoon = Ratoon::serving("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 4\n");
    ratoon.ready_workers("web", 4);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = RaisedAtTheEnd(&over);
        let clients: Vec<_> = (0..32)
            .map(|number: usize| {
                let (address, over) = (ratoon.address(), &over);
                scope.spawn(move || {
                    let (mut client, mut servers) = (Client::connect(address), BTreeSet::new());
                    for round in 0..25 {
                        let time = (number + round) % 7;
                        assert_eq!(client.get(&format!("/sleep?ms={time}")).text(), format!("slept {time} ms\n"));
                        servers.insert(client.get("/whoami").json()["pid"].to_string());
                        if over.load(Ordering::SeqCst) {
                            break;
                        }
                    }
                    servers.len()
                })
            })
            .collect();
        let servers: Vec<usize> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert!(servers.iter().any(|count| *count > 1), "connections change hands: {servers:?}");
    });
    assert!(ratoon.all_logged("died", &[]).is_empty());
}
