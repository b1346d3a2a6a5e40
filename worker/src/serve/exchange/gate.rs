//! hyper's end of a wire, where the chunks of a body are judged as they pass.
//!
//! A bad one is kept from hyper: it sees an error, and the refusal is left here. Everything else goes through untouched.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::chunks::ChunkReader;
use crate::serve::refusal::Refusal;
use crate::serve::wire::Port;

/// How much of a chunked body passes at a time, in bytes.
const PIECE: usize = 16 * 1024;

pub(super) struct Gate {
    pub(super) port: Port,
    /// Of a body that is chunked.
    pub(super) chunks: Option<ChunkReader>,
    /// Why the body was stopped.
    pub(super) refusal: Rc<Cell<Option<Refusal>>>,
}

impl Gate {
    fn port(self: Pin<&mut Self>) -> Pin<&mut Port> {
        Pin::new(&mut self.get_mut().port)
    }
}

impl Read for Gate {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Gate { port, chunks, refusal } = self.get_mut();
        let Some(chunks) = chunks else {
            return Pin::new(port).poll_read(context, buffer);
        };
        let mut piece = [0; PIECE];
        let room = buffer.remaining().min(PIECE);
        let mut passing = ReadBuf::new(&mut piece[..room]);
        ready!(Pin::new(port).poll_read(context, passing.unfilled()))?;
        if let Err(why) = chunks.read(passing.filled()) {
            refusal.set(Some(why));
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        buffer.put_slice(passing.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Gate {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.port().poll_write(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.port.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.port().poll_write_vectored(context, parts)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port().poll_shutdown(context)
    }
}
