//! One client of the control socket: the question it is asking, the answer it is taking.
//!
//! Owns its connection, its unfinished line and what it has not taken yet. Never blocks, and holds no more than one
//! question and one answer beyond [`UNTAKEN`].

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::epoll::EpollFlags;

use crate::control::{Answer, LONGEST};
use crate::decide::event::Time;

/// How long a client may take to ask, and may leave what it is told lying about: it is a program on this machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A client that has left more than this lying, in bytes, is told nothing more: it does not read.
const UNTAKEN: usize = 64 << 10;

/// See the module's header.
pub(super) struct Client {
    stream: UnixStream,
    stage: Stage,
    untaken: Vec<u8>,
    /// When it connected, was last told something with nothing left lying, or last took something.
    moved: Time,
}

enum Stage {
    /// It has sent this much of its question.
    Asking(Vec<u8>),
    /// It has asked and waits.
    Waiting,
    /// It takes its last answer.
    Leaving,
    /// There is nothing more to be done for it.
    Gone,
}

/// What came of listening to a client.
pub(super) enum Heard {
    /// Nothing yet, or nothing any more.
    Nothing,
    /// Its question, as a line.
    Question(Vec<u8>),
    /// More than any question needs.
    TooMuch,
}

impl Client {
    pub(super) fn new(stream: UnixStream, now: Time) -> Client {
        Client { stream, stage: Stage::Asking(Vec::new()), untaken: Vec::new(), moved: now }
    }

    /// One that has asked a predecessor, and waits.
    pub(super) fn waiting(stream: UnixStream, now: Time) -> Client {
        Client { stream, stage: Stage::Waiting, untaken: Vec::new(), moved: now }
    }

    /// Whether it has asked, and taken all that it was told.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting) && self.untaken.is_empty()
    }

    /// What to wait for. Without a wish the kernel still says when the client has hung up.
    pub(super) fn wishes(&self) -> EpollFlags {
        match (&self.stage, self.untaken.is_empty()) {
            (Stage::Asking(_), _) => EpollFlags::EPOLLIN,
            (_, false) => EpollFlags::EPOLLOUT,
            (_, true) => EpollFlags::empty(),
        }
    }

    /// When our patience with it ends. One that waits for us has all the time there is.
    pub(super) fn deadline(&self) -> Option<Time> {
        let is_asking = matches!(self.stage, Stage::Asking(_));
        (is_asking || !self.untaken.is_empty()).then(|| self.moved.after(PATIENCE))
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.stage, Stage::Asking(_))
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Gone)
    }

    pub(super) fn hang_up(&mut self) {
        self.stage = Stage::Gone;
    }

    /// Reads what it has sent of its question, which ends with a newline or with the stream.
    pub(super) fn hear(&mut self) -> Heard {
        let Stage::Asking(line) = &mut self.stage else {
            return Heard::Nothing;
        };
        let room = (LONGEST + 1 - line.len()) as u64;
        let ended = match (&self.stream).take(room).read_to_end(line) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                self.stage = Stage::Gone;
                return Heard::Nothing;
            }
        };
        let newline = line.iter().position(|byte| *byte == b'\n');
        if newline.is_none() && line.len() > LONGEST {
            return Heard::TooMuch;
        }
        if newline.is_none() && !ended {
            return Heard::Nothing;
        }
        let question = line[..newline.unwrap_or(line.len())].to_owned();
        self.stage = if question.is_empty() && newline.is_none() { Stage::Gone } else { Stage::Waiting };
        if self.is_gone() { Heard::Nothing } else { Heard::Question(question) }
    }

    /// Tells it this, as far as it takes it now.
    pub(super) fn tell(&mut self, answer: &Answer, now: Time) {
        if self.untaken.is_empty() {
            self.moved = now;
        }
        if self.untaken.len() > UNTAKEN || answer.write(&mut self.untaken).is_err() {
            self.stage = Stage::Gone;
            return;
        }
        if answer.is_last() {
            self.stage = Stage::Leaving;
        }
        self.hand_over(now);
    }

    /// Sends as much of what it has been told as it takes; what remains waits for it.
    pub(super) fn hand_over(&mut self, now: Time) {
        while !self.untaken.is_empty() {
            match self.stream.write(&self.untaken) {
                Ok(taken) => {
                    self.untaken.drain(..taken);
                    self.moved = now;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.stage = Stage::Gone,
            }
        }
        if matches!(self.stage, Stage::Leaving) {
            self.stage = Stage::Gone;
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
