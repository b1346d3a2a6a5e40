//! Connections that came together at one worker while another has nothing to do.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{pid_in, server_of};
use crate::harness::{Client, Ratoon, SOON, eventually, process, ratoon as command};

const CLIENTS: usize = 16;

/// Back when it does nothing any more.
#[track_caller]
fn stop(worker: Pid) {
    kill(worker, Signal::SIGSTOP).unwrap();
    eventually("it is stopped", SOON, || process::is_stopped(worker).then_some(()));
}

#[test]
fn a_worker_shares_its_connections_with_one_that_has_fewer_and_nothing_to_do() {
    let ratoon = Ratoon::serving("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\nheader_timeout = \"1h\"\n");
    let workers = ratoon.ready_workers("web", 2);
    stop(workers[1]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(ratoon.address())).collect();
    assert!(clients.iter_mut().all(|client| server_of(client) == workers[0]));
    kill(workers[1], Signal::SIGCONT).unwrap();

    eventually("each has its half", SOON, || {
        // All at once: who has one request at a time has nothing to share.
        clients.iter_mut().for_each(|client| client.send(b"GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n"));
        let servers: Vec<Pid> = clients.iter_mut().map(|client| pid_in(client.try_response()).unwrap()).collect();
        let share = |worker: &Pid| servers.iter().filter(|server| *server == worker).count();
        workers.iter().all(|worker| share(worker) >= CLIENTS / 2 - 1).then_some(())
    });
    assert!(super::counted(&ratoon, |cell| cell.handed_over) >= CLIENTS as u64 / 2 - 1);
}

/// Whoever has fewer connections is given the time to take who comes. One that is stopped never does, and looks no different.
#[test]
fn who_waits_at_two_listeners_is_taken_in_though_a_worker_with_fewer_connections_takes_nobody() {
    let ratoon = Ratoon::serving("[pool.web]\nlisten = [\"127.0.0.1:0\", \"unix:DIR/web\"]\nworkers = 2\n");
    let workers = ratoon.ready_workers("web", 2);
    stop(workers[1]);
    let mut kept: Vec<Client> = (0..2).map(|_| Client::connect(ratoon.address())).collect();
    assert!(kept.iter_mut().all(|client| server_of(client) == workers[0]));
    // It finds both at the same time.
    stop(workers[0]);
    let path = ratoon.directory().join("web");
    let mut newcomers = [Client::connect(ratoon.address()), Client::connect_unix(&path).unwrap()];
    newcomers.iter_mut().for_each(|client| client.send(b"GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n"));
    kill(workers[0], Signal::SIGCONT).unwrap();
    for client in &mut newcomers {
        client.set_patience(SOON);
        assert_eq!(pid_in(client.try_response()).unwrap(), workers[0]);
    }
}

#[test]
fn connections_for_which_nobody_has_room_are_not_left_between_the_workers() {
    let ratoon = Ratoon::serving(
        "[control]\nsocket = \"DIR/control.sock\"\n[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n\
         max_connections = 4\nkeep_alive_timeout = \"1h\"\n",
    );
    ratoon.ready_workers("web", 2);
    // One after the other, so that nobody has reason to share before all are there.
    let (mut clients, mut servers) = (Vec::new(), BTreeSet::new());
    for _ in 0..8 {
        let mut client = Client::connect(ratoon.address());
        servers.insert(server_of(&mut client));
        clients.push(client);
    }
    assert_eq!(servers.len(), 2);
    let socket = ratoon.directory().join("control.sock");
    let asked = command(&["scale", "web", "1", "--socket", socket.to_str().unwrap()]);
    assert!(asked.status.success(), "{asked:?}");
    eventually("one has left", SOON, || (ratoon.workers("web").len() == 1).then_some(()));
    let last = ratoon.workers("web")[0];
    let mut served = 0;
    for client in &mut clients {
        client.set_patience(SOON);
        match pid_in(client.try_get("/whoami")) {
            Ok(server) => {
                assert_eq!(server, last);
                served += 1;
            }
            Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "it was neither served nor let go"),
        }
    }
    assert!(served >= 4, "only {served}, and there is room for 4");
}
