//! Leasing: many workers, few connections. Who may have one is decided here, without a proxy and without a lock that a
//! dead worker could keep.
//!
//! A pool that may open M connections has M **tokens**: to have a connection open is to own a token. Who owns it stands in
//! one word of shared memory (the `board`): a life, or nobody, and a sequence that changes with every owner. A connection
//! that is given up travels through a socket pair that all workers share (the `queue`), with its token's name and next
//! sequence, and with what the server said when it began. So the queue is the pool of connections, and a token of nobody's
//! for which nothing is in the queue is leave to open one.
//!
//! * **Releasing** is to send the connection first, then to change the word from mine to nobody's. A connection that cannot
//!   be sent is shut down; the token is free all the same.
//! * **Taking** is done by one worker at a time: its life stands in `hand`. It notes a free token, takes the next message,
//!   and wins it by compare-and-swap: the word says nobody and this sequence, or the sender and the one before, who
//!   has sent it and not yet said so. Any other is a stale copy, and is closed. Once the queue is empty it wins the token
//!   that it had noted: whatever may have been sent for it has been met.
//! * **A death** is cleaned up by the supervisor ([`Lobby::bury`]): tokens of the dead are nobody's, two sequences on,
//!   so that a message it may have sent is stale; its place in the line and its hand are cleared. Between any two steps a
//!   worker can be killed and nothing is lost: a message that was taken and not won has left a free token behind.
//! * **Waiting** is in order: a ticket stands in the worker's place. It may take when fewer wait before it than there
//!   are free tokens. It sleeps on a word of its own, its `turn`; whoever frees a token, leaves the line or takes his hand
//!   away looks afterwards for those who may take, and wakes them: the last to change anything sees all that was changed.
//! * **Who has a connection may keep it while nobody waits for a token**: one load after every request tells. Whoever gets in
//!   line and finds too few free tokens rings the `bell`, for holders that have nothing to do: they look, and let go.
//!   As many let go as are waited for: whoever finds fewer tokens free or promised than workers in line **promises** his, in
//!   his place, before he cleans and releases it. A promise is kept, be it by death: who dies before is buried, and
//!   his token is free. One who is stopped in between has one waiter wait for as long.
//!
//! Nothing here is open twice: before a token is used to connect, all that was ever sent for it has been taken and closed
//! or won. What a worker that has gone astray writes into the board can cost its siblings their turn, and the supervisor
//! nothing: it never waits for a word, and never believes one further than to clear it.

mod bell;
mod board;
mod desk;
mod lobby;
mod queue;
mod word;

#[cfg(test)]
mod tests;

pub use self::board::Board;
pub(crate) use self::desk::{Desk, Obtained, Token};
pub use self::lobby::Lobby;
pub(crate) use self::queue::Travelling;
