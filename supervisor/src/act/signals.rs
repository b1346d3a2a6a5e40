//! Signals as bytes in a pipe: each handler writes one, the loop reads them.
//!
//! A full pipe loses nothing: what stands in it already wakes the loop, and a signal that is there twice is one.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use signal_hook::low_level::pipe::register;

/// What the supervisor listens to.
const HEARD: [Signal; 10] = [
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGWINCH,
];

/// The signals that have arrived.
pub(super) struct Signals {
    pipes: Vec<(Signal, UnixStream)>,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Signals> {
        let mut pipes = Vec::new();
        for signal in HEARD {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            register(signal as i32, write)?;
            pipes.push((signal, read));
        }
        Ok(Signals { pipes })
    }

    /// What to wait for: readable when a signal has arrived.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().map(|(_, pipe)| pipe.as_fd())
    }

    /// Those that have arrived since the last call, each once.
    pub(super) fn take(&self) -> Vec<Signal> {
        let arrived = |pipe: &UnixStream| {
            let mut bytes = [0; 64];
            let mut any = false;
            while matches!((&*pipe).read(&mut bytes), Ok(length) if length > 0) {
                any = true;
            }
            any
        };
        self.pipes.iter().filter(|(_, pipe)| arrived(pipe)).map(|(signal, _)| *signal).collect()
    }
}
