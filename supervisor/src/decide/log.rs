//! The life of the log process: one at a time, from the first moment to the last.
//!
//! Owns when it is started, and what its end means. Nothing waits for it, not even an upgrade, which it outlives with what
//! it has read; and it has no budget that it could spend.

use serde::{Deserialize, Serialize};

use super::Turn;
use super::cause::Cause;
use super::event::{Action, Event, Pid, Time};
use super::lifecycle::cause_of;
use super::note::Note;
use super::restart::{Backoff, Meaning};

/// See the module's header.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Log {
    state: State,
    backoff: Backoff,
}

/// In the order it is lived.
#[derive(Debug, Default, Serialize, Deserialize)]
enum State {
    /// Nobody has said that there is a log.
    #[default]
    Unwanted,
    /// One is to be started.
    Due(Time),
    /// There is one.
    Running {
        /// When it was started.
        since: Time,
    },
}

impl Log {
    /// Takes note of what concerns it, and gives back what does not.
    pub(super) fn learn(&mut self, event: Event, turn: &mut Turn<'_>) -> Option<Event> {
        match (&self.state, event) {
            (State::Unwanted, Event::LogWanted) => self.state = State::Due(turn.now),
            (State::Running { since }, Event::LogNotStarted(reason)) => {
                let since = *since;
                self.ended(None, Cause::NotStarted(reason), since, turn);
            }
            (State::Running { since }, Event::LogDied(pid, exit)) => {
                let since = *since;
                self.ended(Some(pid), cause_of(exit), since, turn);
            }
            (_, Event::LogWanted | Event::LogNotStarted(_) | Event::LogDied(..)) => {}
            (_, event) => return Some(event),
        }
        None
    }

    /// Starts one that is due.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        if let State::Due(at) = self.state
            && at <= turn.now
        {
            self.state = State::Running { since: turn.now };
            turn.push(Action::StartLog);
        }
    }

    pub(super) fn wake_at(&self) -> Option<Time> {
        match self.state {
            State::Due(at) => Some(at),
            State::Unwanted | State::Running { .. } => None,
        }
    }

    fn ended(&mut self, pid: Option<Pid>, cause: Cause, since: Time, turn: &mut Turn<'_>) {
        let retry = self.backoff.pause(Meaning::Ended(turn.now.since(since)), &mut turn.source.rng);
        self.state = State::Due(turn.now.after(retry));
        turn.note(Note::LogDied { pid, cause, retry });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Supervisor;
    use super::super::event::{Exit, Plan};
    use super::*;

    const PID: Pid = Pid(7);
    const KILLED: Event = Event::LogDied(PID, Exit::Signal { number: 9, core: false });

    fn supervisor() -> Supervisor {
        let mut supervisor = Supervisor::new(Vec::<Plan>::new(), 1, Time(0));
        assert_eq!(about_it(supervisor.handle(KILLED, Time(0))), []);
        assert_eq!(about_it(supervisor.handle(Event::LogWanted, Time(1))), [Action::StartLog]);
        assert_eq!(about_it(supervisor.handle(Event::LogWanted, Time(1))), [], "there is one");
        supervisor
    }

    fn about_it(actions: Vec<Action>) -> Vec<Action> {
        let is_one = |action: &Action| matches!(action, Action::StartLog | Action::Note(Note::LogDied { .. }));
        actions.into_iter().filter(is_one).collect()
    }

    #[test]
    fn one_that_dies_is_started_again_at_once_and_then_ever_more_slowly() {
        let mut supervisor = supervisor();
        let first = about_it(supervisor.handle(KILLED, Time(2)));
        let note = Note::LogDied { pid: Some(PID), cause: Cause::KilledFromOutside, retry: Duration::ZERO };
        assert_eq!(first, [Action::Note(note), Action::StartLog]);
        let mut now = Time(3);
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let second = about_it(supervisor.handle(Event::LogDied(PID, Exit::Status(1)), now));
            let [Action::Note(Note::LogDied { retry, .. })] = second.as_slice() else { panic!("{second:?}") };
            pauses.push(*retry);
            let due = now.after(*retry);
            assert_eq!(supervisor.wake_at(), Some(due));
            assert_eq!(about_it(supervisor.handle(Event::Ticked, Time(due.0 - 1))), []);
            assert_eq!(about_it(supervisor.handle(Event::Ticked, due)), [Action::StartLog]);
            now = due;
        }
        assert!(pauses[0] >= Duration::from_millis(80) && pauses.is_sorted(), "{pauses:?}");
    }

    #[test]
    fn one_that_cannot_be_started_is_tried_again() {
        let mut supervisor = supervisor();
        let actions = about_it(supervisor.handle(Event::LogNotStarted("no".into()), Time(2)));
        let note = Note::LogDied { pid: None, cause: Cause::NotStarted("no".into()), retry: Duration::ZERO };
        assert_eq!(actions, [Action::Note(note), Action::StartLog]);
    }

    #[test]
    fn an_upgrade_leaves_it_alone() {
        let mut supervisor = supervisor();
        supervisor.handle(Event::UpgradeWanted, Time(2));
        for event in [Event::Rehearsed(Ok(())), Event::Upgraded] {
            assert_eq!(about_it(supervisor.handle(event, Time(3))), []);
        }
    }
}
