//! How many workers may be added at once: 1, 2, 4 and so on while growth goes on, and 1 again when it has stopped.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decide::event::Time;

/// So long after a reload there is no doubling.
pub(super) const HOLD_OFF: Duration = Duration::from_secs(10);

/// One growth, from census to census.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spurt {
    next: u32,
    held: Time,
}

impl Spurt {
    /// One that doubles from the start.
    pub(super) fn new(now: Time) -> Self {
        Spurt { next: 1, held: now }
    }

    /// One that does not double for [`HOLD_OFF`].
    pub(super) fn held(now: Time) -> Self {
        Spurt { next: 1, held: now.after(HOLD_OFF) }
    }

    /// The most that may be added now, at most `spawn_rate`.
    pub(super) fn next(&mut self, spawn_rate: u32, now: Time) -> u32 {
        let most = self.next.min(spawn_rate.max(1));
        self.next = if now < self.held { 1 } else { most.saturating_mul(2) };
        most
    }

    /// Nothing more is needed.
    pub(super) fn end(&mut self) {
        self.next = 1;
    }
}
