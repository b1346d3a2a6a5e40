//! What the limits say: who is too old, too large or too late, and how many workers there should be.
//!
//! Asks for numbers (`Measure`, `Count`, `AwaitKnock`) and judges those that come. Who is due is replaced by `turnover`;
//! only hard limits kill.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Pool;
use crate::decide::Turn;
use crate::decide::cause::{Cause, Limit};
use crate::decide::event::{Action, Edition, Time, WorkerRef};
use crate::decide::lifecycle::{Input, State};
use crate::decide::note::Note;
use crate::decide::roster::Interruption;
use crate::decide::scale::{Census, Outcome, QUIET_TICK};
use crate::decide::template;

/// How often the memory of the workers is measured, where it is limited: with every other census, so that a pool in
/// which nothing happens wakes the daemon for both at once.
const MEASURE: Duration = QUIET_TICK.saturating_mul(2);

/// How long a worker's memory is nobody's affair: a limit that is below what the program needs must not become a loop.
const YOUTH: Duration = Duration::from_secs(10);

/// How long after its deadline a request is asked where it is stuck: whoever waits for a database until the deadline has
/// time to say so itself.
const PATIENCE: Duration = Duration::from_millis(250);

/// When which numbers are wanted next.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Schedule {
    measure: Time,
    count: Time,
    knock: Knock,
}

/// How far a pool without workers is with whoever connects first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Knock {
    /// Nobody has been told that it waits for one.
    #[default]
    Unasked,
    Awaited,
    /// It came: until the pool has been counted there is nothing to wait for.
    Heard,
}

impl Pool {
    /// When the next step is due against a worker in whose cell this deadline stands; `None` if none ever is.
    pub(in crate::decide) fn due(&self, who: WorkerRef, deadline: Time) -> Option<Time> {
        let (_, worker) = self.roster.workers().find(|(known, _)| *known == who)?;
        let grace = self.limits().kill_grace;
        let soft = deadline.after(PATIENCE.min(grace / 2));
        match &worker.state {
            State::Ordered { template, .. } => {
                let doomed = |state: &template::State| matches!(state, template::State::Doomed { .. });
                let lost = self.templates().any(|(who, state, _)| who.life == *template && doomed(state));
                // It may be in a request already, of which its template is yet to tell us that it is there.
                let boot_timeout = self.stock(worker.edition).map(|stock| stock.limits.boot_timeout);
                (!lost).then(|| deadline.max(worker.ordered.after(boot_timeout.unwrap_or_default())))
            }
            State::Starting { .. } | State::Refused { .. } => Some(deadline),
            State::Serving { .. } | State::Leaving { .. } | State::Trailing { .. } | State::Draining { .. } => {
                let kill = deadline.after(grace);
                let Some(last) = &worker.interrupted else {
                    return Some(if grace.is_zero() { kill } else { soft });
                };
                // Of two requests the second is never asked sooner than that: whoever makes up deadlines is not asked
                // without end.
                let is_new = last.deadline != deadline && !grace.is_zero();
                Some(if is_new { soft.max(last.at.after(PATIENCE.min(grace / 2))).min(kill) } else { kill })
            }
            State::Doomed { .. } => None,
        }
    }

    /// What is due against this worker is done: it is asked where it is stuck, or killed.
    pub(in crate::decide) fn press(&mut self, who: WorkerRef, deadline: Time, turn: &mut Turn<'_>) {
        if self.due(who, deadline).is_none_or(|at| at > turn.now) {
            return;
        }
        let grace = self.limits().kill_grace;
        let Some(worker) = self.roster.worker(who) else {
            return;
        };
        let in_request = match worker.state {
            State::Serving { .. } | State::Leaving { .. } | State::Trailing { .. } | State::Draining { .. } => true,
            State::Ordered { .. } | State::Starting { .. } | State::Refused { .. } | State::Doomed { .. } => false,
        };
        if in_request && turn.now < deadline.after(grace) {
            worker.interrupted = Some(Interruption { deadline, at: turn.now });
            turn.note(Note::Interrupting(who));
            turn.push(Action::Interrupt(who));
        } else {
            self.tell_worker(who, Input::Overdue, turn);
        }
    }

    /// So many bytes does this worker share with nobody.
    pub(in crate::decide) fn weigh(&mut self, who: WorkerRef, bytes: u64, turn: &mut Turn<'_>) {
        let (soft, hard) = (self.limits().max_memory, self.limits().max_memory_hard);
        let Some(worker) = self.roster.worker(who) else {
            return;
        };
        let (ready, stays) = match worker.state {
            State::Serving { ready, .. } => (ready, true),
            State::Leaving { ready, .. } | State::Trailing { ready, .. } | State::Draining { ready, .. } => {
                (ready, false)
            }
            State::Ordered { .. } | State::Starting { .. } | State::Refused { .. } | State::Doomed { .. } => return,
        };
        if hard.is_some_and(|most| bytes > most) {
            self.tell_worker(who, Input::Kill(Cause::Memory), turn);
        } else if stays && soft.is_some_and(|most| bytes > most) && turn.now.since(ready) >= YOUTH {
            worker.due.get_or_insert(Cause::Recycled(Limit::Memory));
        }
    }

    /// The pool was counted. Whoever has knocked waits, also if the queues do not tell.
    pub(in crate::decide) fn counted(&mut self, mut census: Census, turn: &mut Turn<'_>) {
        if self.schedule.knock == Knock::Heard {
            self.schedule.knock = Knock::Unasked;
            census.waiting = census.waiting.max(1);
        }
        let outcome = self.scaler.observe(census, turn.now);
        if let Some(tick) = self.scaler.tick() {
            self.schedule.count = next_beat(turn.now, tick);
        }
        if outcome == Outcome::MaxChildrenReached {
            turn.note(Note::MaxChildrenReached { pool: self.id, most: self.scaler.wanted() });
        }
    }

    /// Somebody has connected while there was no worker.
    pub(in crate::decide) fn knocked(&mut self, turn: &mut Turn<'_>) {
        if self.schedule.knock == Knock::Awaited {
            self.schedule.knock = Knock::Heard;
            turn.push(Action::Count(self.id));
        }
    }

    /// Other listeners may be knocked at than before.
    pub(super) fn listen_anew(&mut self) {
        self.schedule.knock = Knock::Unasked;
    }

    /// Somebody wants the pool larger or smaller.
    pub(in crate::decide) fn resize(&mut self, by: i32, turn: &mut Turn<'_>) {
        self.scaler.nudge(by, turn.now);
        turn.note(Note::Sized(self.id, self.scaler.wanted()));
    }

    /// Somebody wants all workers gone until a reload of an edition beyond the newest.
    pub(in crate::decide) fn dismiss_all(&mut self, newest: Edition) {
        self.unwanted = Some(newest);
    }

    /// Marks who has become too old, and asks for the numbers that are due.
    pub(super) fn mind_limits(&mut self, turn: &mut Turn<'_>) {
        for worker in self.roster.workers_mut() {
            if worker.expires.is_some_and(|at| at <= turn.now) {
                worker.expires = None;
                worker.due.get_or_insert(Cause::Recycled(Limit::Age));
            }
        }
        if self.measures() && self.schedule.measure <= turn.now {
            self.schedule.measure = next_beat(turn.now, MEASURE);
            turn.push(Action::Measure(self.id));
        }
        if let Some(tick) = self.scaler.tick().filter(|_| !self.is_unwanted())
            && self.schedule.count <= turn.now
        {
            self.schedule.count = next_beat(turn.now, tick);
            turn.push(Action::Count(self.id));
        }
    }

    /// When numbers are wanted next, or somebody becomes too old.
    pub(super) fn next_measure(&self) -> Option<Time> {
        let measure = self.measures().then_some(self.schedule.measure);
        let count = self.scaler.tick().filter(|_| !self.is_unwanted()).map(|_| self.schedule.count);
        let expiries = self.roster.workers().filter_map(|(_, worker)| worker.expires);
        expiries.chain(measure).chain(count).min()
    }

    /// A pool that is to have no worker needs to hear of the first who connects.
    pub(super) fn await_knock(&mut self, turn: &mut Turn<'_>) {
        if self.scaler.wanted() == 0 && !self.is_unwanted() && self.schedule.knock == Knock::Unasked {
            self.schedule.knock = Knock::Awaited;
            turn.push(Action::AwaitKnock(self.id));
        }
    }

    /// Whether there is anything to measure, and a limit to measure it against.
    fn measures(&self) -> bool {
        let limits = self.limits();
        let is_ready = |state: &State| match state {
            State::Serving { .. } | State::Leaving { .. } | State::Trailing { .. } => true,
            State::Ordered { .. } | State::Starting { .. } | State::Refused { .. } => false,
            State::Draining { .. } | State::Doomed { .. } => false,
        };
        (limits.max_memory.is_some() || limits.max_memory_hard.is_some()) && self.roster.states().any(is_ready)
    }
}

/// The next moment of a beat that all pools share, so that many pools wake the daemon no oftener than one.
fn next_beat(now: Time, beat: Duration) -> Time {
    let beat = u64::try_from(beat.as_nanos()).unwrap_or(u64::MAX).max(1);
    Time((now.0 / beat).saturating_add(1).saturating_mul(beat))
}
