//! The life of one worker, as one table of states and inputs.
//!
//! Owns the states and what each input means in each of them. Never looks beyond the one worker: who replaces it, and
//! when, is decided elsewhere.
//!
//! ```text
//! Ordered ── Forked ─▶ Starting ── Ready ─▶ Serving ── Retire, Leaving ─▶ Leaving ── Trailing ─▶ Trailing ─┐
//!    │                    │ Refused            ├─ Drain ──────────────────▶ Draining ◀─ Drain ─┘ │           │
//!    │                    ▼                    │                               │                 │           ├─ Died ─▶ gone
//!    │                 Refused ────────────────┴─ Overdue, Kill ─▶ Doomed ─────┴─────────────────┴───────────┘
//!    ├─ Kill ─▶ still Ordered, but unwanted: Forked ─▶ Doomed
//!    └─ NotForked, TemplateLost ─▶ gone: nothing to bury
//! ```
//!
//! Every cell is written out. Besides those that lead somewhere there are three kinds: *gossip* (a late or silly
//! report, ignored), a harmless *repeat*, and our own *mistake* (complained about; nothing changes).

use std::time::Duration;

use super::cause::{Cause, Wish};
use super::event::{Exit, Pid, Time};

/// What kills whoever it is sent to, whatever that does about signals.
const SIGKILL: i32 = 9;

/// Where a worker is in its life, in the order it is lived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The template was told to fork it; there may or may not be a process yet.
    Ordered {
        /// The life of the template that was told.
        template: u64,
        /// Why it is to be killed as soon as it has a pid, if it is. Until its template has answered it may exist.
        unwanted: Option<Cause>,
    },
    /// It exists and runs the application's `start`.
    Starting {
        /// Its pid.
        pid: Pid,
    },
    /// It said that it cannot start, and is on its way out.
    Refused {
        /// Its pid.
        pid: Pid,
        /// What it said.
        reason: String,
    },
    /// It takes requests.
    Serving {
        /// Its pid.
        pid: Pid,
        /// When it became ready.
        ready: Time,
    },
    /// It was told to serve what it holds and what is queued, then to leave.
    Draining {
        /// Its pid.
        pid: Pid,
        /// When it became ready.
        ready: Time,
        /// Whether it was leaving already: then it may be in the application's `stop`, and never read what it was told.
        was_leaving: bool,
    },
    /// It finishes what it has begun, hands over its connections, and leaves: it was told to, or means to.
    Leaving {
        /// Its pid.
        pid: Pid,
        /// When it became ready.
        ready: Time,
        /// Why.
        cause: Cause,
        /// When it must be gone: neither a slow client nor its `stop` may keep its slot for ever.
        deadline: Time,
    },
    /// It does nothing any more but send what slow clients have not taken yet: it takes nobody's place.
    Trailing {
        /// Its pid.
        pid: Pid,
        /// When it became ready.
        ready: Time,
        /// Why it leaves.
        cause: Cause,
        /// When it must be gone.
        deadline: Time,
    },
    /// We have killed it and wait for its burial. The cause is decided here, whatever its exit status says later.
    Doomed {
        /// Its pid.
        pid: Pid,
        /// When it became ready, if it ever did.
        ready: Option<Time>,
        /// Why we killed it.
        cause: Cause,
    },
}

impl State {
    /// Its pid, once there is one.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            State::Ordered { .. } => None,
            State::Starting { pid }
            | State::Refused { pid, .. }
            | State::Serving { pid, .. }
            | State::Draining { pid, .. }
            | State::Leaving { pid, .. }
            | State::Trailing { pid, .. }
            | State::Doomed { pid, .. } => Some(*pid),
        }
    }

    /// When it must be gone, if it leaves. Every other deadline stands in its cell, or is the stop's.
    pub fn deadline(&self) -> Option<Time> {
        match self {
            State::Leaving { deadline, .. } | State::Trailing { deadline, .. } => Some(*deadline),
            State::Ordered { .. }
            | State::Starting { .. }
            | State::Refused { .. }
            | State::Serving { .. }
            | State::Draining { .. }
            | State::Doomed { .. } => None,
        }
    }
}

/// What can happen to a worker, reports first, our own orders after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// It exists.
    Forked(Pid),
    /// It could not be made.
    NotForked(String),
    /// It takes requests.
    Ready,
    /// It cannot start.
    Refused(String),
    /// It leaves of its own accord, for this cause.
    Leaving(Cause),
    /// It only sends what is left.
    Trailing,
    /// Its deadline and the grace have passed.
    Overdue,
    /// It has been reaped.
    Died(Exit),
    /// The template of this life is gone.
    TemplateLost(u64),
    /// We want it to finish, hand over and leave, for this cause.
    Retire(Cause),
    /// We want it to serve what is queued for it, too, and then to leave.
    Drain,
    /// We want it gone, for this cause.
    Kill(Cause),
}

/// What follows from an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It enters this state; what is to be done on entering is the same however it got there.
    Become(State),
    /// There is no such worker any more.
    Gone(Death),
    /// Its template, of this life, does not fork: that is the process to kill.
    Stalled(u64),
    /// A late or silly report: ignored.
    Gossip,
    /// Known, or ordered, already.
    Repeat,
    /// We contradicted ourselves, and how.
    Mistake(&'static str),
}

/// The end of a life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Why.
    pub cause: Cause,
    /// When it had become ready (a template: had loaded); `None` makes this a failed boot.
    pub ready: Option<Time>,
}

/// The table. `stop_timeout` is the time one has that leaves.
pub fn step(state: &State, input: Input, now: Time, stop_timeout: Duration) -> Next {
    use Input as I;
    use Next::{Become, Gossip, Mistake, Repeat, Stalled};
    use State as S;

    let leave = |pid: &Pid, ready: &Time, cause| {
        Become(S::Leaving { pid: *pid, ready: *ready, cause, deadline: now.after(stop_timeout) })
    };
    match (state, input) {
        // Nobody speaks or dies before it exists: the acting half reports `Forked` first, whatever it read first.
        (S::Ordered { unwanted: None, .. }, I::Forked(pid)) => Become(S::Starting { pid }),
        (S::Ordered { unwanted: Some(cause), .. }, I::Forked(pid)) => doom(pid, None, cause.clone()),
        (S::Ordered { .. }, I::NotForked(reason)) => gone(Cause::NotStarted(reason), None),
        (S::Ordered { .. }, I::Ready | I::Refused(_) | I::Leaving(_) | I::Trailing) => Gossip,
        (S::Ordered { template, .. }, I::Overdue) => Stalled(*template),
        (S::Ordered { .. }, I::Died(_)) => Mistake("it died before it was forked"),
        (S::Ordered { template, unwanted }, I::TemplateLost(lost)) if *template == lost => {
            gone(unwanted.clone().unwrap_or(Cause::TemplateLost), None)
        }
        (S::Ordered { .. }, I::TemplateLost(_)) => Gossip,
        (S::Ordered { .. }, I::Retire(_)) => Mistake("it was told to retire before it was forked"),
        (S::Ordered { .. }, I::Drain) => Mistake("it was told to drain before it was forked"),
        // There may be a process by now that only its template knows: the order stays open until that has answered.
        (S::Ordered { template, unwanted: None }, I::Kill(cause)) => {
            Become(S::Ordered { template: *template, unwanted: Some(cause) })
        }
        (S::Ordered { unwanted: Some(_), .. }, I::Kill(_)) => Repeat,

        // One that leaves while it starts has failed to start, whatever it calls it: so `Leaving` is gossip here.
        (S::Starting { .. }, I::Forked(_)) => Repeat,
        (S::Starting { .. }, I::NotForked(_) | I::Leaving(_) | I::Trailing | I::TemplateLost(_)) => Gossip,
        (S::Starting { pid }, I::Ready) => Become(S::Serving { pid: *pid, ready: now }),
        (S::Starting { pid }, I::Refused(reason)) => Become(S::Refused { pid: *pid, reason }),
        (S::Starting { pid }, I::Overdue) => doom(*pid, None, Cause::BootTimeout),
        (S::Starting { .. }, I::Died(exit)) => gone(cause_of(exit), None),
        (S::Starting { .. }, I::Retire(_)) => Mistake("it was told to retire before it was ready"),
        (S::Starting { .. }, I::Drain) => Mistake("it was told to drain before it was ready"),
        (S::Starting { pid }, I::Kill(cause)) => doom(*pid, None, cause),

        // The first reason stands. One that refuses and then does not leave still has its boot deadline.
        (S::Refused { .. }, I::Forked(_) | I::Refused(_)) => Repeat,
        (S::Refused { .. }, I::NotForked(_) | I::Ready | I::Leaving(_) | I::Trailing | I::TemplateLost(_)) => Gossip,
        (S::Refused { pid, reason }, I::Overdue) => doom(*pid, None, Cause::BootFailed(reason.clone())),
        (S::Refused { reason, .. }, I::Died(_)) => gone(Cause::BootFailed(reason.clone()), None),
        (S::Refused { .. }, I::Retire(_)) => Mistake("it was told to retire after it had refused to start"),
        (S::Refused { .. }, I::Drain) => Mistake("it was told to drain after it had refused to start"),
        (S::Refused { pid, .. }, I::Kill(cause)) => doom(*pid, None, cause),

        (S::Serving { .. }, I::Forked(_) | I::Ready) => Repeat,
        // Nobody trails who has not said before that it leaves.
        (S::Serving { .. }, I::NotForked(_) | I::Refused(_) | I::Trailing | I::TemplateLost(_)) => Gossip,
        (S::Serving { pid, ready }, I::Leaving(cause) | I::Retire(cause)) => leave(pid, ready, cause),
        (S::Serving { pid, ready }, I::Overdue) => doom(*pid, Some(*ready), Cause::RequestTimeout),
        (S::Serving { ready, .. }, I::Died(exit)) => gone(cause_of(exit), Some(*ready)),
        (S::Serving { pid, ready }, I::Drain) => Become(S::Draining { pid: *pid, ready: *ready, was_leaving: false }),
        (S::Serving { pid, ready }, I::Kill(cause)) => doom(*pid, Some(*ready), cause),

        // The first cause stands.
        (S::Leaving { .. }, I::Forked(_) | I::Ready | I::Leaving(_) | I::Retire(_)) => Repeat,
        (S::Leaving { .. }, I::NotForked(_) | I::Refused(_) | I::TemplateLost(_)) => Gossip,
        (S::Leaving { pid, ready, cause, deadline }, I::Trailing) => {
            Become(S::Trailing { pid: *pid, ready: *ready, cause: cause.clone(), deadline: *deadline })
        }
        (S::Leaving { pid, ready, .. }, I::Overdue) => doom(*pid, Some(*ready), Cause::RequestTimeout),
        (S::Leaving { ready, cause, .. }, I::Died(exit)) => gone(cause_of_retiree(exit, cause), Some(*ready)),
        // From here on the stop's deadline is its own.
        (S::Leaving { pid, ready, .. }, I::Drain) => {
            Become(S::Draining { pid: *pid, ready: *ready, was_leaving: true })
        }
        (S::Leaving { pid, ready, .. }, I::Kill(cause)) => doom(*pid, Some(*ready), cause),

        (S::Trailing { .. }, I::Forked(_) | I::Ready | I::Leaving(_) | I::Trailing | I::Retire(_)) => Repeat,
        (S::Trailing { .. }, I::NotForked(_) | I::Refused(_) | I::TemplateLost(_)) => Gossip,
        (S::Trailing { pid, ready, .. }, I::Overdue) => doom(*pid, Some(*ready), Cause::RequestTimeout),
        (S::Trailing { ready, cause, .. }, I::Died(exit)) => gone(cause_of_retiree(exit, cause), Some(*ready)),
        (S::Trailing { pid, ready, .. }, I::Drain) => {
            Become(S::Draining { pid: *pid, ready: *ready, was_leaving: true })
        }
        (S::Trailing { pid, ready, .. }, I::Kill(cause)) => doom(*pid, Some(*ready), cause),

        // Still under its deadline: the request that keeps it has one.
        (S::Draining { .. }, I::Forked(_) | I::Ready | I::Leaving(_) | I::Trailing | I::Retire(_) | I::Drain) => Repeat,
        (S::Draining { .. }, I::NotForked(_) | I::Refused(_) | I::TemplateLost(_)) => Gossip,
        (S::Draining { pid, ready, .. }, I::Overdue) => doom(*pid, Some(*ready), Cause::RequestTimeout),
        (S::Draining { ready, .. }, I::Died(exit)) => {
            gone(cause_of_retiree(exit, &Cause::Retired(Wish::Stop)), Some(*ready))
        }
        (S::Draining { pid, ready, .. }, I::Kill(cause)) => doom(*pid, Some(*ready), cause),

        // What it said crossed our kill on the way. A second kill would add nothing, a second cause would lie.
        (S::Doomed { .. }, I::Forked(_) | I::Overdue | I::Retire(_) | I::Drain | I::Kill(_)) => Repeat,
        (S::Doomed { .. }, I::NotForked(_) | I::Ready | I::Refused(_)) => Gossip,
        (S::Doomed { .. }, I::Leaving(_) | I::Trailing | I::TemplateLost(_)) => Gossip,
        (S::Doomed { ready, cause, .. }, I::Died(_)) => gone(cause.clone(), *ready),
    }
}

/// What an exit means where none was expected.
pub(super) fn cause_of(exit: Exit) -> Cause {
    match exit {
        Exit::Status(status) => Cause::Exited(status),
        Exit::Signal { number: SIGKILL, .. } => Cause::KilledFromOutside,
        Exit::Signal { number, core } => Cause::Signal { number, core },
        Exit::OutOfMemory => Cause::KilledForMemory,
    }
}

/// What an exit means where one was asked for, for this cause.
pub(super) fn cause_of_retiree(exit: Exit, asked: &Cause) -> Cause {
    match exit {
        Exit::Status(0) => asked.clone(),
        other => cause_of(other),
    }
}

fn gone(cause: Cause, ready: Option<Time>) -> Next {
    Next::Gone(Death { cause, ready })
}

fn doom(pid: Pid, ready: Option<Time>, cause: Cause) -> Next {
    Next::Become(State::Doomed { pid, ready, cause })
}

#[cfg(test)]
mod tests;
