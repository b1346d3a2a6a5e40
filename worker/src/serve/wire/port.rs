//! hyper's end of a wire: it takes what it is granted and writes what it is let, and each chunk is judged as it passes.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Buf;
use hyper::rt::{Read, ReadBufCursor, Write};
use nix::errno::Errno;
use nix::sys::uio::writev;
use nix::unistd::write;

use super::Wire;
use crate::serve::chunks::ChunkReader;

/// hyper's end of a wire.
pub(in crate::serve) struct Port {
    wire: Rc<Wire>,
    /// Judges the body as it passes, if it is chunked.
    chunks: Option<ChunkReader>,
}

impl Port {
    pub(in crate::serve) fn new(wire: Rc<Wire>, chunks: Option<ChunkReader>) -> Port {
        Port { wire, chunks }
    }

    /// Lets these bytes through to hyper, unless they are of a chunked body and no good.
    fn pass(&mut self, bytes: &[u8], buffer: &mut ReadBufCursor<'_>) -> io::Result<()> {
        if let Some(chunks) = &mut self.chunks
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
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let wire = self.wire.clone();
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
        self.put(bytes.len(), |socket| write(socket, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = parts.iter().map(|part| part.len()).sum();
        self.put(length, |socket| match parts {
            [one] => write(socket, one),
            parts => writev(socket, parts),
        })
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
