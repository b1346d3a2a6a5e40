//! The life of the process that serves the status page: one at a time, whenever it is wanted.
//!
//! Owns when it is started and when it leaves, and what its end means. Nothing depends on it: no worker, no reload and no
//! stop waits for it, an upgrade for a second at most, and it has no budget that it could spend.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Turn;
use super::cause::Cause;
use super::event::{Action, Event, Time};
use super::lifecycle::cause_of;
use super::note::Note;
use super::restart::{Backoff, Meaning};

/// How long it may take to answer what it has in hand before an upgrade. An answer takes milliseconds; what takes longer
/// is a client that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module's header.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Admin {
    state: State,
    backoff: Backoff,
}

/// In the order it is lived.
#[derive(Debug, Default, Serialize, Deserialize)]
enum State {
    /// None is configured.
    #[default]
    Unwanted,
    /// One is to be started, once there is a supervisor that stays.
    Due(Time),
    /// There is one.
    Running {
        /// When it was started.
        since: Time,
    },
    /// We have asked it to leave: it answers what it has in hand.
    Dismissed {
        /// When it was started.
        since: Time,
        /// When it must be gone.
        deadline: Time,
    },
    /// We have killed it and wait for its burial.
    Doomed {
        /// When it was started.
        since: Time,
        /// Why we killed it.
        why: Why,
    },
}

/// Why it was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Why {
    /// It was to be gone before this program becomes another, and did not go.
    InTheWay,
    /// What it says makes no sense.
    Nonsense,
}

impl Admin {
    /// Takes note of what concerns it, and gives back what does not.
    pub(super) fn learn(&mut self, event: Event, turn: &mut Turn<'_>) -> Option<Event> {
        match (&self.state, event) {
            (State::Unwanted, Event::AdminWanted) => self.state = State::Due(turn.now),
            (State::Running { since } | State::Dismissed { since, .. }, Event::AdminNotStarted(reason)) => {
                let since = *since;
                self.ended(Cause::NotStarted(reason), since, turn);
            }
            (State::Running { since }, Event::AdminDied(exit)) => {
                let since = *since;
                self.ended(cause_of(exit), since, turn);
            }
            (State::Running { since } | State::Dismissed { since, .. }, Event::AdminConfused) => {
                self.doom(*since, Why::Nonsense, turn);
            }
            (State::Dismissed { .. } | State::Doomed { why: Why::InTheWay, .. }, Event::AdminDied(_)) => {
                self.state = State::Due(turn.now);
            }
            (State::Doomed { why: Why::Nonsense, since }, Event::AdminDied(_)) => {
                let (since, reason) = (*since, "it does not make sense: it was killed".into());
                self.ended(Cause::BootFailed(reason), since, turn);
            }
            // It would tell everybody for ever that we do not answer. One that is dying anyway dies of what it dies of.
            (State::Running { .. }, Event::AdminHungUp) => turn.push(Action::DismissAdmin),
            (
                _,
                Event::AdminWanted
                | Event::AdminNotStarted(_)
                | Event::AdminDied(_)
                | Event::AdminConfused
                | Event::AdminHungUp,
            ) => {}
            (_, event) => return Some(event),
        }
        None
    }

    /// Starts one that is due; or, while the supervisor is about to become another program (`makes_way`), has the one
    /// there is leave: nobody would answer what it asks meanwhile.
    pub(super) fn settle(&mut self, makes_way: bool, turn: &mut Turn<'_>) {
        match self.state {
            State::Due(at) if at <= turn.now && !makes_way => {
                self.state = State::Running { since: turn.now };
                turn.push(Action::StartAdmin);
            }
            State::Running { since } if makes_way => {
                self.state = State::Dismissed { since, deadline: turn.now.after(PATIENCE) };
                turn.push(Action::DismissAdmin);
            }
            State::Dismissed { since, deadline } if deadline <= turn.now => {
                turn.note(Note::AdminInTheWay);
                self.doom(since, Why::InTheWay, turn);
            }
            State::Unwanted
            | State::Due(_)
            | State::Running { .. }
            | State::Dismissed { .. }
            | State::Doomed { .. } => {}
        }
    }

    /// Whether it asks nothing any more, and has nobody to answer. One that we have killed is buried by whoever is here
    /// when it dies.
    pub(super) fn has_made_way(&self) -> bool {
        match self.state {
            State::Unwanted | State::Due(_) | State::Doomed { .. } => true,
            State::Running { .. } | State::Dismissed { .. } => false,
        }
    }

    pub(super) fn wake_at(&self, makes_way: bool) -> Option<Time> {
        match self.state {
            State::Due(at) => Some(at).filter(|_| !makes_way),
            State::Dismissed { deadline, .. } => Some(deadline),
            State::Unwanted | State::Running { .. } | State::Doomed { .. } => None,
        }
    }

    fn doom(&mut self, since: Time, why: Why, turn: &mut Turn<'_>) {
        self.state = State::Doomed { since, why };
        turn.push(Action::KillAdmin);
    }

    fn ended(&mut self, cause: Cause, since: Time, turn: &mut Turn<'_>) {
        let retry = self.backoff.pause(Meaning::Ended(turn.now.since(since)), &mut turn.source.rng);
        self.state = State::Due(turn.now.after(retry));
        turn.note(Note::AdminDied { cause, retry });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::super::Supervisor;
    use super::super::event::{Exit, Plan};
    use super::*;

    const KILLED: Event = Event::AdminDied(Exit::Signal { number: 9, core: false });

    fn supervisor() -> Supervisor {
        let mut supervisor = Supervisor::new(Vec::<Plan>::new(), 1, Time(0));
        assert_eq!(about_admin(supervisor.handle(KILLED, Time(0))), []);
        assert_eq!(about_admin(supervisor.handle(Event::AdminWanted, Time(1))), [Action::StartAdmin]);
        supervisor
    }

    fn about_admin(actions: Vec<Action>) -> Vec<Action> {
        let is_one = |action: &Action| {
            use Action::{DismissAdmin, KillAdmin, StartAdmin, Upgrade};
            matches!(action, StartAdmin | DismissAdmin | KillAdmin | Upgrade | Action::Note(Note::AdminDied { .. }))
        };
        actions.into_iter().filter(is_one).collect()
    }

    fn died(cause: Cause, retry: Duration) -> Action {
        Action::Note(Note::AdminDied { cause, retry })
    }

    #[test]
    fn one_that_dies_is_started_again_at_once_and_then_ever_more_slowly() {
        let mut supervisor = supervisor();
        let first = supervisor.handle(KILLED, Time(2));
        assert_eq!(about_admin(first), [died(Cause::KilledFromOutside, Duration::ZERO), Action::StartAdmin]);
        let mut now = Time(3);
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let second = about_admin(supervisor.handle(Event::AdminDied(Exit::Status(1)), now));
            let [Action::Note(Note::AdminDied { retry, .. })] = second.as_slice() else { panic!("{second:?}") };
            pauses.push(*retry);
            let due = now.after(*retry);
            assert_eq!(supervisor.wake_at(), Some(due));
            assert_eq!(about_admin(supervisor.handle(Event::Ticked, Time(due.0 - 1))), []);
            assert_eq!(about_admin(supervisor.handle(Event::Ticked, due)), [Action::StartAdmin]);
            now = due;
        }
        assert!(pauses[0] >= Duration::from_millis(80) && pauses.is_sorted(), "{pauses:?}");
    }

    #[test]
    fn one_that_cannot_be_started_or_talks_nonsense_is_tried_again_later() {
        let mut supervisor = supervisor();
        let actions = supervisor.handle(Event::AdminNotStarted("no".into()), Time(2));
        assert_eq!(about_admin(actions), [died(Cause::NotStarted("no".into()), Duration::ZERO), Action::StartAdmin]);
        assert_eq!(about_admin(supervisor.handle(Event::AdminConfused, Time(3))), [Action::KillAdmin]);
        assert_eq!(about_admin(supervisor.handle(Event::AdminConfused, Time(4))), []);
        let actions = about_admin(supervisor.handle(KILLED, Time(5)));
        assert!(matches!(actions.as_slice(), [Action::Note(_)]), "{actions:?}");
    }

    #[test]
    fn one_that_cannot_be_heard_any_more_leaves_and_there_is_another() {
        let mut supervisor = supervisor();
        assert_eq!(about_admin(supervisor.handle(Event::AdminHungUp, Time(2))), [Action::DismissAdmin]);
        let actions = about_admin(supervisor.handle(Event::AdminDied(Exit::Status(0)), Time(3)));
        assert!(matches!(actions.as_slice(), [Action::Note(_), Action::StartAdmin]), "{actions:?}");
        let mut supervisor = dismissed();
        assert_eq!(about_admin(supervisor.handle(Event::AdminHungUp, Time(4))), []);
    }

    /// One whose supervisor has been found fit to become another program.
    fn dismissed() -> Supervisor {
        let mut supervisor = supervisor();
        supervisor.handle(Event::UpgradeWanted, Time(2));
        let actions = about_admin(supervisor.handle(Event::Rehearsed(Ok(())), Time(3)));
        assert_eq!(actions, [Action::DismissAdmin]);
        supervisor
    }

    #[test]
    fn before_an_upgrade_it_leaves_and_after_it_there_is_another_without_a_word() {
        for (outcome, at) in [(Event::Upgraded, Time(6)), (Event::UpgradeFailed("no".into()), Time(6))] {
            let mut supervisor = dismissed();
            assert_eq!(about_admin(supervisor.handle(Event::Ticked, Time(4))), []);
            assert_eq!(about_admin(supervisor.handle(Event::AdminDied(Exit::Status(0)), Time(5))), [Action::Upgrade]);
            assert_eq!(supervisor.admin.wake_at(true), None);
            assert_eq!(about_admin(supervisor.handle(outcome, at)), [Action::StartAdmin]);
        }
    }

    #[test]
    fn an_upgrade_without_one_waits_for_nobody() {
        let mut supervisor = Supervisor::new(Vec::<Plan>::new(), 1, Time(0));
        supervisor.handle(Event::UpgradeWanted, Time(2));
        assert_eq!(about_admin(supervisor.handle(Event::Rehearsed(Ok(())), Time(3))), [Action::Upgrade]);
    }

    #[test]
    fn one_that_does_not_leave_is_killed_and_the_upgrade_waits_no_longer() {
        let mut supervisor = dismissed();
        let late = Time(3).after(PATIENCE);
        assert_eq!(about_admin(supervisor.handle(Event::Ticked, Time(late.0 - 1))), []);
        assert_eq!(about_admin(supervisor.handle(Event::Ticked, late)), [Action::KillAdmin, Action::Upgrade]);
        assert_eq!(about_admin(supervisor.handle(Event::Upgraded, late)), []);
        assert_eq!(about_admin(supervisor.handle(KILLED, late)), [Action::StartAdmin]);
    }
}
