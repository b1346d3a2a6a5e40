//! A request that has been answered and has not ended: its worker serves no other.

use crate::app::Own;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: usize,
    pub(super) serial: u32,
    /// When the handler began.
    pub(super) since: u64,
    /// When it had returned.
    pub(super) answered: u64,
    /// When the request's time is over.
    pub(super) deadline: u64,
    /// Whether the application itself is still producing the response.
    pub(super) is_produced: bool,
    pub(super) own: Own,
}

impl Held {
    /// Whether it ends only when the response has been sent.
    pub(super) fn waits(&self) -> bool {
        self.is_produced || !self.own.deferred.is_empty()
    }
}
