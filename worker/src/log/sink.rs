//! Where log lines go: standard error, without ever waiting for whoever reads it.
//!
//! A pipe or a terminal is opened anew, so that our non-blocking flag is ours alone; where that is not allowed, it is
//! asked whether there is room before each piece. A socket is asked not to wait with each line. What is not taken at
//! once is dropped, counted, and reported before the next line that goes through. A regular file is written as it is:
//! it cannot be made not to wait.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::libc::{O_NOCTTY, O_NONBLOCK, PIPE_BUF};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use tracing_subscriber::fmt::MakeWriter;

static LOST: AtomicU64 = AtomicU64::new(0);
/// Whether the last line went out in part, so that the next must begin with a line end.
static CUT: AtomicBool = AtomicBool::new(false);

pub(super) struct Sink {
    way: Way,
    report: fn(u64) -> String,
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

/// Whether standard error is the socket of the journal, which says so in the environment by device and inode.
pub(super) fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let named = named.as_deref().and_then(|named| named.split_once(':'));
    let actual = std::fs::metadata("/proc/self/fd/2").ok();
    named.zip(actual).is_some_and(|((device, inode), actual)| {
        device.parse() == Ok(actual.dev()) && inode.parse() == Ok(actual.ino())
    })
}

impl Sink {
    /// `report` makes the line that says how many were lost.
    pub(super) fn standard_error(report: fn(u64) -> String) -> Sink {
        Sink { way: Way::find(), report }
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
                    CUT.store(rest.len() < line.len(), Ordering::Relaxed);
                    return false;
                }
            }
        }
        true
    }

    fn write_line(&self, line: &[u8]) {
        if CUT.swap(false, Ordering::Relaxed) && !self.put_all(b"\n") {
            CUT.store(true, Ordering::Relaxed);
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let lost = LOST.swap(0, Ordering::Relaxed);
        if lost > 0 && !self.put_all((self.report)(lost).as_bytes()) {
            LOST.fetch_add(lost + 1, Ordering::Relaxed);
            return;
        }
        if !self.put_all(line) {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
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

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { sink: self }
    }
}

/// One line on its way; the subscriber writes each as one piece.
pub(super) struct Line<'a> {
    sink: &'a Sink,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.sink.write_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
