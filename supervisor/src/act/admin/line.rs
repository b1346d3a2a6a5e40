//! The line on which the admin process asks how everything is.
//!
//! Owns one end of a socket pair. One question at a time is heard, and the next not before the last answer was taken and
//! a pause is over: whatever is said meanwhile waits in the kernel, which lets nobody say more than it has room for.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use crate::act::token::Token;
use crate::control::{Answer, Ask};
use crate::decide::event::Time;

/// Between an answer and the next question: an honest process asks every [`FRESH`](crate::admin::FRESH) at most.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest question, in bytes with its newline: there is only one, and it is shorter.
const LONGEST: usize = 256;

/// See the module's header.
#[derive(Debug)]
pub(in crate::act) struct Line {
    stream: UnixStream,
    asked: Vec<u8>,
    /// What is left of the last answer.
    untaken: Vec<u8>,
    /// When it is listened to again.
    rests_until: Option<Time>,
    /// Whether the kernel tells us of it.
    watched: bool,
}

/// What came of listening.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::act) enum Heard {
    Nothing,
    /// It wants to be told how everything is.
    Question,
    /// It has hung up.
    End,
    /// Something that makes no sense.
    Nonsense(String),
}

impl Line {
    /// Listens to the other end of `stream`.
    pub(super) fn new(stream: UnixStream, epoll: &Epoll) -> std::io::Result<Line> {
        stream.set_nonblocking(true)?;
        epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, Token::Admin.pack()))?;
        Ok(Line { stream, asked: Vec::new(), untaken: Vec::new(), rests_until: None, watched: true })
    }

    /// Does what is due: to be called when there is something to read or room to write, and at
    /// [`wake_at`](Line::wake_at).
    pub(in crate::act) fn attend(&mut self, epoll: &Epoll, now: Time) -> Heard {
        let heard = self.listen_or_tell(now);
        let wishes = match (self.untaken.is_empty(), self.rests_until) {
            (false, _) => Some(EpollFlags::EPOLLOUT),
            // Not even that it has hung up: the kernel would not cease to say so.
            (true, Some(_)) => None,
            (true, None) => Some(EpollFlags::EPOLLIN),
        };
        let event = wishes.map(|wishes| EpollEvent::new(wishes, Token::Admin.pack()));
        let done = match (event, std::mem::replace(&mut self.watched, event.is_some())) {
            (Some(mut event), true) => epoll.modify(&self.stream, &mut event),
            (Some(event), false) => epoll.add(&self.stream, event),
            (None, true) => epoll.delete(&self.stream),
            (None, false) => Ok(()),
        };
        if done.is_err() { Heard::End } else { heard }
    }

    /// Tells it this, as far as it takes it at once; what remains waits for it.
    pub(in crate::act) fn tell(&mut self, answer: &Answer, epoll: &Epoll, now: Time) -> Heard {
        self.rests_until = Some(now.after(PAUSE));
        match answer.write(&mut self.untaken) {
            Ok(()) => self.attend(epoll, now),
            Err(_) => Heard::End,
        }
    }

    /// When [`attend`](Line::attend) is wanted, whether or not it says anything.
    pub(in crate::act) fn wake_at(&self) -> Option<Time> {
        self.rests_until.filter(|_| self.untaken.is_empty())
    }

    fn listen_or_tell(&mut self, now: Time) -> Heard {
        if !self.untaken.is_empty() {
            match self.stream.write(&self.untaken) {
                Ok(taken) => drop(self.untaken.drain(..taken)),
                Err(error) if is_for_later(&error) => {}
                Err(_) => return Heard::End,
            }
            return Heard::Nothing;
        }
        if self.rests_until.is_some_and(|until| now < until) {
            return Heard::Nothing;
        }
        self.rests_until = None;
        let mut piece = [0; LONGEST];
        match self.stream.read(&mut piece[self.asked.len()..]) {
            Ok(0) => return Heard::End,
            Ok(length) => {
                let begun = self.asked.len();
                self.asked.extend_from_slice(&piece[begun..begun + length]);
            }
            Err(error) if is_for_later(&error) => return Heard::Nothing,
            Err(_) => return Heard::End,
        }
        let Some(end) = self.asked.iter().position(|byte| *byte == b'\n') else {
            return match self.asked.len() < LONGEST {
                true => Heard::Nothing,
                false => Heard::Nonsense(format!("a question is one line of at most {LONGEST} bytes")),
            };
        };
        // What it says before it has an answer is not listened to.
        let question = std::mem::take(&mut self.asked);
        match Ask::read(&question[..end]) {
            Ok(Ask::Status) => Heard::Question,
            Ok(other) => Heard::Nonsense(format!("{other:?} is not its to ask")),
            Err(reason) => Heard::Nonsense(reason),
        }
    }
}

fn is_for_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::sys::epoll::EpollCreateFlags;

    use super::*;

    const NOW: Time = Time(1_000_000_000);

    fn line() -> (UnixStream, Line, Epoll) {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (theirs, Line::new(ours, &epoll).unwrap(), epoll)
    }

    fn ask(theirs: &UnixStream) {
        Ask::Status.write(theirs).unwrap();
    }

    #[test]
    fn a_question_is_heard_though_it_comes_in_pieces() {
        let (mut theirs, mut line, epoll) = line();
        let mut question = Vec::new();
        Ask::Status.write(&mut question).unwrap();
        let (last, pieces) = question.split_last().unwrap();
        for piece in pieces {
            theirs.write_all(&[*piece]).unwrap();
            assert_eq!(line.attend(&epoll, NOW), Heard::Nothing);
        }
        theirs.write_all(&[*last]).unwrap();
        assert_eq!(line.attend(&epoll, NOW), Heard::Question);
    }

    #[test]
    fn however_often_it_asks_it_is_heard_ten_times_a_second() {
        let (theirs, mut line, epoll) = line();
        let answer = Answer::Done("x".repeat(50));
        let mut heard = 0;
        for millisecond in 0..1000 {
            let now = NOW.after(Duration::from_millis(millisecond));
            // As often as what it says in a pause is read with one system call: of more the end would be half a question.
            if millisecond % 12 == 0 {
                ask(&theirs);
            }
            if line.attend(&epoll, now) == Heard::Question {
                heard += 1;
                assert_eq!(line.tell(&answer, &epoll, now), Heard::Nothing);
            }
        }
        assert_eq!(heard, 10);
    }

    #[test]
    fn one_that_takes_no_answer_is_not_listened_to() {
        let (theirs, mut line, epoll) = line();
        let answer = Answer::Done("x".repeat(1 << 20));
        ask(&theirs);
        assert_eq!(line.attend(&epoll, NOW), Heard::Question);
        assert_eq!(line.tell(&answer, &epoll, NOW), Heard::Nothing);
        for second in 1..100 {
            let _ = Ask::Status.write(&theirs);
            assert_eq!(line.attend(&epoll, NOW.after(Duration::from_secs(second))), Heard::Nothing);
            assert!(line.untaken.len() <= 1 << 21 && line.wake_at().is_none());
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_and_read_no_further() {
        for garbage in [&b"GET / HTTP/1.1\n"[..], b"\0\xff\n", b"{\"ask\":\"reload\"}\n", &[b'x'; 1 << 16]] {
            let (mut theirs, mut line, epoll) = line();
            let _ = theirs.write(garbage);
            assert!(matches!(line.attend(&epoll, NOW), Heard::Nonsense(_)), "{garbage:?}");
        }
        let (theirs, mut line, epoll) = line();
        drop(theirs);
        assert_eq!(line.attend(&epoll, NOW), Heard::End);
    }
}
