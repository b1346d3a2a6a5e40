//! "Listeners are added and removed by difference, kept ones never close."

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{SETTLING, asked, reload_well, reloading, until};
use crate::harness::{Client, Ratoon, SOON, eventually, fixture, free_address, get};

/// A pool of one worker that listens at these places.
#[track_caller]
fn at(places: &[&str], lines: &str) -> String {
    let config = fixture::pool("web", &format!("workers = 1\nsettle = \"50ms\"\n{lines}"));
    asked(&config.replace("[\"127.0.0.1:0\"]", &format!("{places:?}")))
}

/// The listening socket at this port, as the kernel numbers it.
fn socket_at(address: SocketAddr) -> Vec<String> {
    let port = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|fields| fields[1].ends_with(&port) && fields[3] == "0A").map(|fields| fields[9].clone()).collect()
}

/// Whether nobody listens there. One that still listens, and lets nobody in, would let a client wait for minutes.
fn is_refused(address: SocketAddr) -> bool {
    let refused = TcpStream::connect_timeout(&address, Duration::from_millis(100));
    refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// One request of a client that comes to this Unix socket.
fn ask_unix(path: &std::path::Path) -> u16 {
    Client::connect_unix(path).unwrap().get("/ok").status
}

#[test]
fn a_listener_that_is_added_serves_and_those_that_stay_are_the_same_sockets() {
    let ratoon = Ratoon::serving(&at(&["127.0.0.1:0", "unix:DIR/kept"], ""));
    let (kept, added) = (ratoon.address(), free_address());
    let file = |name: &str| ratoon.directory().join(name);
    let (inode, socket) = (file("kept").metadata().unwrap().ino(), socket_at(kept));
    assert_eq!(socket.len(), 1);

    ratoon.configure(&at(&["unix:DIR/added", "127.0.0.1:0", &added.to_string(), "unix:DIR/kept"], ""));
    reload_well(&ratoon);
    ratoon.logged(&format!("listening on {added}"), &[]);
    assert_eq!((file("kept").metadata().unwrap().ino(), socket_at(kept)), (inode, socket));
    for address in [kept, added] {
        assert_eq!(get(address, "/ok").status, 200);
    }
    assert_eq!([ask_unix(&file("kept")), ask_unix(&file("added"))], [200, 200]);
    assert_eq!(file("added").metadata().unwrap().permissions().mode() & 0o777, 0o660);
}

/// Whoever connects during the reload waits in a queue that stays.
#[test]
fn who_waits_in_the_queue_of_a_kept_listener_during_a_reload_is_served_by_the_new_generation() {
    let ratoon = Ratoon::serving(&at(&["127.0.0.1:0", "unix:DIR/web"], ""));
    let gate = ratoon.directory().join("go");
    let (mut busy, _) = ratoon.engage(ratoon.address(), &until(&gate));
    let starts = ratoon.directory().join("starts");
    let starts_late = format!("settings = {{ start = \"{}\" }}", until(&starts));
    ratoon.configure(&at(&["127.0.0.1:0", "unix:DIR/web"], &starts_late));
    let asking = reloading(&ratoon, &[]).spawn().unwrap();
    eventually("the new worker starts", SOON, || (ratoon.workers("web").len() == 2).then_some(()));

    let ask = b"POST /echo:0 HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";
    let mut waiting =
        [Client::connect(ratoon.address()), Client::connect_unix(&ratoon.directory().join("web")).unwrap()];
    waiting.iter_mut().for_each(|client| client.send(ask));
    std::fs::write(&starts, "").unwrap();
    for client in &mut waiting {
        let answer = client.response();
        assert_eq!((answer.header("generation"), answer.text()), (Some("2"), "hi".into()));
    }
    std::fs::write(&gate, "").unwrap();
    assert_eq!(busy.response().status, 200);
    assert!(asking.wait_with_output().unwrap().status.success());
}

/// A removed one refuses whoever comes then; who was queued there is served.
#[test]
fn a_listener_that_is_removed_serves_who_is_queued_and_then_refuses() {
    let (removed, path) = (free_address(), "unix:DIR/removed");
    let ratoon = Ratoon::serving(&at(&["127.0.0.1:0", &removed.to_string(), path], ""));
    let path = ratoon.directory().join("removed");
    let mut kept_alive = Client::connect(removed);
    assert_eq!(kept_alive.get("/ok").status, 200);

    ratoon.configure(&at(&["127.0.0.1:0"], "").replace("50ms", "3s"));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged(SETTLING, &[]);
    let gate = ratoon.directory().join("go");
    let (mut busy, _) = ratoon.engage(ratoon.address(), &until(&gate));
    let mut queued = [Client::connect(removed), Client::connect_unix(&path).unwrap()];
    queued.iter_mut().for_each(|client| client.send(b"GET /ok HTTP/1.1\r\nHost: test\r\n\r\n"));
    ratoon.logged("reloaded", &[]);
    ratoon.logged(&format!("no longer listening on {removed}"), &[]);

    std::fs::write(&gate, "").unwrap();
    assert_eq!(busy.response().status, 200);
    for client in &mut queued {
        assert_eq!(client.response().status, 200);
    }
    eventually("newcomers are refused", SOON, || {
        (is_refused(removed) && UnixStream::connect(&path).is_err()).then_some(())
    });
    assert!(!path.exists());
    assert_eq!(kept_alive.get("/ok").status, 200, "a connection is not its listener");

    // The place is free again, for us as for anybody.
    ratoon.configure(&at(&["127.0.0.1:0", &removed.to_string(), "unix:DIR/removed"], ""));
    reload_well(&ratoon);
    assert_eq!(get(removed, "/ok").status, 200);
    assert_eq!(ask_unix(&path), 200);
}

/// What was opened for a reload that fails is closed again, and what it would have closed stays.
#[test]
fn a_reload_that_fails_leaves_the_listeners_as_they_were() {
    let (removed, added) = (free_address(), free_address());
    let ratoon = Ratoon::serving(&at(&["127.0.0.1:0", &removed.to_string()], ""));
    let refuses = "settings = { load = \"error:no\" }";
    ratoon.configure(&at(&["127.0.0.1:0", &added.to_string(), "unix:DIR/added"], refuses));
    assert_eq!(super::reload(&ratoon, &[]).status, Some(1));
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    assert_eq!(get(removed, "/ok").status, 200);
    eventually("nobody listens there", SOON, || is_refused(added).then_some(()));
    assert!(!ratoon.directory().join("added").exists());
}

/// Also one that has been in use.
#[test]
fn a_listener_of_a_generation_that_is_rolled_back_is_closed_again() {
    let added = free_address();
    let ratoon = Ratoon::serving(&at(&["127.0.0.1:0"], ""));
    let doomed = "settings = { start = \"doomed:DIR/doom\" }";
    ratoon.configure(&at(&["127.0.0.1:0", &added.to_string()], doomed).replace("50ms", "60s"));
    let asking = reloading(&ratoon, &[]).spawn().unwrap();
    ratoon.logged(SETTLING, &[]);
    assert_eq!(get(added, "/ok").status, 200);
    std::fs::write(ratoon.directory().join("doom"), "").unwrap();
    assert_eq!(asking.wait_with_output().unwrap().status.code(), Some(1));
    eventually("nobody listens there", SOON, || is_refused(added).then_some(()));
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}
