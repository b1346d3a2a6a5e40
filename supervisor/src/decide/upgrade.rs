//! The upgrade of the supervisor itself: rehearsed by the new program first, and only then done.
//!
//! Owns how far it is. It waits for a reload to end, since what a reload has opened cannot be handed over half done, and
//! a rehearsal does not outlast a reload that begins meanwhile: its state would be an old one. Once the new program has
//! agreed no reload begins any more: the successor reads that this is so, and grants what was wished for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Turn;
use super::event::{Action, Time};
use super::note::Note;
use super::realm::Realm;

/// How long the new program may look at the state it would be handed. It only reads.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far an upgrade is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Upgrade {
    /// There is none.
    None,
    /// Somebody wants one, after the reload.
    Wanted,
    /// The new program looks at the state.
    Rehearsing {
        /// When it must have done so.
        deadline: Time,
    },
    /// It understands the state, and is executed once the admin process has made way.
    Agreed,
    /// It is about to be executed, or has just been: this state is the successor's.
    Going,
}

impl Realm {
    /// Somebody wants the supervisor's program replaced by a newer one.
    pub(super) fn want_upgrade(&mut self, turn: &mut Turn<'_>) {
        if self.is_stopping() {
            turn.note(Note::UpgradeFailed("the daemon is stopping".into()));
        } else if self.upgrade == Upgrade::None {
            self.upgrade = Upgrade::Wanted;
        }
    }

    /// The new program has looked at the state, and what it found.
    pub(super) fn rehearsed(&mut self, outcome: Result<(), String>, turn: &mut Turn<'_>) {
        let Upgrade::Rehearsing { .. } = self.upgrade else {
            return;
        };
        self.upgrade = Upgrade::None;
        match outcome {
            Ok(()) if self.reloads.running.is_some() => self.upgrade = Upgrade::Wanted,
            Ok(()) => self.upgrade = Upgrade::Agreed,
            Err(reason) => turn.note(Note::UpgradeFailed(reason)),
        }
    }

    /// Whether the new program is about to be executed, or has just been.
    pub(super) fn is_upgrading(&self) -> bool {
        match self.upgrade {
            Upgrade::None | Upgrade::Wanted | Upgrade::Rehearsing { .. } => false,
            Upgrade::Agreed | Upgrade::Going => true,
        }
    }

    /// Nobody asks us anything any more: the new program is executed, if it has agreed.
    pub(super) fn execute_upgrade(&mut self, turn: &mut Turn<'_>) {
        if self.upgrade == Upgrade::Agreed {
            self.upgrade = Upgrade::Going;
            turn.push(Action::Upgrade);
        }
    }

    /// The new program has been executed, or could not be.
    pub(super) fn end_upgrade(&mut self, turn: &mut Turn<'_>) {
        if self.upgrade == Upgrade::Going {
            self.upgrade = Upgrade::None;
            self.grant_reload(turn);
        }
    }

    /// Begins the rehearsal that is wanted, and ends one that takes too long.
    pub(super) fn advance_upgrade(&mut self, turn: &mut Turn<'_>) {
        match self.upgrade {
            Upgrade::Wanted if self.reloads.running.is_none() => {
                self.upgrade = Upgrade::Rehearsing { deadline: turn.now.after(PATIENCE) };
                turn.note(Note::Rehearsing);
                turn.push(Action::Rehearse);
            }
            Upgrade::Rehearsing { deadline } if deadline <= turn.now => {
                self.upgrade = Upgrade::None;
                turn.push(Action::AbandonRehearsal);
                turn.note(Note::UpgradeFailed(format!(
                    "the new program took longer than {PATIENCE:?} to check the state"
                )));
            }
            Upgrade::None | Upgrade::Wanted | Upgrade::Rehearsing { .. } | Upgrade::Agreed | Upgrade::Going => {}
        }
    }

    /// There will be no upgrade any more.
    pub(super) fn give_up_upgrade(&mut self, turn: &mut Turn<'_>) {
        if let Upgrade::Rehearsing { .. } = std::mem::replace(&mut self.upgrade, Upgrade::None) {
            turn.push(Action::AbandonRehearsal);
        }
    }

    /// When the rehearsal must be over.
    pub(super) fn upgrade_is_due(&self) -> Option<Time> {
        match self.upgrade {
            Upgrade::Rehearsing { deadline } => Some(deadline),
            Upgrade::None | Upgrade::Wanted | Upgrade::Agreed | Upgrade::Going => None,
        }
    }
}
