//! A chunked body, judged from its raw bytes before hyper decodes it.
//!
//! This is where we are as strict as RFC 9112, 7.1 asks and hyper is not: line ends, the grammar of extensions and
//! trailers, white space after a size; and where a chunk is refused for its length before it has arrived. What
//! extensions and trailers say is nobody's business: they are dropped. Owns no socket, holds no data.

use http::StatusCode;

use super::head::{field, is_text, is_token, trim_start};
use super::refusal::Refusal;
use super::upload;

/// What the extensions and trailers of one body may come to, in bytes; hyper bounds each of them at twice as much.
const EXTRAS: usize = 8 * 1024;
/// How much of a size line is the size itself: 64 bits.
const DIGITS: usize = 16;
/// What a trailer counts for at least, in bytes: so that there are fewer than the 100 that hyper takes.
const TRAILER: usize = 100;

#[derive(Debug)]
pub(super) struct ChunkReader {
    expects: Expects,
    /// What has arrived of a line.
    line: Vec<u8>,
    /// How long the body may yet become.
    room: u64,
    /// How long extensions and trailers may yet become.
    extras: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// So much of the request's head.
    Head(usize),
    Size,
    /// So much of a chunk.
    Data(u64),
    /// The line end behind a chunk.
    DataEnd,
    Trailer,
    /// The next request, which is not judged here.
    Nothing,
}

impl ChunkReader {
    /// The head comes first, and is let through.
    pub(super) fn new(head: usize, longest: u64) -> ChunkReader {
        ChunkReader { expects: Expects::Head(head), line: Vec::new(), room: longest, extras: EXTRAS }
    }

    /// Judges what has arrived since it was last asked.
    ///
    /// # Errors
    /// The refusal it deserves, as soon as that is certain.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while let [byte, rest @ ..] = bytes {
            bytes = match self.expects {
                Expects::Head(left) => {
                    let length = left.min(bytes.len());
                    self.expects = if length == left { Expects::Size } else { Expects::Head(left - length) };
                    &bytes[length..]
                }
                Expects::Data(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let left = left - length as u64;
                    self.expects = if left == 0 { Expects::DataEnd } else { Expects::Data(left) };
                    &bytes[length..]
                }
                Expects::Nothing => return Ok(()),
                Expects::Size | Expects::DataEnd | Expects::Trailer => {
                    self.add(*byte)?;
                    rest
                }
            };
        }
        Ok(())
    }

    fn add(&mut self, byte: u8) -> Result<(), Refusal> {
        match (self.line.last(), byte) {
            (Some(b'\r'), b'\n') => {
                self.line.pop();
                self.expects = self.end_of_line()?;
                self.line.clear();
                return Ok(());
            }
            (Some(b'\r'), _) => return Err(Refusal::bad("a carriage return that does not end a line")),
            (_, b'\r') => {}
            (_, b'\n') => return Err(Refusal::bad("a line ends without a carriage return")),
            _ if self.expects == Expects::DataEnd => return Err(Refusal::bad("a chunk longer than its size")),
            _ if !is_text(byte) => return Err(Refusal::bad("a control character between chunks")),
            _ if self.line.len() == self.extras + DIGITS => return Err(too_much()),
            _ => {}
        }
        self.line.push(byte);
        Ok(())
    }

    /// What follows the line that is now whole.
    fn end_of_line(&mut self) -> Result<Expects, Refusal> {
        match self.expects {
            Expects::Size => {
                let digits = self.line.iter().take(DIGITS).take_while(|byte| byte.is_ascii_hexdigit()).count();
                self.take_extras(self.line.len() - digits)?;
                let size = size(&self.line).ok_or(Refusal::bad("a malformed chunk size"))?;
                self.room = self.room.checked_sub(size).ok_or(upload::too_large())?;
                Ok(if size == 0 { Expects::Trailer } else { Expects::Data(size) })
            }
            Expects::Trailer if self.line.is_empty() => Ok(Expects::Nothing),
            Expects::Trailer => {
                self.take_extras(self.line.len().max(TRAILER))?;
                field(&self.line).map(|_| Expects::Trailer)
            }
            Expects::DataEnd => Ok(Expects::Size),
            other => Ok(other),
        }
    }

    fn take_extras(&mut self, length: usize) -> Result<(), Refusal> {
        self.extras = self.extras.checked_sub(length).ok_or(too_much())?;
        Ok(())
    }
}

fn too_much() -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "longer chunk extensions or trailers than this server takes",
    )
}

/// The size that a chunk's first line gives it, if the whole line is as it must be.
fn size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, mut rest) = line.split_at(end);
    while !rest.is_empty() {
        rest = after_extension(rest)?;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// One extension: a name, and perhaps a value; with white space that ought not to be there but may.
fn after_extension(line: &[u8]) -> Option<&[u8]> {
    let (name, rest) = split_token(trim_start(trim_start(line).strip_prefix(b";")?));
    if name.is_empty() {
        return None;
    }
    let Some(value) = trim_start(rest).strip_prefix(b"=").map(trim_start) else {
        return Some(rest);
    };
    match value {
        [b'"', quoted @ ..] => after_quoted(quoted),
        _ => match split_token(value) {
            ([], _) => None,
            (_, rest) => Some(rest),
        },
    }
}

fn split_token(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !is_token(&[*byte])).unwrap_or(text.len());
    text.split_at(end)
}

/// What follows the quotation mark that ends a quoted string.
fn after_quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', _, rest @ ..] | [_, rest @ ..] => rest,
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests;
