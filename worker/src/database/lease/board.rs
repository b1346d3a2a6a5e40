//! The board: shared memory that says who owns which token, and who waits in which order.
//!
//! Atomic numbers only; every bit pattern is a board. A token's word is the life of its owner, above a sequence; life 0 is
//! nobody, so a board of zeroes is one of free tokens.

use super::word::{Turn, Word};
use crate::scoreboard::SLOTS;

/// The most connections a pool can have.
pub(super) const TOKENS: usize = 1000;
/// How many bits of a word are the sequence. What is behind by a full turn of it has long been taken from the queue.
const SEQUENCE: u32 = 24;
/// The lives that fit above it, one after the other every microsecond, take twelve days.
const LIVES: u64 = 1 << (u64::BITS - SEQUENCE);
const NOBODY: u64 = 0;

/// See the module's header.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Board {
    connections: Word,
    /// Whose hand is in the queue.
    hand: Word,
    /// How many tickets have been given out.
    tickets: Word,
    /// 0 if nobody waits: a hint, put right by who finds it wrong.
    crowded: Word,
    /// How many places, from the first, have ever been used.
    used: Word,
    tokens: [Word; TOKENS],
    places: [Place; SLOTS],
}

/// Where a worker waits.
#[repr(C, align(32))]
#[derive(Debug)]
pub(super) struct Place {
    life: Word,
    /// Lower ones come first; 0 if it does not wait.
    ticket: Word,
    /// The life that is about to release a token since somebody waits for it.
    promise: Word,
    pub(super) turn: Turn,
}

/// Who owns a token, and how often that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    life: u64,
    sequence: u64,
}

impl Owner {
    pub(super) fn new(life: u64, sequence: u64) -> Owner {
        Owner { life, sequence: sequence % (1 << SEQUENCE) }
    }

    pub(super) fn nobody(sequence: u64) -> Owner {
        Owner::new(NOBODY, sequence)
    }

    fn of(word: u64) -> Owner {
        Owner::new(word >> SEQUENCE, word)
    }

    fn word(self) -> u64 {
        (self.life % LIVES) << SEQUENCE | self.sequence
    }

    pub(super) fn sequence(self) -> u64 {
        self.sequence
    }
}

impl Board {
    /// Says how many tokens there are, before anybody is there to use them.
    pub(super) fn set_connections(&self, connections: u32) {
        self.connections.set(connections.into());
    }

    fn tokens(&self) -> &[Word] {
        &self.tokens[..self.connections.get().min(TOKENS as u64) as usize]
    }

    fn places(&self) -> &[Place] {
        &self.places[..self.used.get().min(SLOTS as u64) as usize]
    }

    /// A slot's place; beyond the last slot there is none, and the last is nobody's.
    pub(super) fn place(&self, slot: u32) -> &Place {
        self.used.raise_to(u64::from(slot) + 1);
        &self.places[(slot as usize).min(SLOTS - 1)]
    }

    /// A token that is nobody's, as it was a moment ago.
    pub(super) fn free(&self) -> Option<(u32, Owner)> {
        let owners = (0..).zip(self.tokens().iter().map(|word| Owner::of(word.get())));
        owners.into_iter().find(|(_, owner)| owner.life == NOBODY)
    }

    /// Changes a token's owner, if it is the one it was thought to have.
    pub(super) fn change(&self, token: u32, from: Owner, to: Owner) -> bool {
        self.tokens().get(token as usize).is_some_and(|word| word.change(from.word(), to.word()))
    }

    fn count_free(&self) -> usize {
        self.tokens().iter().filter(|word| Owner::of(word.get()).life == NOBODY).count()
    }

    /// Gets in line; the ticket.
    pub(super) fn queue_up(&self, place: &Place, life: u64) -> u64 {
        let ticket = self.tickets.count() + 1;
        place.life.set(life);
        place.ticket.set(ticket);
        self.crowded.set(1);
        ticket
    }

    /// Leaves the line.
    pub(super) fn step_out(&self, place: &Place) {
        place.ticket.set(0);
        self.call();
    }

    /// Whether it is the turn of this ticket.
    pub(super) fn may_take(&self, ticket: u64) -> bool {
        let before = self.tickets_in_line().filter(|other| *other < ticket).count();
        before < self.count_free()
    }

    fn tickets_in_line(&self) -> impl Iterator<Item = u64> {
        self.places().iter().map(|place| place.ticket.get()).filter(|ticket| *ticket != 0)
    }

    /// Whether more wait than tokens are free or promised.
    pub(super) fn is_short(&self) -> bool {
        self.is_short_of(self.places())
    }

    /// The same, as far as these places have promised. The line is counted first: whoever gets in it afterwards counts himself.
    /// Promises are counted last: they are taken back before their tokens are free, so that none counts twice.
    fn is_short_of(&self, places: &[Place]) -> bool {
        let waiting = self.tickets_in_line().count();
        let free = self.count_free();
        waiting > free + places.iter().filter(|place| place.promise.get() != NOBODY).count()
    }

    /// Promises a token if more wait than are free or promised: whoever has done so releases one. Of several who do it at
    /// the same time the first places do, and the others look again, for somebody may have counted on them.
    pub(super) fn promise(&self, slot: u32, life: u64) -> bool {
        let place = self.place(slot);
        while self.is_wanted() {
            place.promise.set(life);
            if self.is_short_of(&self.places()[..(slot as usize).min(SLOTS - 1)]) {
                return true;
            }
            place.promise.set(NOBODY);
        }
        false
    }

    /// The token is about to be free.
    pub(super) fn keep_promise(&self, slot: u32) {
        self.place(slot).promise.set(NOBODY);
    }

    /// Whether it is short, at the price of one load while nobody waits.
    fn is_wanted(&self) -> bool {
        if self.crowded.glance() == 0 {
            return false;
        }
        if self.tickets_in_line().next().is_none() {
            self.crowded.set(0);
            // Who has come meanwhile may have said so before.
            if self.tickets_in_line().next().is_some() {
                self.crowded.set(1);
            }
        }
        self.is_short()
    }

    /// Puts this life's hand into the queue, if no other is in it.
    pub(super) fn reach_in(&self, life: u64) -> bool {
        self.hand.change(NOBODY, life)
    }

    pub(super) fn take_hand_away(&self, life: u64) {
        self.hand.change(life, NOBODY);
    }

    /// Wakes those whose turn it is. To be called by whoever has changed anything that makes it somebody's, afterwards.
    pub(super) fn call(&self) {
        let free = self.count_free();
        if free == 0 {
            return;
        }
        let waiting = self.places().iter().map(|place| (place.ticket.get(), place));
        let mut line: Vec<(u64, &Place)> = waiting.filter(|(ticket, _)| *ticket != 0).collect();
        line.sort_unstable_by_key(|(ticket, _)| *ticket);
        line.iter().take(free).for_each(|(_, place)| place.turn.advance());
    }

    /// Takes from the dead what they had: promises, tokens, places and hand.
    pub(super) fn bury(&self, is_dead: impl Fn(u64) -> bool) {
        for place in self.places() {
            let promise = place.promise.get();
            if promise != NOBODY && is_dead(promise) {
                place.promise.change(promise, NOBODY);
            }
        }
        for word in self.tokens() {
            let was = word.get();
            let owner = Owner::of(was);
            if owner.life != NOBODY && is_dead(owner.life) {
                word.change(was, Owner::nobody(owner.sequence + 2).word());
            }
        }
        for place in self.places() {
            if place.ticket.get() != 0 && is_dead(place.life.get()) {
                place.ticket.set(0);
            }
        }
        let hand = self.hand.get();
        if hand != NOBODY && is_dead(hand) {
            self.hand.change(hand, NOBODY);
        }
        // Somebody may have died who had found the hint wrong.
        self.crowded.set(1);
        self.call();
    }
}
