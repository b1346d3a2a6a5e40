//! The supervisor becomes its own successor: what it believes is written down and read again, at any moment.

use std::time::Duration;

use ratoon::decide::Supervisor;
use ratoon::decide::event::Event;

use super::{Plan, World};
use crate::simulation::process::up_to;

impl World {
    pub(super) fn rehearse(&mut self) {
        assert!(!std::mem::replace(&mut self.rehearses, true), "two rehearsals at a time");
        assert!(self.running.is_none() && self.stop.is_none(), "a rehearsal beside a reload, or in a stop");
        let outcome = if self.rng.bool() { Ok(()) } else { Err("another version".into()) };
        // Now and then it hangs.
        let delay = if self.rng.u8(0..4) == 0 { Duration::from_secs(60) } else { up_to(3_000, &mut self.rng) };
        self.plan(delay, Plan::Rehearsed(self.now, outcome));
        self.rehearsal = self.now;
    }

    pub(super) fn abandon_rehearsal(&mut self) {
        assert!(std::mem::take(&mut self.rehearses), "no rehearsal was there to be abandoned");
    }

    /// The new program has looked at the state that was written down at `begun`.
    pub(super) fn rehearsed(&mut self, begun: ratoon::decide::event::Time, outcome: Result<(), String>) {
        if self.rehearses && self.rehearsal == begun {
            self.rehearses = false;
            self.deliver(Event::Rehearsed(outcome));
        }
    }

    /// The new program is executed a little later, after whatever was read in the same turn.
    pub(super) fn begin_upgrade(&mut self) {
        assert!(!self.rehearses, "it was not rehearsed to the end");
        assert!(self.running.is_none() && self.stop.is_none(), "an upgrade beside a reload, or in a stop");
        assert!(!std::mem::replace(&mut self.upgrading, true), "two upgrades at a time");
        let outcome = if self.rng.u8(0..4) == 0 { Err("permission denied".into()) } else { Ok(()) };
        self.plan(Duration::from_millis(1), Plan::Executed(outcome));
    }

    pub(super) fn executed(&mut self, outcome: Result<(), String>) {
        assert!(self.running.is_none(), "an upgrade beside a reload");
        self.upgrading = false;
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
