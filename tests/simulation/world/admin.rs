//! The admin process of the model world: one at a time, which crashes, talks nonsense, and leaves late or never.

use std::time::Duration;

use ratoon::decide::event::{Event, Exit, Time};

use super::{KILLED, Plan, World};
use crate::simulation::process::up_to;

/// It has as long to answer what it has in hand.
const GRACE: Duration = Duration::from_secs(1);

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Admin {
    /// How many there have been: the number of the present one.
    number: u64,
    lives: bool,
    /// When it was asked to leave.
    dismissed: Option<Time>,
    confused: bool,
    killed: bool,
}

impl World {
    /// From now on there is to be one.
    pub(in crate::simulation) fn want_admin(&mut self) {
        self.deliver(Event::AdminWanted);
        self.trouble_admin();
    }

    pub(in crate::simulation) fn has_admin(&self) -> bool {
        self.admin.lives
    }

    /// Whether the new program has agreed to take our place, and has not done so yet.
    pub(in crate::simulation) fn has_agreed(&self) -> bool {
        self.succession.agreed.is_some()
    }

    pub(super) fn start_admin(&mut self) {
        assert!(!self.admin.lives, "two admin processes");
        assert!(self.succession.agreed.is_none(), "an admin process of a program that is about to be no more");
        self.admin = Admin { number: self.admin.number + 1, lives: true, ..Admin::default() };
        match self.rng.u8(0..20) {
            0 => self.plan_admin(1, Event::AdminNotStarted("no memory".into())),
            1 => self.plan_admin(20_000, Event::AdminConfused),
            _ => {}
        }
    }

    pub(super) fn dismiss_admin(&mut self) {
        assert!(self.succession.agreed.is_some(), "it was asked to leave for nothing");
        assert!(self.admin.lives && !self.admin.killed && self.admin.dismissed.is_none(), "{:?}", self.admin);
        self.admin.dismissed = Some(self.now);
        match self.rng.u8(0..5) {
            // It hangs, or is late.
            0 => {}
            1 => self.plan_admin(3_000, Event::AdminDied(Exit::Status(0))),
            2 => self.plan_admin(3_000, Event::AdminConfused),
            _ => self.plan_admin(300, Event::AdminDied(Exit::Status(0))),
        }
    }

    pub(super) fn kill_admin(&mut self) {
        assert!(self.admin.lives && !self.admin.killed, "{:?}", self.admin);
        let is_late = self.admin.dismissed.is_some_and(|since| self.now >= since.after(GRACE));
        assert!(is_late || self.admin.confused, "{:?} was killed for nothing", self.admin);
        self.admin.killed = true;
        self.plan_admin(50, Event::AdminDied(KILLED));
    }

    /// Everything is over.
    pub(super) fn end_admin(&mut self) {
        self.admin.lives = false;
    }

    /// Something happens to this one, if it still lives.
    pub(super) fn befalls_admin(&mut self, number: u64, event: Event) {
        if !self.admin.lives || self.admin.number != number {
            return;
        }
        match event {
            Event::AdminConfused => self.admin.confused = true,
            _ => self.admin.lives = false,
        }
        self.deliver(event);
    }

    /// Somebody kills it now and then, in the chaos.
    pub(super) fn trouble_admin(&mut self) {
        if self.admin.lives && self.chaos {
            self.plan_admin(1, Event::AdminDied(KILLED));
        }
        let next = up_to(60_000, &mut self.rng);
        self.plan(next, Plan::AdminTrouble);
    }

    /// The new program is to be executed: nobody may be left who would ask in vain, and nobody is waited for in vain.
    pub(super) fn assert_admin_has_made_way(&self) {
        assert!(!self.admin.lives || self.admin.killed, "{:?} has nobody to ask any more", self.admin);
        let agreed = self.succession.agreed.expect("the new program has agreed");
        assert!(self.now <= agreed.after(GRACE), "the upgrade was held up");
    }

    fn plan_admin(&mut self, within_millis: u64, event: Event) {
        let delay = up_to(within_millis, &mut self.rng);
        self.plan(delay, Plan::Admin(self.admin.number, event));
    }
}
