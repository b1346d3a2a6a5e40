//! The addresses that a host's name stands for, by a deadline.
//!
//! The system's resolver cannot be interrupted and may take half a minute, so it is asked by a child of this process,
//! which can be ended. Only where the application has started threads, and forking is not safe, this process asks
//! itself, and then the deadline holds for as long as the resolver does. Nothing is remembered: a failover by DNS is seen
//! by the next who connects.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, getppid};

use super::drive;
use crate::sys::fork::{self, SingleThreaded};

/// No more addresses of a name are tried: what the child says of them fits into the pipe.
const MOST: usize = 64;

/// Where `host` is, in the order in which its addresses are to be tried; at least one.
///
/// # Errors
/// Why it is not known, in words.
pub(super) fn addresses(host: &str, port: u16, until: u64) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = match SingleThreaded::prove() {
        Ok(proof) => ask_by_child(&proof, host, port, until)?,
        Err(_) => ask(host, port)?,
    };
    if found.is_empty() { Err("the name has no address".into()) } else { Ok(found) }
}

fn ask(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
    Ok(found.take(MOST).collect())
}

fn ask_by_child(proof: &SingleThreaded, host: &str, port: u16, until: u64) -> Result<Vec<SocketAddr>, String> {
    let cannot = |what: &str| format!("cannot ask for its address: {what}");
    let (answer, pen) = pipe().map_err(|error| cannot(&error.to_string()))?;
    let parent = getpid();
    // What is not dropped here by the child is closed with it.
    let child = fork::child(proof, move || {
        // It must not outlive whoever asks; one that is gone already could not tell it.
        let is_orphan = set_pdeathsig(Signal::SIGKILL).is_err() || getppid() != parent;
        if is_orphan { 1 } else { tell(pen, &ask(host, port)) }
    });
    let child = child.map_err(|errno| cannot(errno.desc()))?;
    let heard = listen(answer, until);
    end(child);
    understand(&heard?)
}

/// An address in each line, or, behind a `!`, why there is none.
fn tell(mut pen: PipeWriter, found: &Result<Vec<SocketAddr>, String>) -> i32 {
    let text = match found {
        Ok(addresses) => addresses.iter().map(|address| format!("{address}\n")).collect(),
        Err(why) => format!("!{why}\n"),
    };
    i32::from(pen.write_all(text.as_bytes()).is_err())
}

fn understand(heard: &str) -> Result<Vec<SocketAddr>, String> {
    match heard.strip_prefix('!') {
        Some(why) => Err(why.trim_end().to_owned()),
        None if heard.is_empty() => Err("whoever asked for its address died".into()),
        None => heard.lines().map(|line| line.parse().map_err(|_| "its address is no address".to_owned())).collect(),
    }
}

/// All that is said until the other end is closed.
fn listen(mut answer: PipeReader, until: u64) -> Result<String, String> {
    let mut heard = Vec::new();
    loop {
        let mut waiting = [PollFd::new(answer.as_fd(), PollFlags::POLLIN)];
        drive::poll_until(&mut waiting, until).map_err(|_| "its address was not found out in time".to_owned())?;
        let mut room = [0; 4096];
        match answer.read(&mut room) {
            Ok(0) => return Ok(String::from_utf8_lossy(&heard).into_owned()),
            Ok(length) => heard.extend_from_slice(&room[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("cannot ask for its address: {error}")),
        }
    }
}

/// It is ours until it is waited for, so the pid can be nobody else's.
fn end(child: Pid) {
    let _ = kill(child, Signal::SIGKILL);
    while waitpid(child, None) == Err(Errno::EINTR) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_address_is_not_asked_for() {
        let past = 1;
        assert_eq!(addresses("127.0.0.1", 5432, past), Ok(vec!["127.0.0.1:5432".parse().unwrap()]));
        assert_eq!(addresses("::1", 5433, past), Ok(vec!["[::1]:5433".parse().unwrap()]));
    }

    #[test]
    fn what_the_child_tells_is_what_it_found() {
        let told = |found: Result<Vec<SocketAddr>, String>| {
            let (answer, pen) = pipe().unwrap();
            assert_eq!(tell(pen, &found), 0);
            assert_eq!(understand(&listen(answer, u64::MAX).unwrap()), found);
        };
        told(Ok(vec!["192.0.2.1:5432".parse().unwrap(), "[2001:db8::1]:5432".parse().unwrap()]));
        told(Err("nobody has heard of it".into()));
    }

    #[test]
    fn a_child_that_dies_in_silence_is_an_error_and_so_is_one_that_says_nothing_in_time() {
        assert!(understand("").is_err());
        let (answer, _pen) = pipe().unwrap();
        assert!(listen(answer, crate::clock::now()).is_err());
    }

    #[test]
    fn a_process_with_threads_asks_itself() {
        let listener = TcpListener::bind("localhost:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(addresses("localhost", address.port(), u64::MAX).unwrap().contains(&address));
    }
}
