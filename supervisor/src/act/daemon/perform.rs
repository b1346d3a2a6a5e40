//! What was decided, done: one arm per action. What cannot be done comes back as an event.

use std::os::fd::AsFd;
use std::time::Duration;

use ratoon_worker::protocol::Order;

use super::{Daemon, now};
use crate::act::token::{Token, wait_for};
use crate::act::{children, notes};
use crate::decide::event::{Action, Event, Note, PoolId, Stop, Time};

impl Daemon {
    pub(super) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::StartTemplate(who, generation) => {
                let Some(pool) = self.pools.get_mut(who.pool.0 as usize) else {
                    return;
                };
                let started = pool.start_template(who, generation);
                if let Err(reason) = started {
                    self.events.push_back(Event::TemplateNotStarted(who, reason));
                } else if let Err(error) = self.wait_for_template(who.pool) {
                    tracing::error!(pool = %self.name(who.pool), %error, "cannot wait for the template");
                }
            }
            Action::DismissTemplate(who) => {
                if let Some(template) = self.template(who) {
                    template.channel = None;
                }
            }
            Action::KillTemplate(who) => {
                if let Some(template) = self.template(who) {
                    children::kill(template.pid);
                }
            }
            Action::OrderFork { worker, deadline, .. } => {
                let Some(pool) = self.pools.get_mut(worker.pool.0 as usize) else {
                    return;
                };
                if let Err(reason) = pool.order_fork(worker, deadline) {
                    self.events.push_back(Event::WorkerNotForked(worker, reason));
                }
            }
            Action::Forget(who) => {
                if let Some(pool) = self.pools.get_mut(who.pool.0 as usize) {
                    pool.forget(who);
                }
            }
            Action::OrderDrain(who) => {
                if let Some(worker) = self.worker(who)
                    && let Some(channel) = &worker.channel
                    && let Err(error) = channel.send(&Order::Drain, &[])
                {
                    tracing::warn!(pool = %self.name(who.pool), worker = who.slot, %error, "cannot tell a worker to drain");
                }
            }
            Action::Kill(who) => {
                if let Some(pid) = self.worker(who).and_then(|worker| worker.process) {
                    children::kill(pid);
                }
            }
            Action::StopListening(id) => {
                if let Some(pool) = self.pools.get(id.0 as usize) {
                    pool.stop_listening();
                }
            }
            Action::AnnounceReady => {
                tracing::info!("serving: every pool has a ready worker");
                self.manager.tell("READY=1");
            }
            Action::AnnounceStopping => self.manager.tell("STOPPING=1"),
            Action::Note(note) => {
                self.obituaries.record(&note);
                notes::write(&note, |id| self.name(id), self.last_request(&note));
            }
            Action::Leave(stop) => {
                match stop {
                    Stop::Graceful => children::dismiss_strangers(),
                    Stop::Now => children::kill_strangers(),
                }
                self.left = true;
            }
        }
    }

    /// What a worker that is about to die, or dead, is or was doing.
    fn last_request(&self, note: &Note) -> Option<(String, Duration)> {
        let (Note::Killing { worker, .. } | Note::WorkerDied { worker, .. }) = note else {
            return None;
        };
        let cell = self.pools.get(worker.pool.0 as usize)?.scoreboard.cell(worker.slot)?;
        let read = cell.read();
        (read.life == worker.life && read.busy_since != 0)
            .then(|| (String::from_utf8_lossy(&read.line).into_owned(), now().since(Time(read.busy_since))))
    }

    fn wait_for_template(&self, id: PoolId) -> nix::Result<()> {
        let template = self.pools.get(id.0 as usize).and_then(|pool| pool.template.as_ref());
        match template.and_then(|template| template.channel.as_ref()) {
            Some(channel) => wait_for(&self.epoll, channel.as_fd(), Token::Template(id.0)),
            None => Ok(()),
        }
    }
}
