//! The desk: one worker's place at the pool's connections. It gets tokens, in its turn, and gives them to whoever is next.
//!
//! Owns the worker's part of the lobby; which token is in whose hand is the caller's to keep.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::board::Owner;
use super::lobby::Lobby;
use super::queue::{self, Label, Taken, Travelling};

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) lobby: Lobby,
    slot: u32,
    life: u64,
}

/// Leave to have one connection open. Dropped, it is lost until the worker is: it is to be released.
#[derive(Debug)]
#[must_use]
pub(crate) struct Token {
    number: u32,
    sequence: u64,
}

/// What a worker has got, in its turn.
#[derive(Debug)]
pub(crate) struct Obtained {
    pub(crate) token: Token,
    /// The connection that came with the token, if one did.
    pub(crate) connection: Option<Travelling<OwnedFd>>,
    /// Whether it had to sleep for it.
    pub(crate) has_waited: bool,
}

/// The time was over before it was this worker's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimedOut;

impl Desk {
    pub(crate) fn new(lobby: Lobby, slot: u32, life: u64) -> Desk {
        Desk { lobby, slot, life }
    }

    /// A token, and the connection that comes with it, if one does. Waits until it is this worker's turn, and no longer
    /// than `until`, in the clock's nanoseconds.
    ///
    /// # Errors
    /// Then it is over, and this worker is in no line any more.
    pub(crate) fn obtain(&mut self, until: u64) -> Result<Obtained, TimedOut> {
        let Desk { lobby: Lobby { board, bell, .. }, slot, life } = &*self;
        let place = board.place(*slot);
        let ticket = board.queue_up(place, *life);
        if board.is_short() {
            bell.ring();
        }
        let (mut is_over, mut has_waited) = (false, false);
        loop {
            let seen = place.turn.get();
            if board.may_take(ticket) && board.reach_in(*life) {
                let taken = self.take();
                board.take_hand_away(*life);
                match taken {
                    Some((token, connection)) => {
                        board.step_out(place);
                        return Ok(Obtained { token, connection, has_waited });
                    }
                    None => board.call(),
                }
            }
            if is_over {
                board.step_out(place);
                return Err(TimedOut);
            }
            is_over = place.turn.sleep(seen, until);
            has_waited = true;
        }
    }

    /// Gives a token to whoever is next, with its connection or without. One that nobody can be given is shut down.
    pub(crate) fn release(&mut self, token: Token, connection: Option<Travelling<BorrowedFd<'_>>>) {
        let board = &self.lobby.board;
        board.keep_promise(self.slot);
        let Token { number, sequence } = token;
        let (mine, next) = (Owner::new(self.life, sequence), Owner::nobody(sequence + 1));
        if let Some(connection) = connection {
            let label = Label { token: number, sequence: next.sequence(), from: self.life };
            if let Err(error) = self.lobby.queue.give(label, &connection) {
                tracing::debug!(%error, "a connection cannot be given to another worker: it is closed");
                queue::end(&connection);
            }
        }
        // It may have been taken already: then it is another's.
        board.change(number, mine, next);
        board.call();
    }

    /// Whether somebody waits for a token that nobody has promised yet: then this worker has promised the one it has, and
    /// releases it. One load while nobody waits for any.
    #[must_use]
    pub(crate) fn promises(&self) -> bool {
        self.lobby.board.promise(self.slot, self.life)
    }

    /// Rings when somebody begins to wait for a token that another has: to be waited for with an edge trigger, by workers
    /// that have one, and never read.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.lobby.bell.as_fd()
    }

    /// What is to be had now, by the one whose hand is in the queue.
    fn take(&self) -> Option<(Token, Option<Travelling<OwnedFd>>)> {
        let Lobby { board, queue, .. } = &self.lobby;
        loop {
            // Noted before the queue is found empty: whatever was sent for it has then been met.
            let free = board.free();
            match queue.take() {
                Taken::Connection(label, connection) => {
                    if let Some(token) = self.win(label) {
                        return Some((token, Some(connection)));
                    }
                    tracing::debug!(?label, "a connection of somebody who has died is closed");
                }
                Taken::Scrap => tracing::warn!("what was to be a connection of another worker is none"),
                Taken::Unknown => return None,
                Taken::Nothing => {
                    let (number, owner) = free?;
                    let mine = Owner::new(self.life, owner.sequence() + 1);
                    if board.change(number, owner, mine) {
                        return Some((Token { number, sequence: mine.sequence() }, None));
                    }
                }
            }
        }
    }

    /// The token of a connection that has arrived, unless that is stale.
    fn win(&self, Label { token: number, sequence, from }: Label) -> Option<Token> {
        let board = &self.lobby.board;
        let mine = Owner::new(self.life, sequence);
        let sent = Owner::nobody(sequence);
        let being_sent = Owner::new(from, sequence.wrapping_sub(1));
        let won = board.change(number, sent, mine) || board.change(number, being_sent, mine)
            // It may have said so in between.
            || board.change(number, sent, mine);
        won.then_some(Token { number, sequence: mine.sequence() })
    }
}
