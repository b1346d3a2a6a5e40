//! An inbox that cannot take what it should.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{counted, server_of};
use crate::harness::{Client, Door, SOON, eventually, process, raise_descriptor_limit};

/// More than an inbox holds, each with the better part of a KiB that has arrived of a head.
const MANY: usize = 4000;

#[test]
fn what_a_full_inbox_does_not_take_is_served_by_the_worker_that_leaves() {
    raise_descriptor_limit();
    let (ratoon, door) =
        Door::tcp("workers = 2\nheader_timeout = \"1h\"\nkeep_alive_timeout = \"1h\"\nmax_connections = 10000\n");
    let workers = ratoon.ready_workers("web", 2);
    kill(workers[1], Signal::SIGSTOP).unwrap();
    let head = format!("GET /whoami HTTP/1.1\r\nHost: test\r\nX-Long: {}\r\n", "x".repeat(950));
    let mut clients: Vec<Client> = (0..MANY)
        .map(|_| {
            let mut client = door.connect().unwrap();
            client.send(head.as_bytes());
            client
        })
        .collect();
    assert_eq!(server_of(&mut door.connect().unwrap()), workers[0]);
    kill(workers[0], Signal::SIGTERM).unwrap();
    eventually("some are given away", SOON, || (counted(&ratoon, |cell| cell.handed_over) > 0).then_some(()));
    for client in &mut clients {
        client.send(b"\r\n");
    }
    let mut answered = 0;
    eventually("the one that leaves still serves", SOON, || {
        answered = counted(&ratoon, |cell| cell.requests);
        (answered > 1).then_some(())
    });
    assert!(process::is_alive(workers[0]));
    kill(workers[1], Signal::SIGCONT).unwrap();
    let pids: Vec<Pid> = clients.iter_mut().map(|client| super::pid_in(client.try_response()).unwrap()).collect();
    let by_leaver = pids.iter().filter(|pid| **pid == workers[0]).count();
    assert!(by_leaver > 0 && by_leaver < MANY, "{by_leaver} of {MANY}");
    ratoon.logged("gone", &[("pid", workers[0].as_raw().into()), ("cause", "retired by operator".into())]);
    assert!(clients.iter_mut().all(|client| server_of(client) != workers[0]));
}
