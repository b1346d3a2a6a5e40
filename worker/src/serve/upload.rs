//! The body of a request on its way in: in memory up to `body_memory`, beyond that in an unlinked file.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::disk::{Disk, DiskShare};
use super::refusal::Refusal;
use crate::body::Body;

/// What bounds a body.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Of a body; longer ones are refused by what is announced, before they arrive.
    pub(super) longest: u64,
    pub(super) memory: u64,
    pub(super) directory: PathBuf,
    pub(super) disk: Rc<Disk>,
}

/// A body on its way in.
#[derive(Debug)]
pub(super) struct Upload {
    length: u64,
    store: Store,
}

#[derive(Debug)]
enum Store {
    /// Nothing yet, or all of it in one piece, as most bodies come.
    Piece(Bytes),
    Memory(BytesMut),
    File(File, DiskShare),
}

impl Upload {
    pub(super) fn new() -> Upload {
        Upload { length: 0, store: Store::Piece(Bytes::new()) }
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// 503 if there is no room on the disk.
    pub(super) fn add(&mut self, piece: Bytes, bounds: &Bounds) -> Result<(), Refusal> {
        self.length += piece.len() as u64;
        if self.length > bounds.memory && !matches!(self.store, Store::File(..)) {
            self.spill(bounds)?;
        }
        match &mut self.store {
            Store::Piece(present) if present.is_empty() => *present = piece,
            Store::Piece(present) => {
                let mut memory = BytesMut::with_capacity((present.len() + piece.len()) * 2);
                memory.extend_from_slice(present);
                memory.extend_from_slice(&piece);
                self.store = Store::Memory(memory);
            }
            Store::Memory(memory) => memory.extend_from_slice(&piece),
            Store::File(file, share) => {
                if !share.cover(self.length) {
                    return Err(no_room("too many large bodies at the same time"));
                }
                write(file, &piece)?;
            }
        }
        Ok(())
    }

    pub(super) fn is_in_file(&self) -> bool {
        matches!(self.store, Store::File(..))
    }

    /// The whole body, to be read from its beginning.
    pub(super) fn finish(self) -> Body {
        match self.store {
            Store::Piece(all) => all.into(),
            Store::Memory(all) => all.freeze().into(),
            Store::File(file, share) => Body::spooled(file, self.length, share),
        }
    }

    fn spill(&mut self, bounds: &Bounds) -> Result<(), Refusal> {
        let mut file = tempfile::tempfile_in(&bounds.directory).map_err(|error| {
            tracing::error!(directory = %bounds.directory.display(), %error, "cannot create a file for a large body");
            no_room("large bodies cannot be stored at the moment")
        })?;
        match &self.store {
            Store::Piece(present) => write(&mut file, present)?,
            Store::Memory(present) => write(&mut file, present)?,
            Store::File(..) => {}
        }
        self.store = Store::File(file, DiskShare::none(&bounds.disk));
        Ok(())
    }
}

pub(super) fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than this server takes")
}

fn no_room(why: &'static str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn write(file: &mut File, piece: &[u8]) -> Result<(), Refusal> {
    file.write_all(piece).map_err(|error| {
        tracing::error!(%error, "cannot store a large body");
        no_room("large bodies cannot be stored at the moment")
    })
}
