//! The admin process: started when that is decided, answered when it asks.

use super::Daemon;
use crate::act::admin::{Admin, Heard, Line};
use crate::control::Answer;
use crate::decide::event::{Event, Time};

impl Daemon {
    /// Executes the process that serves the status page.
    pub(super) fn start_admin(&mut self) {
        let started = match &mut self.admin {
            Some(admin) => match self.logs.descriptor() {
                Ok(lines) => admin.start(self.config.log.level, (self.logs.form(), lines), &self.epoll),
                Err(error) => Err(format!("cannot pass on the log: {error}")),
            },
            None => Err("there is no socket for it".into()),
        };
        if let Err(reason) = started {
            self.events.push_back(Event::AdminNotStarted(reason));
        }
    }

    /// Answers it if it has asked, and goes on telling it what it has not taken yet.
    pub(super) fn attend_admin(&mut self) {
        let now = self.clock.now();
        let Some(line) = self.admin.as_mut().and_then(Admin::line) else {
            return;
        };
        let mut heard = line.attend(&self.epoll, now);
        if heard == Heard::Question {
            let answer = Answer::Status(Box::new(self.status()));
            if let Some(line) = self.admin.as_mut().and_then(Admin::line) {
                heard = line.tell(&answer, &self.epoll, now);
            }
        }
        match heard {
            Heard::Nothing | Heard::Question => return,
            Heard::End => self.events.push_back(Event::AdminHungUp),
            Heard::Nonsense(what) => {
                tracing::warn!(what, "the admin process does not make sense: hanging up");
                self.events.push_back(Event::AdminConfused);
            }
        }
        if let Some(admin) = &mut self.admin {
            admin.hang_up();
        }
    }

    /// When it is to be listened to again.
    pub(super) fn attends_admin_at(&self) -> Option<Time> {
        self.admin.as_ref().and_then(Admin::present_line).and_then(Line::wake_at)
    }
}
