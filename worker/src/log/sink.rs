//! Where log lines go: standard error, without ever waiting for whoever reads it.
//!
//! A pipe or a terminal is opened anew, so that our non-blocking flag is ours alone; a socket is asked not to wait with
//! each line. What it does not take at once is dropped, counted, and reported with the next line that goes through.
//! A regular file is written as it is: it cannot be made not to wait.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::sys::socket::{MsgFlags, send};
use tracing_subscriber::fmt::MakeWriter;

static LOST: AtomicU64 = AtomicU64::new(0);

pub(super) enum Sink {
    /// Standard error as it is.
    Inherited,
    /// Standard error is a socket.
    Socket,
    /// Standard error, opened anew.
    Reopened(File),
}

impl Sink {
    pub(super) fn standard_error() -> Sink {
        let Ok(metadata) = std::fs::metadata("/proc/self/fd/2") else {
            return Sink::Inherited;
        };
        let kind = metadata.file_type();
        if kind.is_socket() {
            return Sink::Socket;
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            return Sink::Inherited;
        }
        OpenOptions::new()
            .append(true)
            .custom_flags(O_NONBLOCK | O_NOCTTY)
            .open("/proc/self/fd/2")
            .map_or(Sink::Inherited, Sink::Reopened)
    }

    fn put(&self, line: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Inherited => io::stderr().write(line),
            Sink::Socket => Ok(send(io::stderr().as_raw_fd(), line, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?),
            Sink::Reopened(file) => (&*file).write(line),
        }
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
        let lost = LOST.swap(0, Ordering::Relaxed);
        if lost > 0 && self.sink.put(format!("{lost} log lines lost: nobody took them\n").as_bytes()).is_err() {
            LOST.fetch_add(lost, Ordering::Relaxed);
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.sink.put(rest) {
                Ok(written) if written > 0 => rest = &rest[written.min(rest.len())..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    LOST.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
