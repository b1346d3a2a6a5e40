//! The life of one template, as one table of states and inputs.
//!
//! Owns the states, the deadline each of them has, and what each input means in each of them. Never looks beyond the
//! one template: when the next is started, and what becomes of workers it was to fork, is decided elsewhere.
//!
//! The cells are of the same kinds as in [`lifecycle`](super::lifecycle).

use std::time::Duration;

use super::cause::{Cause, Wish};
use super::event::{Exit, Generation, Time};
use super::lifecycle::{Death, cause_of, cause_of_retiree};

/// How long a template has to leave after we hung up on it, or after it said that it will not serve. It has nothing
/// to finish, so this only has to outlast a loaded machine's scheduler.
pub const LEAVE_GRACE: Duration = Duration::from_secs(1);

/// Where a template is in its life, in the order it is lived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It was started and runs the application's `load`.
    Loading {
        /// When it must have loaded.
        deadline: Time,
    },
    /// It forks on order.
    Loaded {
        /// When it had loaded.
        since: Time,
    },
    /// It said why it will not serve, and is on its way out.
    Refused {
        /// What it said.
        reason: String,
        /// When it had loaded, if it ever had.
        loaded: Option<Time>,
        /// When it must be gone.
        deadline: Time,
    },
    /// We hung up on it.
    Dismissed {
        /// Who wanted it to leave.
        wish: Wish,
        /// When it had loaded, if it ever had.
        loaded: Option<Time>,
        /// When it must be gone.
        deadline: Time,
    },
    /// We have killed it and wait for its burial.
    Doomed {
        /// When it had loaded, if it ever had.
        loaded: Option<Time>,
        /// Why we killed it.
        cause: Cause,
    },
}

/// What can happen to a template, reports first, our own orders after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// It has loaded.
    Loaded,
    /// It will not serve.
    Refused(String),
    /// It could not be executed.
    NotStarted(String),
    /// It has been reaped.
    Died(Exit),
    /// The deadline of its state has passed.
    Overdue,
    /// We need it no more.
    Dismiss(Wish),
    /// We want it gone, for this cause.
    Kill(Cause),
}

/// What follows from an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It enters this state.
    Become(State),
    /// There is no such template any more.
    Gone(Death),
    /// A late or silly report: ignored.
    Gossip,
    /// Known, or ordered, already.
    Repeat,
    /// We contradicted ourselves, and how.
    Mistake(&'static str),
}

/// One template process.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) life: u64,
    pub(super) generation: Generation,
    pub(super) started: Time,
    pub(super) state: State,
}

impl Template {
    /// When something must have happened, if something must.
    pub(super) fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Loading { deadline } | State::Refused { deadline, .. } | State::Dismissed { deadline, .. } => {
                Some(deadline)
            }
            State::Loaded { .. } | State::Doomed { .. } => None,
        }
    }
}

/// The table.
pub fn step(state: &State, input: Input, now: Time) -> Next {
    use Input as I;
    use Next::{Become, Gossip, Mistake, Repeat};
    use State as S;

    let deadline = now.after(LEAVE_GRACE);
    match (state, input) {
        (S::Loading { .. }, I::Loaded) => Become(S::Loaded { since: now }),
        (S::Loading { .. }, I::Refused(reason)) => Become(S::Refused { reason, loaded: None, deadline }),
        (S::Loading { .. }, I::NotStarted(reason)) => gone(Cause::NotStarted(reason), None),
        (S::Loading { .. }, I::Died(exit)) => gone(cause_of(exit), None),
        (S::Loading { .. }, I::Overdue) => doom(None, Cause::BootTimeout),
        (S::Loading { .. }, I::Dismiss(wish)) => Become(S::Dismissed { wish, loaded: None, deadline }),
        (S::Loading { .. }, I::Kill(cause)) => doom(None, cause),

        (S::Loaded { .. }, I::Loaded) => Repeat,
        (S::Loaded { since }, I::Refused(reason)) => Become(S::Refused { reason, loaded: Some(*since), deadline }),
        (S::Loaded { .. }, I::NotStarted(_)) => Mistake("it had loaded, and was then said never to have been started"),
        (S::Loaded { since }, I::Died(exit)) => gone(cause_of(exit), Some(*since)),
        (S::Loaded { .. }, I::Overdue) => Mistake("it had loaded, and has no deadline"),
        (S::Loaded { since }, I::Dismiss(wish)) => Become(S::Dismissed { wish, loaded: Some(*since), deadline }),
        (S::Loaded { since }, I::Kill(cause)) => doom(Some(*since), cause),

        // Already leaving: hanging up on it adds nothing.
        (S::Refused { .. }, I::Loaded) => Gossip,
        (S::Refused { .. }, I::Refused(_) | I::Dismiss(_)) => Repeat,
        (S::Refused { reason, loaded, .. }, I::NotStarted(_) | I::Died(_)) => {
            gone(Cause::BootFailed(reason.clone()), *loaded)
        }
        (S::Refused { reason, loaded, .. }, I::Overdue) => doom(*loaded, Cause::BootFailed(reason.clone())),
        (S::Refused { loaded, .. }, I::Kill(cause)) => doom(*loaded, cause),

        // It may not have been executed yet when we hung up: then no death will follow.
        (S::Dismissed { .. }, I::Loaded | I::Refused(_)) => Gossip,
        (S::Dismissed { loaded, .. }, I::NotStarted(reason)) => gone(Cause::NotStarted(reason), *loaded),
        (S::Dismissed { wish, loaded, .. }, I::Died(exit)) => {
            gone(cause_of_retiree(exit, &Cause::Retired(*wish)), *loaded)
        }
        (S::Dismissed { loaded, .. }, I::Overdue) => doom(*loaded, Cause::StopTimeout),
        (S::Dismissed { .. }, I::Dismiss(_)) => Repeat,
        (S::Dismissed { loaded, .. }, I::Kill(cause)) => doom(*loaded, cause),

        (S::Doomed { .. }, I::Loaded | I::Refused(_)) => Gossip,
        (S::Doomed { loaded, .. }, I::NotStarted(reason)) => gone(Cause::NotStarted(reason), *loaded),
        (S::Doomed { loaded, cause }, I::Died(_)) => gone(cause.clone(), *loaded),
        (S::Doomed { .. }, I::Overdue | I::Dismiss(_) | I::Kill(_)) => Repeat,
    }
}

fn doom(loaded: Option<Time>, cause: Cause) -> Next {
    Next::Become(State::Doomed { loaded, cause })
}

fn gone(cause: Cause, ready: Option<Time>) -> Next {
    Next::Gone(Death { cause, ready })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(9);

    #[test]
    fn every_cell_of_the_table_leads_where_it_should() {
        let (loaded, deadline) = (Some(Time(5)), Time(20));
        let states = [
            State::Loading { deadline },
            State::Loaded { since: Time(5) },
            State::Refused { reason: "two threads".into(), loaded, deadline },
            State::Dismissed { wish: Wish::Reload, loaded, deadline },
            State::Doomed { loaded, cause: Cause::BootTimeout },
        ];
        // One column each for Loading, Loaded, Refused, Dismissed, Doomed.
        let table = [
            (Input::Loaded, "Lrggg"),
            (Input::Refused("no".into()), "FFrgg"),
            (Input::NotStarted("ENOENT".into()), "+m+++"),
            (Input::Died(Exit::Status(0)), "+++++"),
            (Input::Overdue, "XmXXr"),
            (Input::Dismiss(Wish::Stop), "DDrrr"),
            (Input::Kill(Cause::StoppedNow), "XXXXr"),
        ];
        for (input, expected) in table {
            let row: String = states.iter().map(|state| letter(&step(state, input.clone(), NOW))).collect();
            assert_eq!(row, expected, "{input:?}");
        }
    }

    fn letter(next: &Next) -> char {
        match next {
            Next::Become(State::Loading { .. }) => 'O',
            Next::Become(State::Loaded { .. }) => 'L',
            Next::Become(State::Refused { .. }) => 'F',
            Next::Become(State::Dismissed { .. }) => 'D',
            Next::Become(State::Doomed { .. }) => 'X',
            Next::Gone(_) => '+',
            Next::Gossip => 'g',
            Next::Repeat => 'r',
            Next::Mistake(_) => 'm',
        }
    }

    #[test]
    fn a_template_that_was_dismissed_and_leaves_cleanly_is_retired() {
        let dismissed = State::Dismissed { wish: Wish::Reload, loaded: None, deadline: NOW };
        let next = step(&dismissed, Input::Died(Exit::Status(0)), NOW);
        assert_eq!(next, Next::Gone(Death { cause: Cause::Retired(Wish::Reload), ready: None }));
    }

    #[test]
    fn a_template_that_refused_has_a_moment_to_leave_and_then_dies_of_what_it_said() {
        let Next::Become(refused) = step(&State::Loaded { since: Time(5) }, Input::Refused("no".into()), NOW) else {
            panic!("it did not refuse");
        };
        let expected = State::Refused { reason: "no".into(), loaded: Some(Time(5)), deadline: NOW.after(LEAVE_GRACE) };
        assert_eq!(refused, expected);
        let doomed = State::Doomed { loaded: Some(Time(5)), cause: Cause::BootFailed("no".into()) };
        assert_eq!(step(&refused, Input::Overdue, NOW), Next::Become(doomed));
    }
}
