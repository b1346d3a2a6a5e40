//! Promised: "status does not hang for ever", and nobody waits for ever without being told.

use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect};

use super::{ask, command, said, serving, socket};
use crate::harness::{Ratoon, SOON, eventually, fixture};

/// "Status does not hang for ever when the supervisor is stuck."
#[test]
fn a_supervisor_that_does_not_answer_is_not_waited_for_for_ever() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    ratoon.signal(Signal::SIGSTOP);
    let stuck = status_in_time(&ratoon);
    // With a full queue not even the connection is made.
    let _queue: Vec<UnixStream> = std::iter::from_fn(|| connect_at_once(&socket(&ratoon))).collect();
    let full = status_in_time(&ratoon);
    ratoon.signal(Signal::SIGCONT);
    for output in [stuck, full] {
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains("has not answered within 5 s: it is stopped or stuck"), "{}", said(&output));
    }
    eventually("it answers again", SOON, || ask(&ratoon, &["status"]).status.success().then_some(()));
}

/// `ratoon status`, unless it hangs.
#[track_caller]
fn status_in_time(ratoon: &Ratoon) -> Output {
    let mut command = command(&["status", "--socket"]);
    let mut asking = command.arg(socket(ratoon)).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while asking.try_wait().unwrap().is_none() {
        if begun.elapsed() > SOON {
            asking.kill().unwrap();
            panic!("it hangs");
        }
        sleep(Duration::from_millis(10));
    }
    asking.wait_with_output().unwrap()
}

/// A connection, or none if the queue is full.
fn connect_at_once(path: &Path) -> Option<UnixStream> {
    let socket =
        nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
    connect(socket.as_raw_fd(), &UnixAddr::new(path).unwrap()).ok().map(|()| socket.into())
}

/// What takes its time is waited for; that nobody is at work on it is said.
#[test]
fn whoever_waits_for_a_supervisor_that_is_stuck_is_told_and_gets_the_outcome_when_it_goes_on() {
    let ratoon = serving(&fixture::pool("web", "workers = 1\nsettle = \"0s\""));
    ratoon.signal(Signal::SIGSTOP);
    let mut command = command(&["reload", "--socket"]);
    command.arg(socket(&ratoon)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut asking = command.spawn().unwrap();
    let mut told = String::new();
    BufReader::new(asking.stderr.as_mut().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains("has not answered within 5 s: it is stopped or stuck"), "{told}");
    assert!(told.contains("still waiting for it"), "{told}");
    assert!(asking.try_wait().unwrap().is_none(), "it gave up");
    ratoon.signal(Signal::SIGCONT);
    let output = asking.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}
