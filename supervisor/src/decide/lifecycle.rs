//! The life of one worker, as one table of states and inputs.
//!
//! Owns the states and what each input means in each of them. Never looks beyond the one worker: who replaces it, and
//! when, is decided elsewhere.
//!
//! ```text
//! Ordered ── Forked ─▶ Starting ── Ready ─▶ Serving ── Drain ──▶ Draining ─┐
//!    │                    │ Refused            │ Leaving ─▶ Leaving ───────┤
//!    │                    ▼                    │                           ├─ Died ─▶ gone
//!    │                 Refused ────────────────┴─ Overdue, Kill ─▶ Doomed ─┘
//!    └─ NotForked, Kill, TemplateLost ─▶ gone: nothing to bury
//! ```
//!
//! Every cell is written out. Besides those that lead somewhere there are three kinds: *gossip* (a late or silly
//! report, ignored), a harmless *repeat*, and our own *mistake* (complained about; nothing changes).

use super::event::{Cause, Exit, Pid, Time};

/// Where a worker is in its life, in the order it is lived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The template was told to fork it; there may or may not be a process yet.
    Ordered {
        /// The life of the template that was told.
        template: u64,
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
    },
    /// It leaves of its own accord.
    Leaving {
        /// Its pid.
        pid: Pid,
        /// When it became ready.
        ready: Time,
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
            | State::Doomed { pid, .. } => Some(*pid),
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
    /// It leaves of its own accord.
    Leaving,
    /// Its deadline has passed.
    Overdue,
    /// It has been reaped.
    Died(Exit),
    /// The template of this life is gone.
    TemplateLost(u64),
    /// We want it to finish and leave.
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

/// The table.
pub fn step(state: &State, input: Input, now: Time) -> Next {
    use Input as I;
    use Next::{Become, Gossip, Mistake, Repeat, Stalled};
    use State as S;

    match (state, input) {
        // Nobody speaks or dies before it exists: the acting half reports `Forked` first, whatever it read first.
        (S::Ordered { .. }, I::Forked(pid)) => Become(S::Starting { pid }),
        (S::Ordered { .. }, I::NotForked(reason)) => gone(Cause::NotStarted(reason), None),
        (S::Ordered { .. }, I::Ready | I::Refused(_) | I::Leaving) => Gossip,
        (S::Ordered { template }, I::Overdue) => Stalled(*template),
        (S::Ordered { .. }, I::Died(_)) => Mistake("it died before it was forked"),
        (S::Ordered { template }, I::TemplateLost(lost)) if *template == lost => gone(Cause::TemplateLost, None),
        (S::Ordered { .. }, I::TemplateLost(_)) => Gossip,
        (S::Ordered { .. }, I::Drain) => Mistake("it was told to drain before it was forked"),
        (S::Ordered { .. }, I::Kill(cause)) => gone(cause, None),

        // One that leaves while it starts has failed to start, whatever it calls it: so `Leaving` is gossip here.
        (S::Starting { .. }, I::Forked(_)) => Repeat,
        (S::Starting { .. }, I::NotForked(_) | I::Leaving | I::TemplateLost(_)) => Gossip,
        (S::Starting { pid }, I::Ready) => Become(S::Serving { pid: *pid, ready: now }),
        (S::Starting { pid }, I::Refused(reason)) => Become(S::Refused { pid: *pid, reason }),
        (S::Starting { pid }, I::Overdue) => doom(*pid, None, Cause::BootTimeout),
        (S::Starting { .. }, I::Died(exit)) => gone(cause_of(exit), None),
        (S::Starting { .. }, I::Drain) => Mistake("it was told to drain before it was ready"),
        (S::Starting { pid }, I::Kill(cause)) => doom(*pid, None, cause),

        // The first reason stands. One that refuses and then does not leave still has its boot deadline.
        (S::Refused { .. }, I::Forked(_) | I::Refused(_)) => Repeat,
        (S::Refused { .. }, I::NotForked(_) | I::Ready | I::Leaving | I::TemplateLost(_)) => Gossip,
        (S::Refused { pid, reason }, I::Overdue) => doom(*pid, None, Cause::BootRefused(reason.clone())),
        (S::Refused { reason, .. }, I::Died(_)) => gone(Cause::BootRefused(reason.clone()), None),
        (S::Refused { .. }, I::Drain) => Mistake("it was told to drain after it had refused to start"),
        (S::Refused { pid, .. }, I::Kill(cause)) => doom(*pid, None, cause),

        (S::Serving { .. }, I::Forked(_) | I::Ready) => Repeat,
        (S::Serving { .. }, I::NotForked(_) | I::Refused(_) | I::TemplateLost(_)) => Gossip,
        (S::Serving { pid, ready }, I::Leaving) => Become(S::Leaving { pid: *pid, ready: *ready }),
        (S::Serving { pid, ready }, I::Overdue) => doom(*pid, Some(*ready), Cause::RequestTimeout),
        (S::Serving { ready, .. }, I::Died(exit)) => gone(cause_of(exit), Some(*ready)),
        (S::Serving { pid, ready }, I::Drain) => Become(S::Draining { pid: *pid, ready: *ready }),
        (S::Serving { pid, ready }, I::Kill(cause)) => doom(*pid, Some(*ready), cause),

        // Still under its deadline: the request that keeps it has one.
        (S::Draining { .. }, I::Forked(_) | I::Ready | I::Leaving | I::Drain) => Repeat,
        (S::Draining { .. }, I::NotForked(_) | I::Refused(_) | I::TemplateLost(_)) => Gossip,
        (S::Draining { pid, ready }, I::Overdue) => doom(*pid, Some(*ready), Cause::RequestTimeout),
        (S::Draining { ready, .. }, I::Died(exit)) => gone(cause_of_retiree(exit), Some(*ready)),
        (S::Draining { pid, ready }, I::Kill(cause)) => doom(*pid, Some(*ready), cause),

        (S::Leaving { .. }, I::Forked(_) | I::Ready | I::Leaving) => Repeat,
        (S::Leaving { pid, ready }, I::Drain) => Become(S::Draining { pid: *pid, ready: *ready }),
        (S::Leaving { .. }, I::NotForked(_) | I::Refused(_) | I::TemplateLost(_)) => Gossip,
        (S::Leaving { pid, ready }, I::Overdue) => doom(*pid, Some(*ready), Cause::RequestTimeout),
        (S::Leaving { ready, .. }, I::Died(exit)) => gone(cause_of_retiree(exit), Some(*ready)),
        (S::Leaving { pid, ready }, I::Kill(cause)) => doom(*pid, Some(*ready), cause),

        // What it said crossed our kill on the way. A second kill would add nothing, a second cause would lie.
        (S::Doomed { .. }, I::Forked(_) | I::Overdue | I::Drain | I::Kill(_)) => Repeat,
        (S::Doomed { .. }, I::NotForked(_) | I::Ready | I::Refused(_) | I::Leaving | I::TemplateLost(_)) => Gossip,
        (S::Doomed { ready, cause, .. }, I::Died(_)) => gone(cause.clone(), *ready),
    }
}

/// What an exit means where none was expected.
pub(super) fn cause_of(exit: Exit) -> Cause {
    match exit {
        Exit::Status(status) => Cause::Exited(status),
        Exit::Signal { number, core } => Cause::Killed { number, core },
    }
}

/// What an exit means where one was asked for.
pub(super) fn cause_of_retiree(exit: Exit) -> Cause {
    match exit {
        Exit::Status(0) => Cause::Retired,
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
mod tests {
    use super::*;

    const PID: Pid = Pid(712);
    const READY: Time = Time(5);
    const NOW: Time = Time(9);
    const SEGFAULT: Exit = Exit::Signal { number: 11, core: true };

    fn states() -> [State; 7] {
        [
            State::Ordered { template: 1 },
            State::Starting { pid: PID },
            State::Refused { pid: PID, reason: "no database".into() },
            State::Serving { pid: PID, ready: READY },
            State::Draining { pid: PID, ready: READY },
            State::Leaving { pid: PID, ready: READY },
            State::Doomed { pid: PID, ready: Some(READY), cause: Cause::RequestTimeout },
        ]
    }

    /// One letter for what follows: a capital for a state (`F` Refused, `V` Serving, `X` Doomed), `+` gone.
    fn letter(next: &Next) -> char {
        match next {
            Next::Become(State::Ordered { .. }) => 'O',
            Next::Become(State::Starting { .. }) => 'S',
            Next::Become(State::Refused { .. }) => 'F',
            Next::Become(State::Serving { .. }) => 'V',
            Next::Become(State::Draining { .. }) => 'D',
            Next::Become(State::Leaving { .. }) => 'L',
            Next::Become(State::Doomed { .. }) => 'X',
            Next::Gone(_) => '+',
            Next::Stalled(_) => '!',
            Next::Gossip => 'g',
            Next::Repeat => 'r',
            Next::Mistake(_) => 'm',
        }
    }

    fn dies(state: &State, exit: Exit) -> Cause {
        match step(state, Input::Died(exit), NOW) {
            Next::Gone(death) => death.cause,
            other => panic!("{state:?} survived {exit:?}: {other:?}"),
        }
    }

    #[test]
    fn every_cell_of_the_table_leads_where_it_should() {
        // One column each for Ordered, Starting, Refused, Serving, Draining, Leaving, Doomed.
        let table = [
            (Input::Forked(PID), "Srrrrrr"),
            (Input::NotForked("EAGAIN".into()), "+gggggg"),
            (Input::Ready, "gVgrrrg"),
            (Input::Refused("no".into()), "gFrgggg"),
            (Input::Leaving, "gggLrrg"),
            (Input::Overdue, "!XXXXXr"),
            (Input::Died(Exit::Status(0)), "m++++++"),
            (Input::TemplateLost(1), "+gggggg"),
            (Input::TemplateLost(2), "ggggggg"),
            (Input::Drain, "mmmDrDr"),
            (Input::Kill(Cause::StoppedNow), "+XXXXXr"),
        ];
        for (input, expected) in table {
            let row: String = states().iter().map(|state| letter(&step(state, input.clone(), NOW))).collect();
            assert_eq!(row, expected, "{input:?}");
        }
    }

    #[test]
    fn a_worker_that_refused_died_of_what_it_said() {
        let [_, _, refused, ..] = states();
        assert_eq!(dies(&refused, Exit::Status(1)), Cause::BootRefused("no database".into()));
        assert_eq!(dies(&refused, SEGFAULT), Cause::BootRefused("no database".into()));
    }

    #[test]
    fn a_worker_that_was_asked_to_leave_and_leaves_cleanly_is_retired_and_otherwise_not() {
        let [.., draining, leaving, _] = states();
        for state in [draining, leaving] {
            assert_eq!(dies(&state, Exit::Status(0)), Cause::Retired);
            assert_eq!(dies(&state, Exit::Status(3)), Cause::Exited(3));
            assert_eq!(dies(&state, SEGFAULT), Cause::Killed { number: 11, core: true });
        }
    }

    #[test]
    fn a_serving_worker_that_exits_unasked_is_not_retired_even_with_status_zero() {
        let [_, _, _, serving, ..] = states();
        assert_eq!(dies(&serving, Exit::Status(0)), Cause::Exited(0));
    }

    #[test]
    fn the_cause_we_killed_for_outlives_the_exit_and_every_later_kill() {
        let [.., doomed] = states();
        assert_eq!(step(&doomed, Input::Kill(Cause::StoppedNow), NOW), Next::Repeat);
        assert_eq!(dies(&doomed, Exit::Status(0)), Cause::RequestTimeout);
        assert_eq!(dies(&doomed, SEGFAULT), Cause::RequestTimeout);
    }

    #[test]
    fn a_passed_deadline_means_what_the_worker_was_doing() {
        let causes: Vec<_> = states()
            .iter()
            .filter_map(|state| match step(state, Input::Overdue, NOW) {
                Next::Become(State::Doomed { cause, .. }) => Some(cause),
                _ => None,
            })
            .collect();
        let refused = Cause::BootRefused("no database".into());
        let request = Cause::RequestTimeout;
        assert_eq!(causes, [Cause::BootTimeout, refused, request.clone(), request.clone(), request]);
    }

    #[test]
    fn only_a_death_after_ready_says_since_when_it_was() {
        let ready: Vec<_> = states()
            .iter()
            .filter_map(|state| match step(state, Input::Died(SEGFAULT), NOW) {
                Next::Gone(death) => Some(death.ready),
                _ => None,
            })
            .collect();
        let since = Some(READY);
        assert_eq!(ready, [None, None, since, since, since, since]);
    }
}
