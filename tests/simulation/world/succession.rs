//! The supervisor becomes its own successor: what it believes is written down and read again, at any moment.

use std::time::Duration;

use ratoon::decide::Supervisor;
use ratoon::decide::event::{Event, Time};

use super::{Plan, World};
use crate::simulation::process::up_to;

/// How far an upgrade is.
#[derive(Debug, Default)]
pub(super) struct Succession {
    /// Since when a new program has been looking at the state, if one does.
    rehearses: Option<Time>,
    /// Since when the new program has been wanted in our place: from then on everybody makes way.
    pub(super) agreed: Option<Time>,
}

impl World {
    pub(super) fn rehearse(&mut self) {
        assert_eq!(self.succession.rehearses.replace(self.now), None, "two rehearsals at a time");
        assert!(self.running.is_none() && self.stop.is_none(), "a rehearsal beside a reload, or in a stop");
        let outcome = if self.rng.bool() { Ok(()) } else { Err("another version".into()) };
        // Now and then it hangs.
        let delay = if self.rng.u8(0..4) == 0 { Duration::from_secs(60) } else { up_to(3_000, &mut self.rng) };
        self.plan(delay, Plan::Rehearsed(self.now, outcome));
    }

    pub(super) fn abandon_rehearsal(&mut self) {
        assert!(self.succession.rehearses.take().is_some(), "no rehearsal was there to be abandoned");
    }

    /// The new program has looked at the state that was written down at `begun`.
    pub(super) fn rehearsed(&mut self, begun: Time, outcome: Result<(), String>) {
        if self.succession.rehearses.take_if(|since| *since == begun).is_some() {
            // A reload that has begun meanwhile is finished first, with another rehearsal after it.
            self.succession.agreed = Some(self.now).filter(|_| outcome.is_ok() && self.running.is_none());
            self.deliver(Event::Rehearsed(outcome));
        }
    }

    /// The new program is executed a little later, after whatever was read in the same turn.
    pub(super) fn begin_upgrade(&mut self) {
        assert_eq!(self.succession.rehearses, None, "it was not rehearsed to the end");
        assert!(self.running.is_none() && self.stop.is_none(), "an upgrade beside a reload, or in a stop");
        self.assert_admin_has_made_way();
        assert!(!std::mem::replace(&mut self.upgrading, true), "two upgrades at a time");
        let outcome = if self.rng.u8(0..4) == 0 { Err("permission denied".into()) } else { Ok(()) };
        self.plan(Duration::from_millis(1), Plan::Executed(outcome));
    }

    pub(super) fn executed(&mut self, outcome: Result<(), String>) {
        assert!(self.running.is_none(), "an upgrade beside a reload");
        (self.upgrading, self.succession.agreed) = (false, None);
        match outcome {
            _ if self.left => {}
            Err(reason) => {
                self.deliver(Event::UpgradeFailed(reason));
            }
            Ok(()) => {
                self.succeed();
                self.deliver(Event::Upgraded);
            }
        }
    }

    fn succeed(&mut self) {
        let before = format!("{:?}", self.supervisor);
        let written = serde_json::to_string(&self.supervisor).expect("it can be written");
        let successor: Supervisor = serde_json::from_str(&written).expect("it can be read");
        assert_eq!(format!("{successor:?}"), before, "the successor believes something else");
        self.supervisor = successor;
        self.upgrades += 1;
    }
}
