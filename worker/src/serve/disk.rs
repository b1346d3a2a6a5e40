//! The share of the pool's `body_disk` that one uploaded body takes, given back when the body is dropped.

use std::rc::Rc;

use crate::scoreboard::{Cell, Scoreboard};
use crate::sys::shared::Shared;

/// How much is reserved at a time, in bytes: the whole pool's cells are summed for it.
const STEP: u64 = 1024 * 1024;

/// Where a worker's reservations stand.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) scoreboard: Rc<Shared<Scoreboard>>,
    pub(crate) slot: u32,
    pub(crate) bound: u64,
}

impl Disk {
    fn cell(&self) -> Option<&Cell> {
        self.scoreboard.cell(self.slot)
    }
}

/// So many bytes of temporary files are this worker's.
#[derive(Debug)]
pub(crate) struct DiskShare {
    disk: Rc<Disk>,
    reserved: u64,
}

impl DiskShare {
    pub(crate) fn none(disk: &Rc<Disk>) -> DiskShare {
        DiskShare { disk: disk.clone(), reserved: 0 }
    }

    /// Makes the share cover `bytes` in all; false if the pool has no room for that.
    pub(crate) fn cover(&mut self, bytes: u64) -> bool {
        let missing = bytes.saturating_sub(self.reserved);
        missing == 0 || self.reserve(missing.max(STEP)) || self.reserve(missing)
    }

    fn reserve(&mut self, more: u64) -> bool {
        let Some(cell) = self.disk.cell() else { return false };
        let granted = self.disk.scoreboard.reserve_disk(cell, more, self.disk.bound);
        if granted {
            self.reserved += more;
        }
        granted
    }
}

impl Drop for DiskShare {
    fn drop(&mut self) {
        if let Some(cell) = self.disk.cell() {
            cell.release_disk(self.reserved);
        }
    }
}
