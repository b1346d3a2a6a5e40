//! A call to the supervisor over its control socket.
//!
//! Owns the connection, and the sentences for what can go wrong with it. Never waits for a supervisor that does not
//! even take the call; how long an answer may take, the caller says.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::control::{Answer, Ask};

/// How long a supervisor may take for what it does at once: it never waits for anybody.
pub(super) const AT_ONCE: Duration = Duration::from_secs(5);

/// No answer is longer, in bytes: a thousand workers in each of a hundred pools fit.
const LONGEST_ANSWER: usize = 64 << 20;

/// See the module's header.
pub(super) struct Call {
    stream: BufReader<UnixStream>,
    /// As much of the next line as has come.
    line: Vec<u8>,
    place: PathBuf,
}

impl Call {
    /// Asks the supervisor at `place`. The next line of the answer is waited for as long as `patience`, or for ever.
    pub(super) fn ask(place: &Path, ask: &Ask, patience: Option<Duration>) -> Result<Call, CannotAsk> {
        let cannot = |error: io::Error| CannotAsk::new(place, &error);
        let stream = dial(place).map_err(|errno| cannot(errno.into()))?;
        stream.set_read_timeout(patience).map_err(cannot)?;
        // One that is being refused cannot write; why, it can still read.
        match ask.write(&stream) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(cannot(error)),
            _ => Ok(Call { stream: BufReader::new(stream), line: Vec::new(), place: place.to_owned() }),
        }
    }

    /// The next line of the answer, which must come.
    pub(super) fn next(&mut self) -> Result<Answer, CannotAsk> {
        match self.listen()? {
            Some(answer) => Ok(answer),
            None => Err(CannotAsk::new(&self.place, &ErrorKind::TimedOut.into())),
        }
    }

    /// The next line of the answer; `None` if it does not come in time, and may still come.
    pub(super) fn listen(&mut self) -> Result<Option<Answer>, CannotAsk> {
        let room = (LONGEST_ANSWER - self.line.len()) as u64;
        match self.stream.by_ref().take(room).read_until(b'\n', &mut self.line) {
            Ok(_) if self.line.ends_with(b"\n") => {
                let line = std::mem::take(&mut self.line);
                Answer::read(&line).map(Some).map_err(|error| {
                    self.failed(format!("answers what is not understood here ({error}): use its own `ratoon`"))
                })
            }
            Ok(_) if self.line.len() >= LONGEST_ANSWER => Err(self.failed("answers without end: is it one?".into())),
            Ok(_) => Err(self.failed("hung up before it had answered: its log says why".into())),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(error) => Err(CannotAsk::new(&self.place, &error)),
        }
    }

    /// The process that answers, as the kernel has it; `None` where it is not to be seen from here.
    pub(super) fn supervisor(&self) -> Option<i32> {
        let peer = getsockopt(self.stream.get_ref(), sockopt::PeerCredentials).ok()?;
        Some(peer.pid()).filter(|pid| *pid > 0)
    }

    fn failed(&self, what: String) -> CannotAsk {
        CannotAsk(format!("the supervisor at {} {what}", self.place.display()))
    }
}

/// A connection. Not std's: where the supervisor's queue is full that waits for ever.
fn dial(place: &Path) -> nix::Result<UnixStream> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(AT_ONCE.as_secs() as i64))?;
    loop {
        match connect(socket.as_raw_fd(), &UnixAddr::new(place)?) {
            Err(Errno::EINTR) => {}
            done => return done.map(|()| UnixStream::from(socket)),
        }
    }
}

/// Why nobody could be asked: a sentence that says what to do.
#[derive(Debug)]
pub(super) struct CannotAsk(String);

impl CannotAsk {
    fn new(place: &Path, error: &io::Error) -> CannotAsk {
        let place = place.display();
        CannotAsk(match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => format!(
                "no supervisor answers at {place}: is it running? It opens a control socket where [control] socket or \
                 systemd's RuntimeDirectory= gives it a place; name that with --socket PATH or in RATOON_SOCKET"
            ),
            ErrorKind::PermissionDenied => {
                format!("the supervisor at {place} answers only its own user and root: ask as one of them")
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => format!(
                "the supervisor at {place} has not answered within {} s: it is stopped or stuck, and its log may say why",
                AT_ONCE.as_secs()
            ),
            _ => format!("cannot ask the supervisor at {place}: {error}"),
        })
    }
}

impl fmt::Display for CannotAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
