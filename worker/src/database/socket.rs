//! A non-blocking socket to the server, as an engine that knows of no runtime reads and writes it.
//!
//! Makes a system call only where there is hope: it is not read again before somebody has seen that it is readable, and
//! notes when it takes no more. Waiting for either is the business of [`super::drive`].

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use nix::unistd::read;
use std::os::fd::AsRawFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So many bytes are read at most, however many are there, before whoever waits looks at the clock again.
const PIECE: usize = 1 << 20;
/// So many bytes are read with one system call at most.
const SCRATCH: usize = 64 * 1024;

/// A connected stream socket in non-blocking mode.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: Rc<OwnedFd>,
    readiness: Readiness,
    /// Where the kernel writes: an engine's buffer would have to be cleared before each read.
    scratch: Box<[u8]>,
}

/// What is known of a socket without asking the kernel, shared by it and whoever waits for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Rc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// There may be something to read.
    readable: Cell<bool>,
    /// It has refused to take more.
    full: Cell<bool>,
    /// So many bytes may still be read before somebody looks at the clock.
    granted: Cell<usize>,
}

impl Readiness {
    /// Somebody has seen that there is something to read, or wants to look.
    pub(crate) fn set_readable(&self) {
        self.0.readable.set(true);
    }

    /// The clock has been looked at: another piece may be read.
    pub(crate) fn grant(&self) {
        self.0.granted.set(PIECE);
    }

    /// There is room again.
    pub(crate) fn set_writable(&self) {
        self.0.full.set(false);
    }

    /// Whether the next step waits for room.
    pub(crate) fn is_full(&self) -> bool {
        self.0.full.get()
    }
}

impl Socket {
    /// The socket must be in non-blocking mode.
    pub(crate) fn new(descriptor: OwnedFd) -> Socket {
        let scratch = vec![0; SCRATCH].into_boxed_slice();
        Socket { descriptor: Rc::new(descriptor), readiness: Readiness::default(), scratch }
    }

    /// What is known of it.
    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// The descriptor, for whoever waits for it or passes it on.
    pub(crate) fn descriptor(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.descriptor)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Socket { descriptor, readiness, scratch } = &mut *self;
        let known = &readiness.0;
        if !known.readable.get() {
            return Poll::Pending;
        }
        if known.granted.get() == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = scratch.len().min(buffer.remaining());
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match read(&*descriptor, &mut scratch[..room]) {
                Ok(length) => {
                    // What comes after a short read is found by the next poll; an end is readable for ever.
                    known.readable.set(length == room || length == 0);
                    known.granted.set(known.granted.get().saturating_sub(length));
                    buffer.put_slice(&scratch[..length]);
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    known.readable.set(false);
                    return Poll::Pending;
                }
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match send(self.descriptor.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(length) => return Poll::Ready(Ok(length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.readiness.0.full.set(true);
                    return Poll::Pending;
                }
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match shutdown(self.descriptor.as_raw_fd(), Shutdown::Write) {
            Ok(()) | Err(Errno::ENOTCONN) => Poll::Ready(Ok(())),
            Err(errno) => Poll::Ready(Err(errno.into())),
        }
    }
}
