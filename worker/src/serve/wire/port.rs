//! hyper's end of a wire: it takes what it is granted and writes what it is let, and each chunk is judged as it passes.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Buf;
use hyper::rt::{Read, ReadBufCursor, Write};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use nix::sys::uio::writev;

use super::Wire;

/// A response of at most so many bytes is sent as one piece: cheaper to join than to have the kernel gather.
const SMALL: usize = 1024;

/// hyper's end of a wire.
pub(in crate::serve) struct Port {
    wire: Rc<Wire>,
}

impl Port {
    pub(in crate::serve) fn new(wire: Rc<Wire>) -> Port {
        Port { wire }
    }

    /// Lets these bytes through to hyper, unless they are of a chunked body and no good.
    fn pass(&self, bytes: &[u8], buffer: &mut ReadBufCursor<'_>) -> io::Result<()> {
        if let Some(chunks) = &mut *self.wire.chunks.borrow_mut()
            && let Err(why) = chunks.read(bytes)
        {
            self.wire.stop(why);
            return Err(io::ErrorKind::InvalidData.into());
        }
        buffer.put_slice(bytes);
        self.wire.grant.set(self.wire.grant.get() - bytes.len() as u64);
        Ok(())
    }
}

impl Read for Port {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let wire = &self.wire;
        let granted = wire.grant.get().min(buffer.remaining() as u64) as usize;
        if granted == 0 {
            return Poll::Pending;
        }
        let mut inbound = wire.inbound.borrow_mut();
        if !inbound.is_empty() {
            let piece = granted.min(inbound.len());
            let passed = self.pass(&inbound[..piece], &mut buffer);
            inbound.advance(piece);
            return Poll::Ready(passed);
        }
        let mut scratch = wire.scratch.borrow_mut();
        let granted = granted.min(scratch.len());
        match wire.receive(&mut scratch[..granted]) {
            Ok(None) => Poll::Pending,
            Ok(Some(length)) => Poll::Ready(self.pass(&scratch[..length], &mut buffer)),
            Err(errno) => Poll::Ready(Err(errno.into())),
        }
    }
}

impl Write for Port {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.put(bytes.len(), |socket| send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > SMALL {
            return self.put(length, |socket| writev(socket, parts));
        }
        let mut joined = [0; SMALL];
        let mut end = 0;
        for part in parts {
            joined[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        self.put(length, |socket| send(socket.as_raw_fd(), &joined[..length], MsgFlags::MSG_NOSIGNAL))
    }

    /// Pending once the response is out: hyper must not go on to the next request, which is not its to take.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.wire.body_over.get() {
            return Poll::Ready(Ok(()));
        }
        self.wire.flushed.set(true);
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Port {
    fn put(&self, length: usize, attempt: impl Fn(BorrowedFd<'_>) -> Result<usize, Errno>) -> Poll<io::Result<usize>> {
        if self.wire.muted.get() {
            return Poll::Ready(Ok(length));
        }
        match self.wire.transmit(attempt) {
            Ok(Some(written)) => Poll::Ready(Ok(written)),
            Ok(None) => Poll::Pending,
            Err(errno) => Poll::Ready(Err(errno.into())),
        }
    }
}
