//! A call to the supervisor over its control socket.
//!
//! Owns the connection, and the sentences for what can go wrong with it. Never waits for a supervisor that does not
//! even take the call; how long an answer may take, the caller says.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::control::{Answer, Ask};

/// How long a supervisor may take for what it does at once: it never waits for anybody.
pub(super) const AT_ONCE: Duration = Duration::from_secs(5);

/// See the module's header.
pub(super) struct Call {
    stream: BufReader<UnixStream>,
    place: PathBuf,
}

impl Call {
    /// Asks the supervisor at `place`. The next line of the answer may take as long as `patience`, or for ever.
    pub(super) fn ask(place: &Path, ask: &Ask, patience: Option<Duration>) -> Result<Call, CannotAsk> {
        let cannot = |error: io::Error| CannotAsk::new(place, &error);
        let stream = dial(place).map_err(|errno| cannot(errno.into()))?;
        stream.set_read_timeout(patience).map_err(cannot)?;
        // One that is being refused cannot write; why, it can still read.
        match ask.write(&stream) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(cannot(error)),
            _ => Ok(Call { stream: BufReader::new(stream), place: place.to_owned() }),
        }
    }

    /// The next line of the answer.
    pub(super) fn next(&mut self) -> Result<Answer, CannotAsk> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => Answer::read(&line).map_err(|error| {
                self.failed(format!("answers what is not understood here ({error}): use its own `ratoon`"))
            }),
            Ok(_) => Err(self.failed("hung up before it had answered: its log says why".into())),
            Err(error) => Err(CannotAsk::new(&self.place, &error)),
        }
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
