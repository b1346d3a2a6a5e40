//! Promised: "the service manager is told the truth": READY=1 when it serves, STOPPING=1 when it stops.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::signal::{Signal, kill};

use crate::harness::{Ratoon, SOON, fixture, get};

/// A manager's socket that has waited long enough when it has waited for as long as anything may take.
fn manager(address: &SocketAddr) -> UnixDatagram {
    let socket = UnixDatagram::bind_addr(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

#[track_caller]
fn next_word(manager: &UnixDatagram) -> String {
    let mut word = [0; 4096];
    let length = manager.recv(&mut word).unwrap();
    String::from_utf8_lossy(&word[..length]).into_owned()
}

#[track_caller]
fn assert_silent(manager: &UnixDatagram) {
    manager.set_nonblocking(true).unwrap();
    assert_eq!(manager.recv(&mut [0; 4096]).unwrap_err().kind(), ErrorKind::WouldBlock);
    manager.set_nonblocking(false).unwrap();
}

/// One life of a daemon with two pools, as its manager sees it through `name`.
fn live(name: &str, address: &SocketAddr) {
    let manager = manager(address);
    let config = fixture::pool("quick", "workers = 2")
        + &fixture::pool("slow", "workers = 2\nsettings = { start = \"await:go\" }");
    let mut ratoon = Ratoon::start_with(&config, |command| {
        command.env("NOTIFY_SOCKET", name);
    });
    let workers = ratoon.ready_workers("quick", 2);
    ratoon.logged("template loaded", &[("pool", "slow".into())]);
    assert_eq!(get(ratoon.address_of("quick"), "/environment:NOTIFY_SOCKET").text(), "unset");
    assert_silent(&manager);

    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    assert_eq!(next_word(&manager), "READY=1");
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let order: Vec<_> =
        ratoon.lines().into_iter().map(|line| (line["pool"].clone(), line["message"].clone())).collect();
    let place = |pool: Option<&str>, message: &str| {
        order.iter().position(|(its, said)| its.as_str() == pool && said == message).unwrap()
    };
    let serving = place(None, "serving: every pool has a ready worker");
    assert!(place(Some("slow"), "ready") < serving && place(Some("quick"), "ready") < serving);

    kill(workers[0], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[]);
    ratoon.ready_workers("quick", 2);
    assert_silent(&manager);

    ratoon.signal(Signal::SIGTERM);
    assert_eq!(next_word(&manager), "STOPPING=1");
    ratoon.leaves_in_peace();
    assert_silent(&manager);
}

/// "READY=1 comes once, when every pool has had its first ready worker; no child inherits the way to the manager."
#[test]
fn the_manager_hears_ready_once_when_every_pool_serves_and_stopping_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    live(path.to_str().unwrap(), &SocketAddr::from_pathname(&path).unwrap());
}

#[test]
fn an_abstract_socket_is_a_manager_as_well() {
    let name = format!("ratoon-test-{}", std::process::id());
    live(&format!("@{name}"), &SocketAddr::from_abstract_name(&name).unwrap());
}

/// "A manager that has gone away costs a line in the log."
#[test]
fn without_anybody_at_the_socket_it_serves_all_the_same() {
    let ratoon = Ratoon::start_with(&fixture::pool("web", "workers = 1"), |command| {
        command.env("NOTIFY_SOCKET", "/nonexistent/notify");
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    ratoon.logged("the service manager does not listen", &[("untold", "READY=1".into())]);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}
