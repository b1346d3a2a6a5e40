//! How long the database may be waited for on behalf of the request in hand.

use std::rc::Rc;

use crate::clock;
use crate::scoreboard::{Cell, Scoreboard};
use crate::sys::shared::Shared;

/// Until when a wait may last: the deadline of the request in hand, which its handler may move at any time.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    scoreboard: Rc<Shared<Scoreboard>>,
    slot: u32,
}

impl Deadline {
    pub(crate) fn of(scoreboard: Rc<Shared<Scoreboard>>, slot: u32) -> Deadline {
        Deadline { scoreboard, slot }
    }

    /// In the clock's nanoseconds; the end of time where nothing presses.
    pub(crate) fn moment(&self) -> u64 {
        match self.cell().map_or(0, Cell::deadline) {
            0 => u64::MAX,
            deadline => deadline,
        }
    }

    /// The deadline, or `nanos` from now if that is earlier.
    pub(crate) fn at_most(&self, nanos: u64) -> u64 {
        self.moment().min(clock::now().saturating_add(nanos))
    }

    pub(super) fn scoreboard(&self) -> &Scoreboard {
        &self.scoreboard
    }

    pub(crate) fn cell(&self) -> Option<&Cell> {
        self.scoreboard.cell(self.slot)
    }
}
