//! How many workers a pool should have: a policy over a census that is taken now and then.
//!
//! Owns the wanted size, the operator's offset to it and what is remembered of earlier censuses. Starts and ends
//! nothing: whoever asks closes the gap. Never counts anything itself, and never looks at a single worker.
//!
//! * **Growth is gated on waiting.** That all workers are busy is what they are for; that somebody has to wait is not.
//!   A connection in the accept queue with nobody free for it is answered at once, a request that had to wait between
//!   two censuses by one worker at a time, and only up to `max_spare` idle ones: where requests wait beside idle
//!   workers, it is not workers that are short. The one exception is `min_spare`.
//! * **`min_spare` is a reserve against the next burst**, not a reading of one moment: it is filled up when fewer have
//!   been idle for a whole second. A pool whose reserve is touched now and then has the right size, since that is
//!   what a reserve is for; 0 means to grow for those who wait and for nothing else.
//! * **Workers that are wanted and not there yet count as idle**, so that a slow boot, or one that fails, is not
//!   answered with more of them.
//! * **What goes is what a whole minute never needed.** More than `max_spare` must have been idle in every census of
//!   that time; what the busiest of them left over goes at once, as one change of size.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{Size, Time};

mod lull;
mod spurt;

use lull::Lull;
use spurt::Spurt;

/// No pool has more workers, whatever the operator's signals add up to: the range of the configuration's keys.
pub const MOST: u32 = 1000;

/// Between two censuses while growth may be needed soon. Ten steps within the second after the first waiting request.
pub const BUSY_TICK: Duration = Duration::from_millis(100);

/// Between two censuses otherwise: seldom enough that an idle daemon wakes less than twice a second, often enough that
/// a second has not passed when the first waiting request is seen and answered.
pub const QUIET_TICK: Duration = Duration::from_millis(700);

/// A request that waited less did not wait for a worker: the kernel's clock for it is that coarse, and a wake-up on a
/// crowded machine takes as long.
pub const PATIENCE: Duration = Duration::from_millis(20);

/// For so long the reserve must have been short before it is filled up.
pub const SCARCITY: Duration = Duration::from_secs(1);

/// So long after the last time that the limit was in the way, reaching it again is news.
pub const EPISODE: Duration = Duration::from_secs(60);

/// How the size of a pool is chosen. Sizes are numbers of workers, at most [`MOST`]; `min` is not above `max`, and
/// `min_spare` not above `max_spare`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scaling {
    /// It is given.
    Static {
        /// At least 1.
        workers: u32,
    },
    /// It follows the load.
    Dynamic {
        /// The first size, between `min` and `max`.
        start: u32,
        /// Never fewer, at least 1.
        min: u32,
        /// Never more.
        max: u32,
        /// So many should be idle, see the module.
        min_spare: u32,
        /// More than these need not be idle, see the module.
        max_spare: u32,
        /// The most that are added in one census, at least 1; reached by doubling from 1.
        spawn_rate: u32,
    },
    /// It follows the load, down to none at all.
    OnDemand {
        /// Never more, at least 1.
        max: u32,
        /// From the last request to the end of the last worker; more than zero.
        idle_timeout: Duration,
        /// As for a dynamic pool.
        spawn_rate: u32,
    },
}

/// A pool at one moment, and what has happened in it since the last census.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Workers that are ready and have no request. Those that are to leave are counted nowhere.
    pub idle: u32,
    /// Workers in a request.
    pub busy: u32,
    /// Connections in the accept queues.
    pub waiting: u32,
    /// Connections that the workers hold, in a request or not; only whether there are any matters.
    pub held: u32,
    /// The longest that any request waited that was taken up since the last census.
    pub waited: Duration,
    /// Requests that were begun since the last census; only whether there were any matters.
    pub requests: u64,
}

/// What a census has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Nothing.
    Unchanged,
    /// So many more are wanted.
    Grown(u32),
    /// So many fewer are wanted.
    Shrunk(u32),
    /// More are needed than there may be. Said once: not again before [`EPISODE`] has passed without such a need.
    MaxChildrenReached,
}

/// The size of one pool.
#[derive(Debug, Serialize, Deserialize)]
pub struct Scaler {
    scaling: Scaling,
    /// What the operator has added, by signals and commands.
    offset: i32,
    wanted: u32,
    spurt: Spurt,
    lull: Lull,
    /// Since when the reserve has been short.
    scarce: Option<Time>,
    /// When more were last needed than there may be.
    limited: Option<Time>,
    /// When anybody was last seen to be served.
    used: Time,
    /// Whether somebody was served or waited at the last census.
    occupied: bool,
}

/// What is the same in all ways of scaling, with the operator's offset in it.
struct Bounds {
    min: u32,
    max: u32,
    min_spare: u32,
    max_spare: u32,
    spawn_rate: u32,
}

impl Scaler {
    /// A pool that is about to start.
    pub fn new(scaling: Scaling, now: Time) -> Self {
        let wanted = match scaling {
            Scaling::Static { workers } => workers,
            Scaling::Dynamic { start, min, max, .. } => start.min(max).max(min),
            Scaling::OnDemand { .. } => 0,
        };
        let lull = Lull::new(shortest_lull(&scaling), now);
        let spurt = Spurt::new(now);
        Scaler { scaling, offset: 0, wanted, spurt, lull, scarce: None, limited: None, used: now, occupied: false }
    }

    /// A reload: the operator's offset stays, and the present size as far as the new bounds allow. The doubling is held
    /// off for a while, since workers that have just been replaced look busier than they will be.
    pub fn change(&mut self, scaling: Scaling, now: Time) {
        self.spurt = Spurt::held(now);
        self.lull = Lull::new(shortest_lull(&scaling), now);
        self.scarce = None;
        self.limited = None;
        self.used = now;
        self.scaling = scaling;
        self.wanted = self.bounds().hold(self.wanted);
    }

    /// The operator wants one more or one fewer (TTIN, TTOU): the bounds move, and the present size with them, so that
    /// what was asked for is to be seen at once and lasts. `max` stays between 1 and [`MOST`], and with it the size of a
    /// static pool.
    pub fn nudge(&mut self, by: i32, now: Time) {
        let max = signed(self.scaling.max());
        let (lowest, highest) = (1 - max, signed(MOST).max(max) - max);
        self.offset = self.offset.clamp(lowest, highest).saturating_add(by).clamp(lowest, highest);
        self.wanted = self.bounds().hold(self.wanted.saturating_add_signed(by));
        self.lull.begin(now);
        self.used = now;
    }

    /// The operator wants it larger or smaller by so many, as with TTIN and TTOU, or wants this to be the size of a static
    /// pool, and of another one the most it may have: then its present size is what the new bounds leave of it.
    ///
    /// # Errors
    /// It cannot be that large, or that small: the range, as a sentence.
    pub fn resize(&mut self, size: Size, now: Time) -> Result<(), String> {
        let (most, highest) = (i64::from(self.most()), i64::from(MOST.max(self.scaling.max())));
        let (target, wanted) = match size {
            Size::To(most) => (i64::from(most), None),
            Size::By(by) => (most + i64::from(by), Some(self.wanted.saturating_add_signed(by))),
        };
        if !(1..=highest).contains(&target) {
            return Err(format!("it can have 1 to {highest} workers, now at most {most}"));
        }
        self.offset = i32::try_from(target - i64::from(self.scaling.max())).unwrap_or(0);
        self.wanted = self.bounds().hold(wanted.unwrap_or(self.wanted));
        self.lull.begin(now);
        self.used = now;
        Ok(())
    }

    /// The most workers it may have, the operator's offset counted.
    pub fn most(&self) -> u32 {
        self.bounds().max
    }

    /// What the operator has added to the configured bounds.
    pub fn offset(&self) -> i32 {
        self.offset
    }

    /// What to make of this census. An on-demand pool of no workers is counted when somebody knocks at its listeners.
    pub fn observe(&mut self, census: Census, now: Time) -> Outcome {
        if let Scaling::Static { .. } = self.scaling {
            return Outcome::Unchanged;
        }
        let bounds = self.bounds();
        self.occupied = census.busy > 0 || census.waiting > 0;
        // A connection that is kept needs somebody to take its next request.
        if self.occupied || census.requests > 0 || census.held > 0 {
            self.used = now;
        }
        match self.missing(&bounds, census, now) {
            0 => {
                self.spurt.end();
                self.shrink(&bounds, census.idle, now)
            }
            missing => self.grow(&bounds, missing, now),
        }
    }

    /// How many workers there should be. Those that are replaced at the same time are the asker's affair.
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// How long until the next census is wanted; `None`: not by the clock. A static pool wants none, an on-demand pool
    /// of no workers wants one when a listener turns readable.
    pub fn tick(&self) -> Option<Duration> {
        match self.scaling {
            Scaling::Static { .. } => None,
            _ if self.wanted == 0 => None,
            _ if self.occupied && self.wanted < self.bounds().max => Some(BUSY_TICK),
            _ => Some(QUIET_TICK),
        }
    }

    /// How many more are needed than are idle or on their way.
    fn missing(&mut self, bounds: &Bounds, census: Census, now: Time) -> u32 {
        let coming = self.wanted.saturating_sub(census.idle + census.busy);
        let free = census.idle + coming;

        let had_to_wait = census.waited >= PATIENCE && coming == 0 && census.idle < bounds.max_spare.max(1);
        let for_those_who_waited = u32::from(had_to_wait) * (free + 1);

        if free < bounds.min_spare {
            self.scarce.get_or_insert(now);
        } else {
            self.scarce = None;
        }
        let is_scarce = self.scarce.is_some_and(|since| now.since(since) >= SCARCITY);
        let for_the_reserve = u32::from(is_scarce) * bounds.min_spare;

        census.waiting.max(for_those_who_waited).max(for_the_reserve).saturating_sub(free)
    }

    fn grow(&mut self, bounds: &Bounds, missing: u32, now: Time) -> Outcome {
        self.lull.begin(now);
        let room = bounds.max.saturating_sub(self.wanted);
        if room == 0 {
            let last = self.limited.replace(now);
            let is_news = last.is_none_or(|last| now.since(last) >= EPISODE);
            return if is_news { Outcome::MaxChildrenReached } else { Outcome::Unchanged };
        }
        let more = missing.min(self.spurt.next(bounds.spawn_rate, now)).max(self.lull.regret(now)).min(room);
        self.wanted += more;
        Outcome::Grown(more)
    }

    fn shrink(&mut self, bounds: &Bounds, idle: u32, now: Time) -> Outcome {
        let surplus = self.lull.surplus(idle, bounds.max_spare, now).min(self.wanted.saturating_sub(bounds.min));
        let fewer = match self.scaling {
            Scaling::OnDemand { idle_timeout, .. } if now.since(self.used) >= idle_timeout => self.wanted,
            _ => surplus,
        };
        if fewer == 0 {
            return Outcome::Unchanged;
        }
        self.wanted -= fewer;
        if self.wanted > 0 {
            self.lull.shrunk(fewer, now);
        }
        Outcome::Shrunk(fewer)
    }

    fn bounds(&self) -> Bounds {
        let shift = |size: u32| size.saturating_add_signed(self.offset).clamp(1, MOST);
        match self.scaling {
            Scaling::Static { workers } => {
                let workers = shift(workers);
                Bounds { min: workers, max: workers, min_spare: 0, max_spare: 0, spawn_rate: 1 }
            }
            Scaling::Dynamic { min, max, min_spare, max_spare, spawn_rate, .. } => {
                Bounds { min: shift(min), max: shift(max), min_spare, max_spare, spawn_rate }
            }
            // One spare, so that a pool on a steady load is not cut down to its busiest moment so far.
            Scaling::OnDemand { max, spawn_rate, .. } => {
                Bounds { min: 0, max: shift(max), min_spare: 0, max_spare: 1, spawn_rate }
            }
        }
    }
}

impl Scaling {
    fn max(&self) -> u32 {
        match *self {
            Scaling::Static { workers: max } | Scaling::Dynamic { max, .. } | Scaling::OnDemand { max, .. } => max,
        }
    }
}

impl Bounds {
    fn hold(&self, size: u32) -> u32 {
        size.min(self.max).max(self.min)
    }
}

/// Who configures a long idle_timeout wants workers kept for as long, the last one and the others.
fn shortest_lull(scaling: &Scaling) -> Duration {
    match *scaling {
        Scaling::OnDemand { idle_timeout, .. } => idle_timeout.max(lull::WINDOW),
        Scaling::Static { .. } | Scaling::Dynamic { .. } => lull::WINDOW,
    }
}

fn signed(size: u32) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
