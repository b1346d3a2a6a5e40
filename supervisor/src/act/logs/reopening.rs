//! Opening the files anew, round by round: which is asked for, which is done, and what became of the last.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decide::event::Time;

/// No round takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many rounds there were, as it is written down for a successor.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Rounds {
    asked: u64,
    done: u64,
}

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Reopening {
    rounds: Rounds,
    /// When the round that is under way has taken too long.
    overdue: Option<Time>,
    /// What became of the last one, if nobody has taken notice yet.
    outcome: Option<Result<String, String>>,
}

impl Reopening {
    /// Where a predecessor was: a round that was under way has all its time again.
    pub(super) fn resumed(rounds: Rounds, now: Time) -> Reopening {
        let is_under_way = rounds.asked > rounds.done;
        Reopening { rounds, overdue: is_under_way.then(|| now.after(PATIENCE)), outcome: None }
    }

    pub(super) fn rounds(&self) -> Rounds {
        self.rounds
    }

    /// Another round is asked for: its number.
    pub(super) fn begin(&mut self, now: Time) -> u64 {
        self.rounds.asked += 1;
        self.outcome = None;
        self.overdue = Some(now.after(PATIENCE));
        self.rounds.asked
    }

    /// When the round under way has taken too long, if there is one.
    pub(super) fn overdue(&self) -> Option<Time> {
        self.overdue
    }

    /// The round that is given up since it has taken too long, and why.
    pub(super) fn given_up(&self, now: Time) -> Option<(u64, String)> {
        let why = || format!("not everything is open after {} s: a disk hangs, or the log process", PATIENCE.as_secs());
        self.overdue.filter(|overdue| *overdue <= now).map(|_| (self.rounds.asked, why()))
    }

    /// The last round that was asked for.
    pub(super) fn last(&self) -> u64 {
        self.rounds.asked
    }

    /// A round is over. False if that is no news: it was over before, or whoever has asked since waits for a later one.
    pub(super) fn end(&mut self, round: u64) -> bool {
        if round <= self.rounds.done || round < self.rounds.asked {
            return false;
        }
        self.rounds.done = round;
        self.overdue = None;
        true
    }

    /// To be told to whoever has asked.
    pub(super) fn note(&mut self, outcome: Result<String, String>) {
        self.outcome = Some(outcome);
    }

    pub(super) fn take_outcome(&mut self) -> Option<Result<String, String>> {
        self.outcome.take()
    }
}
