//! hyper's machine: made for a connection's first request, kept for the next ones while it is empty between them.
//!
//! A machine at rest holds nothing of the connection: what arrived stays with the wire. So it can be dropped at any
//! moment between requests, and only some are kept: a connection among many is a socket and nothing else.

use std::cell::Cell;
use std::rc::Rc;

use hyper::server::conn::http1::{Builder, Connection as Machine};

use super::letters::{LetterBox, Letters};
use crate::serve::wire::{Port, Wire};

/// The least that hyper accepts as the size of its buffers, doubled: large enough that a response of some kilobytes
/// leaves in one piece.
const BUFFER: usize = 16 * 1024;
/// How many machines at rest a worker keeps; each has some 18 KiB of buffers.
const KEPT: usize = 64;

/// Where machines are made, and how many are at rest.
pub(in crate::serve) struct Engines {
    builder: Builder,
    at_rest: Rc<Cell<usize>>,
}

/// A machine, and where it leaves a request and finds the response.
pub(in crate::serve) struct Engine {
    pub(super) machine: Machine<Port, LetterBox>,
    pub(super) letters: Rc<Letters>,
}

/// A machine at rest.
pub(in crate::serve) struct AtRest {
    engine: Option<Box<Engine>>,
    count: Rc<Cell<usize>>,
}

impl Engines {
    pub(in crate::serve) fn new(longest_head: usize) -> Engines {
        let mut builder = Builder::new();
        builder.half_close(true).max_buf_size(BUFFER.max(longest_head + BUFFER));
        Engines { builder, at_rest: Rc::default() }
    }

    pub(super) fn make(&self, wire: &Rc<Wire>) -> Box<Engine> {
        let letters = Rc::new(Letters::default());
        let port = Port::new(wire.clone());
        Box::new(Engine { machine: self.builder.serve_connection(port, LetterBox(letters.clone())), letters })
    }

    /// Keeps a machine for its connection's next request, unless enough are kept.
    pub(in crate::serve) fn keep(&self, engine: Box<Engine>) -> Option<AtRest> {
        if self.at_rest.get() >= KEPT {
            return None;
        }
        self.at_rest.set(self.at_rest.get() + 1);
        Some(AtRest { engine: Some(engine), count: self.at_rest.clone() })
    }
}

impl AtRest {
    pub(super) fn wake(mut self) -> Option<Box<Engine>> {
        self.engine.take()
    }
}

impl Drop for AtRest {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
    }
}
