//! A time in which nobody was short of workers, and how many were never needed in it.
//!
//! Owns the window in which that must be so before anybody is let go. A pool that has to grow again soon after was cut
//! too deeply: half of the cut is undone, and its window doubles until it has done no harm for a while. So on a steady
//! load the size comes to rest, however the load happens to fluctuate.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decide::event::Time;

/// The shortest window. On a steady load, a size changes less often than that.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// The window doubles up to so many times its shortest: four times in a row.
const LONGEST: u32 = 16;

/// It is halved when so many windows have passed since it was last changed.
const FORGIVENESS: u32 = 8;

/// Growth within so many windows of a cut shows that the cut was too deep.
const REGRET: u32 = 2;

/// One lull, from census to census.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lull {
    since: Time,
    /// The fewest that were idle in any census since then.
    least: u32,
    shortest: Duration,
    window: Duration,
    /// When the window was last changed.
    judged: Time,
    /// When workers were last let go, and how many, until the pool grows again.
    shrunk: Option<(Time, u32)>,
}

impl Lull {
    /// One that begins now; its window is never shorter than `shortest`.
    pub(super) fn new(shortest: Duration, now: Time) -> Self {
        Lull { since: now, least: u32::MAX, shortest, window: shortest, judged: now, shrunk: None }
    }

    /// It begins anew.
    pub(super) fn begin(&mut self, now: Time) {
        self.since = now;
        self.least = u32::MAX;
    }

    /// How many of those beyond `max_spare` were idle in every census of a whole window. Then it begins anew, as it
    /// does when there are none.
    pub(super) fn surplus(&mut self, idle: u32, max_spare: u32, now: Time) -> u32 {
        self.relax(now);
        self.least = self.least.min(idle);
        let surplus = self.least.saturating_sub(max_spare);
        let is_over = now.since(self.since) >= self.window;
        if surplus == 0 || is_over {
            self.begin(now);
        }
        if is_over { surplus } else { 0 }
    }

    /// So many workers have been let go.
    pub(super) fn shrunk(&mut self, by: u32, now: Time) {
        self.shrunk = Some((now, by));
    }

    /// The pool has to grow. By at least how many, since too many have been let go.
    pub(super) fn regret(&mut self, now: Time) -> u32 {
        match self.shrunk.take() {
            Some((shrunk, by)) if now.since(shrunk) < self.window.saturating_mul(REGRET) => {
                self.window = self.window.saturating_mul(2).min(self.shortest.saturating_mul(LONGEST));
                self.judged = now;
                by.div_ceil(2)
            }
            _ => 0,
        }
    }

    fn relax(&mut self, now: Time) {
        if self.window > self.shortest && now.since(self.judged) >= self.window.saturating_mul(FORGIVENESS) {
            self.window = (self.window / 2).max(self.shortest);
            self.judged = now;
        }
    }
}
