//! The lobby: what the workers of a pool share to lease connections. Board, queue and bell, made and held by the
//! supervisor, and given to each generation that has the same database.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::bell::Bell;
use super::board::Board;
use super::queue::Queue;
use crate::sys::shared::Shared;

/// See the module's header.
#[derive(Debug)]
pub struct Lobby {
    pub(super) board: Shared<Board>,
    pub(super) queue: Queue,
    pub(super) bell: Bell,
}

impl Lobby {
    /// How many descriptors it consists of.
    pub const PARTS: usize = 4;

    /// One for so many connections, none of which is open yet.
    ///
    /// # Errors
    /// What memfd_create, mmap, socketpair and eventfd say: `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new(name: &str, connections: u32) -> Result<Lobby, Errno> {
        let board: Shared<Board> = Shared::create(name)?;
        board.set_connections(connections);
        Ok(Lobby { board, queue: Queue::new()?, bell: Bell::new()? })
    }

    /// One that another process made, of its parts.
    ///
    /// # Errors
    /// `EINVAL` if the first is no board; else what mmap says.
    pub fn from_parts([board, give, take, bell]: [OwnedFd; Lobby::PARTS]) -> Result<Lobby, Errno> {
        Ok(Lobby { board: Shared::open(board)?, queue: Queue::from_ends(give, take), bell: bell.into() })
    }

    /// Its parts, to be handed to another process.
    pub fn parts(&self) -> [BorrowedFd<'_>; Lobby::PARTS] {
        let [give, take] = self.queue.ends();
        [self.board.file(), give, take, self.bell.as_fd()]
    }

    /// Gives back what the dead had: to be called when a process that could have had anything here is gone, and before
    /// its slot has another. Lives that never existed are as dead as any.
    pub fn bury(&self, is_dead: impl Fn(u64) -> bool) {
        self.board.bury(is_dead);
    }

    /// Keeps the board from processes forked after this.
    pub(crate) fn withhold_from_children(&self) {
        self.board.withhold_from_children();
    }
}
