//! One captured stream: bytes into lines that say whose they are.
//!
//! Owns the end of the pipe and the line that has begun. A line of more than 64 KiB comes in parts, each marked; what is no
//! UTF-8 is shown as far as it goes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratoon_worker::log::Said;
use serde_json::Value;
use tracing::Level;

use super::words::{Output, Source};

/// No part of a line is longer, in bytes.
const LONGEST: usize = 64 << 10;

/// See the module's header.
pub(super) struct Stream {
    source: Source,
    pipe: File,
    line: Line,
}

/// The line that has begun.
#[derive(Debug, Default)]
struct Line {
    begun: Vec<u8>,
    /// How many parts of it have been passed on.
    parts: u32,
}

/// A line, or a part of one.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    text: String,
    /// Which part of its line, if there are several, and whether more follow.
    part: Option<(u32, bool)>,
}

impl Stream {
    pub(super) fn new(source: Source, pipe: OwnedFd) -> Stream {
        Stream { source, pipe: File::from(pipe), line: Line::default() }
    }

    pub(super) fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Whether there is something to be read now.
    pub(super) fn has_more(&self) -> bool {
        let mut asked = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut asked, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Reads once; false if it has ended. `tell` is given the pool and each line.
    pub(super) fn read(&mut self, scratch: &mut [u8], mut tell: impl FnMut(&str, Said)) -> bool {
        let count = match self.pipe.read(scratch) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return true,
            Err(_) => 0,
        };
        if count == 0 {
            if let Some((pool, said)) = self.rest() {
                tell(&pool, said);
            }
            return false;
        }
        let Stream { source, line, .. } = self;
        line.add(&scratch[..count], |piece| tell(&source.pool, said(source, piece)));
        true
    }

    /// What has begun and will not be ended.
    pub(super) fn rest(&mut self) -> Option<(String, Said)> {
        let piece = self.line.end()?;
        Some((self.source.pool.clone(), said(&self.source, piece)))
    }
}

impl Line {
    fn add(&mut self, bytes: &[u8], mut tell: impl FnMut(Piece)) {
        let mut pieces = bytes.split_inclusive(|byte| *byte == b'\n');
        for piece in pieces.by_ref() {
            let (text, is_whole) = match piece {
                [text @ .., b'\n'] => (text, true),
                text => (text, false),
            };
            self.begun.extend(text);
            while self.begun.len() > LONGEST {
                let cut = boundary(&self.begun);
                let rest = self.begun.split_off(cut);
                let text = std::mem::replace(&mut self.begun, rest);
                self.parts += 1;
                tell(Piece { text: lossy(&text), part: Some((self.parts, true)) });
            }
            if is_whole {
                tell(self.take());
            }
        }
    }

    fn end(&mut self) -> Option<Piece> {
        (!self.begun.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> Piece {
        let Line { begun, parts } = std::mem::take(self);
        Piece { text: lossy(&begun), part: (parts > 0).then_some((parts + 1, false)) }
    }
}

/// Where a line that is too long is cut: not within a character.
fn boundary(line: &[u8]) -> usize {
    let is_inside = |place: &usize| line[*place] & 0b1100_0000 == 0b1000_0000;
    (LONGEST - 3..=LONGEST).rev().find(|place| !is_inside(place)).unwrap_or(LONGEST)
}

fn lossy(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line).into_owned()
}

fn said(source: &Source, piece: Piece) -> Said {
    let mut identity: Vec<(&'static str, Value)> = vec![("pool", source.pool.clone().into())];
    identity.extend(source.worker.map(|worker| ("worker", worker.into())));
    identity.extend(source.generation.map(|generation| ("gen", generation.into())));
    identity.push(("pid", source.pid.into()));
    let stream = match source.stream {
        Output::Stdout => "stdout",
        Output::Stderr => "stderr",
    };
    let mut rest: Vec<(&'static str, Value)> = vec![("stream", stream.into())];
    if let Some((part, more)) = piece.part {
        rest.push(("part", part.into()));
        rest.extend(more.then_some(("more", true.into())));
    }
    Said { identity, message: piece.text, rest, ..Said::new(Level::INFO) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(chunks: &[&[u8]]) -> Vec<(usize, Option<(u32, bool)>)> {
        let (mut line, mut found) = (Line::default(), Vec::new());
        for chunk in chunks {
            line.add(chunk, |piece| found.push((piece.text.len(), piece.part)));
        }
        found.extend(line.end().map(|piece| (piece.text.len(), piece.part)));
        found
    }

    #[test]
    fn lines_are_lines_however_they_arrive() {
        assert_eq!(pieces(&[b"one\ntw", b"o\r\n\nthree"]), [(3, None), (3, None), (0, None), (5, None)]);
        assert_eq!(pieces(&[b""]), []);
    }

    #[test]
    fn a_line_of_64_kib_is_whole_and_a_longer_one_comes_in_marked_parts() {
        let long = |length: usize| [vec![b'x'; length], b"\n".to_vec()].concat();
        assert_eq!(pieces(&[&long(LONGEST)]), [(LONGEST, None)]);
        assert_eq!(pieces(&[&long(LONGEST + 1)]), [(LONGEST, Some((1, true))), (1, Some((2, false)))]);
        let twice = [(LONGEST, Some((1, true))), (LONGEST, Some((2, true))), (9, Some((3, false)))];
        assert_eq!(pieces(&[&long(2 * LONGEST + 9), b"next\n"])[..3], twice);
    }

    #[test]
    fn no_character_is_cut() {
        let line = "€".repeat(LONGEST / 3 + 10);
        assert_eq!(pieces(&[line.as_bytes()]), [(LONGEST - 1, Some((1, true))), (30, Some((2, false)))]);
    }
}
