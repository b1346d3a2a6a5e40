//! The body of a request or a response: bytes, a file, a repeated piece, or anything that can be read.
//!
//! A request's body is whole before the handler sees it and is bytes or a file, so it can be read and sought. A
//! response's body is taken to the client piece by piece: bytes, files and repeated pieces by the worker's loop while
//! the worker already serves others, a reader by the worker itself, which serves nobody else meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::panics::{Panicked, contain};
use crate::serve::disk::DiskShare;

/// How much of a file or a reader is held at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// The body of a request or a response. Never held whole in memory unless it is bytes.
///
/// ```
/// use ratoon_worker::Body;
/// use std::io::{Read, Seek, SeekFrom};
///
/// let mut body = Body::from("seven bytes more");
/// body.seek(SeekFrom::Start(6)).unwrap();
/// let mut rest = String::new();
/// body.read_to_string(&mut rest).unwrap();
/// assert_eq!(rest, "bytes more");
/// ```
pub struct Body {
    content: Content,
}

enum Content {
    Bytes { all: Bytes, position: u64 },
    File { file: File, start: u64, position: u64, end: u64, _share: Option<DiskShare> },
    Repeat { piece: Bytes, left: u64 },
    Reader { reader: Guest, left: Option<u64> },
}

impl Body {
    /// No bytes at all.
    pub fn empty() -> Body {
        Body::from(Bytes::new())
    }

    /// What `file` holds from its present position to its present end.
    ///
    /// # Errors
    /// If the position or the length cannot be found out, as with a pipe: [`Body::reader`] takes those.
    pub fn file(mut file: File) -> io::Result<Body> {
        let start = file.stream_position()?;
        let end = file.metadata()?.len().max(start);
        Ok(Body { content: Content::File { file, start, position: start, end, _share: None } })
    }

    /// What `reader` yields until its end. The worker that produced the response reads it and serves nobody else
    /// until it is sent or `request_timeout` has passed; an error or a panic in it breaks the connection off, for the
    /// status has long been sent.
    pub fn reader(reader: impl Read + 'static) -> Body {
        Body { content: Content::Reader { reader: Guest::new(reader), left: None } }
    }

    /// Like [`Body::reader`] for a reader that yields exactly `length` bytes, which the client is told beforehand.
    /// A reader that ends earlier breaks the connection off; what it yields beyond is not sent.
    pub fn sized_reader(reader: impl Read + 'static, length: u64) -> Body {
        Body { content: Content::Reader { reader: Guest::new(reader), left: Some(length) } }
    }

    /// `length` bytes: `piece` again and again, the last time cut short. An empty piece makes an empty body.
    pub fn repeat(piece: impl Into<Bytes>, length: u64) -> Body {
        let piece = piece.into();
        let left = if piece.is_empty() { 0 } else { length };
        Body { content: Content::Repeat { piece, left } }
    }

    /// How many bytes are left, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match &self.content {
            Content::Bytes { all, position } => Some(all.len() as u64 - position),
            Content::File { position, end, .. } => Some(end.saturating_sub(*position)),
            Content::Repeat { left, .. } => Some(*left),
            Content::Reader { left, .. } => *left,
        }
    }

    /// All that is left of it, in memory; without copying if it is bytes.
    ///
    /// # Errors
    /// What reading the file or the reader says.
    pub fn into_bytes(mut self) -> io::Result<Bytes> {
        if let Content::Bytes { all, position } = &self.content {
            return Ok(all.slice(*position as usize..));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// An uploaded body in an unlinked file, with the disk space it accounts for.
    pub(crate) fn spooled(file: File, length: u64, share: DiskShare) -> Body {
        Body { content: Content::File { file, start: 0, position: 0, end: length, _share: Some(share) } }
    }

    /// Whether the application's own code runs when this is read.
    pub(crate) fn needs_the_application(&self) -> bool {
        matches!(self.content, Content::Reader { .. })
    }

    /// The next piece, of at most [`PIECE`] bytes unless it is at hand anyway; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.remaining() == Some(0) {
            return Ok(None);
        }
        if let Content::Bytes { all, position } = &mut self.content {
            let rest = all.slice(*position as usize..);
            *position = all.len() as u64;
            return Ok(Some(rest));
        }
        if let Content::Repeat { piece, left } = &mut self.content {
            let taken = (*left).min(piece.len() as u64);
            *left -= taken;
            return Ok(Some(piece.slice(..taken as usize)));
        }
        let mut piece = vec![0; self.remaining().map_or(PIECE, |left| left.min(PIECE as u64) as usize)];
        let got = self.read(&mut piece)?;
        if got == 0 {
            return match self.remaining() {
                None => Ok(None),
                Some(missing) => Err(short_by(missing)),
            };
        }
        piece.truncate(got);
        Ok(Some(piece.into()))
    }
}

fn short_by(missing: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the body ended {missing} bytes before its announced length"))
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.remaining().map_or(buffer.len(), |left| (buffer.len() as u64).min(left) as usize);
        let buffer = &mut buffer[..wanted];
        match &mut self.content {
            Content::Bytes { all, position } => {
                let start = *position as usize;
                buffer.copy_from_slice(&all[start..start + wanted]);
                *position += wanted as u64;
                Ok(wanted)
            }
            Content::File { file, position, .. } => {
                let got = file.read_at(buffer, *position)?;
                *position += got as u64;
                Ok(got)
            }
            Content::Repeat { piece, left } => {
                let got = wanted.min(piece.len());
                buffer[..got].copy_from_slice(&piece[..got]);
                *left -= got as u64;
                Ok(got)
            }
            Content::Reader { reader, left } => {
                let got = reader.read(buffer)?.min(wanted);
                *left = left.map(|left| left - got as u64);
                Ok(got)
            }
        }
    }
}

/// The application's own reader. It is called, and dropped, from inside the loop, where none of its panics may pass.
struct Guest(Option<Box<dyn Read>>);

impl Guest {
    fn new(reader: impl Read + 'static) -> Guest {
        Guest(Some(Box::new(reader)))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = &mut self.0 else { return Ok(0) };
        loop {
            match contain(|| reader.read(buffer)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(answer) => return answer,
                Err(Panicked) => return Err(io::Error::other("the reader panicked")),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let reader = self.0.take();
        // The panic has had its words in the log; nothing is left that could go wrong with the reader.
        let _ = contain(|| drop(reader));
    }
}

/// Bytes and files only, which is what a request's body is; anything else is [`io::ErrorKind::Unsupported`].
impl Seek for Body {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (start, position, end) = match &mut self.content {
            Content::Bytes { all, position } => (0, position, all.len() as u64),
            Content::File { start, position, end, .. } => (*start, position, *end),
            Content::Repeat { .. } | Content::Reader { .. } => {
                return Err(io::ErrorKind::Unsupported.into());
            }
        };
        let wanted = match to {
            SeekFrom::Start(offset) => start.checked_add(offset),
            SeekFrom::End(offset) => end.checked_add_signed(offset),
            SeekFrom::Current(offset) => position.checked_add_signed(offset),
        };
        match wanted {
            Some(wanted) if wanted >= start => {
                *position = wanted.min(end);
                Ok(*position - start)
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "a body begins at 0")),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.get_mut().next().transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl From<Bytes> for Body {
    fn from(all: Bytes) -> Body {
        Body { content: Content::Bytes { all, position: 0 } }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Body {
        Bytes::from_static(bytes).into()
    }
}

impl Default for Body {
    fn default() -> Body {
        Body::empty()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.content {
            Content::Bytes { .. } => "bytes",
            Content::File { .. } => "file",
            Content::Repeat { .. } => "repeat",
            Content::Reader { .. } => "reader",
        };
        f.debug_struct("Body").field("kind", &kind).field("remaining", &self.remaining()).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pieces(mut body: Body) -> io::Result<Vec<usize>> {
        let mut lengths = Vec::new();
        while let Some(piece) = body.next()? {
            lengths.push(piece.len());
        }
        Ok(lengths)
    }

    #[test]
    fn a_repeated_piece_yields_exactly_its_length() {
        assert_eq!(pieces(Body::repeat("abcd", 10)).unwrap(), [4, 4, 2]);
        assert_eq!(pieces(Body::repeat("", 10)).unwrap(), [0; 0]);
    }

    #[test]
    fn a_file_is_read_from_its_position_and_sought_within_its_bounds() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"0123456789").unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        let mut body = Body::file(file).unwrap();
        assert_eq!(body.remaining(), Some(6));
        assert_eq!(body.seek(SeekFrom::End(-2)).unwrap(), 4);
        assert_eq!(&body.into_bytes().unwrap()[..], b"89");
    }

    #[test]
    fn a_reader_that_ends_before_its_announced_length_is_an_error() {
        let error = pieces(Body::sized_reader(&b"abc"[..], 5)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(pieces(Body::sized_reader(&b"abcdefgh"[..], 5)).unwrap(), [5]);
        assert_eq!(pieces(Body::reader(&b"abc"[..])).unwrap(), [3]);
    }

    #[test]
    fn a_reader_that_panics_is_an_error() {
        struct Rude;
        impl Read for Rude {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("no")
            }
        }
        assert_eq!(pieces(Body::reader(Rude)).unwrap_err().to_string(), "the reader panicked");
    }
}
