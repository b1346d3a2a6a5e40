//! COPY in both directions, as a writer and a reader.

use std::io::{self, BufRead, Read, Write};
use std::pin::Pin;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio_postgres::{CopyInSink, CopyOutStream};

use super::driver::Driver;
use super::error::Error;

/// So many bytes are gathered before they are sent.
const PIECE: usize = 16 * 1024;

/// Takes what a `COPY … FROM STDIN` reads. Dropped without [`CopyInWriter::finish`],
/// nothing of it is kept, and the connection is given up.
pub struct CopyInWriter<'a> {
    driver: &'a mut Driver,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    gathered: BytesMut,
    is_finished: bool,
}

impl<'a> CopyInWriter<'a> {
    pub(super) fn new(driver: &'a mut Driver, sink: CopyInSink<Bytes>) -> CopyInWriter<'a> {
        CopyInWriter { driver, sink: Box::pin(sink), gathered: BytesMut::new(), is_finished: false }
    }

    /// Ends the COPY; the number of rows it has brought.
    ///
    /// # Errors
    /// What the server objects to in the rows, or that it could not be asked.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.send()?;
        let CopyInWriter { driver, sink, is_finished, .. } = &mut self;
        let rows = driver.run(sink.as_mut().finish())?;
        *is_finished = true;
        Ok(rows)
    }

    fn send(&mut self) -> Result<(), Error> {
        let CopyInWriter { driver, sink, gathered, .. } = self;
        match gathered.is_empty() {
            true => Ok(()),
            false => driver.run(sink.send(gathered.split().freeze())),
        }
    }
}

/// A COPY that has failed, or was not finished, ends with its connection: the engine has asked twice for an answer, and how
/// many come depends on the moment at which the server gave up.
impl Drop for CopyInWriter<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.driver.abandon();
        }
    }
}

impl Write for CopyInWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gathered.len() >= PIECE {
            self.flush()?;
        }
        self.gathered.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(io::Error::other)
    }
}

/// Yields what a `COPY … TO STDOUT` writes.
pub struct CopyOutReader<'a> {
    driver: &'a mut Driver,
    stream: Pin<Box<CopyOutStream>>,
    piece: Bytes,
}

impl<'a> CopyOutReader<'a> {
    pub(super) fn new(driver: &'a mut Driver, stream: CopyOutStream) -> CopyOutReader<'a> {
        CopyOutReader { driver, stream: Box::pin(stream), piece: Bytes::new() }
    }
}

impl Read for CopyOutReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let length = piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&piece[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for CopyOutReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let CopyOutReader { driver, stream, piece } = self;
        while piece.is_empty() {
            match driver.run(async { stream.next().await.transpose() }).map_err(io::Error::other)? {
                Some(next) => *piece = next,
                None => break,
            }
        }
        Ok(piece)
    }

    fn consume(&mut self, length: usize) {
        self.piece.advance(length);
    }
}
