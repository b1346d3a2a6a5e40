//! Where log lines go: standard error, without ever waiting for whoever reads it.
//!
//! A pipe or a terminal is opened anew, so that our non-blocking flag is ours alone; where that is not allowed, it is
//! asked whether there is room before each piece. A socket is asked not to wait with each line. What is not taken at
//! once is dropped, counted, and reported before the next line that goes through. A regular file is written as it is:
//! it cannot be made not to wait.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::libc::{O_NOCTTY, O_NONBLOCK, PIPE_BUF};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

/// Lines lost and not yet reported, and those lost in this process's whole life.
static LOST: AtomicU64 = AtomicU64::new(0);
static LOST_EVER: AtomicU64 = AtomicU64::new(0);

pub(super) struct Sink {
    way: Way,
    /// Whether the last line went out in part, so that the next must begin with a line end.
    cut: AtomicBool,
}

enum Way {
    /// Standard error as it is.
    Inherited,
    /// Standard error is a pipe or a terminal that may not be opened anew.
    Asked,
    /// Standard error is a socket.
    Socket,
    /// Standard error, opened anew.
    Reopened(File),
}

/// How many lines of this process nobody has taken, ever.
pub fn lost() -> u64 {
    LOST_EVER.load(Ordering::Relaxed)
}

/// Reports what was lost, then writes a line; if either is not taken, it is counted.
pub(super) fn count(report: impl FnOnce(u64) -> bool, write: impl FnOnce() -> bool) {
    let unreported = LOST.swap(0, Ordering::Relaxed);
    let (reported, written) = match unreported {
        0 => (true, write()),
        lost if report(lost) => (true, write()),
        _ => (false, false),
    };
    let more = u64::from(!written);
    LOST_EVER.fetch_add(more, Ordering::Relaxed);
    LOST.fetch_add(more + if reported { 0 } else { unreported }, Ordering::Relaxed);
}

impl Sink {
    pub(super) fn standard_error() -> Sink {
        Sink { way: Way::find(), cut: AtomicBool::new(false) }
    }

    /// Whether the whole line was taken.
    pub(super) fn write_line(&self, line: &[u8]) -> bool {
        if self.cut.swap(false, Ordering::Relaxed) && !self.put_all(b"\n") {
            self.cut.store(true, Ordering::Relaxed);
            return false;
        }
        self.put_all(line)
    }

    fn put(&self, line: &[u8]) -> io::Result<usize> {
        match &self.way {
            Way::Inherited => io::stderr().write(line),
            Way::Asked => {
                let stderr = io::stderr();
                let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut room, PollTimeout::ZERO)? == 0 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                // So much a pipe with room takes without waiting.
                io::stderr().write(&line[..line.len().min(PIPE_BUF)])
            }
            Way::Socket => Ok(send(io::stderr().as_raw_fd(), line, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?),
            Way::Reopened(file) => (&*file).write(line),
        }
    }

    /// The whole line; false if not all of it was taken.
    fn put_all(&self, line: &[u8]) -> bool {
        let mut rest = line;
        while !rest.is_empty() {
            match self.put(rest) {
                Ok(written) if written > 0 => rest = &rest[written.min(rest.len())..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => {
                    self.cut.store(rest.len() < line.len(), Ordering::Relaxed);
                    return false;
                }
            }
        }
        true
    }
}

impl Way {
    fn find() -> Way {
        let Ok(metadata) = std::fs::metadata("/proc/self/fd/2") else {
            return Way::Inherited;
        };
        let kind = metadata.file_type();
        if kind.is_socket() {
            return Way::Socket;
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            return Way::Inherited;
        }
        let anew = OpenOptions::new().append(true).custom_flags(O_NONBLOCK | O_NOCTTY).open("/proc/self/fd/2");
        anew.map_or(Way::Asked, Way::Reopened)
    }
}
