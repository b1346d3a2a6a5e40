//! What was decided, done: one arm per action. What cannot be done comes back as an event.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::time::Duration;

use ratoon_worker::protocol::Order;

use super::Daemon;
use super::errands::Errand;
use crate::act::pool::Pool;
use crate::act::token::{Token, wait_for};
use crate::act::{children, notes};
use crate::control::Answer;
use crate::decide::event::{Action, Event, Stop, TemplateRef, WorkerRef};
use crate::decide::note::Note;
use crate::sys;

impl Daemon {
    pub(super) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        self.tallies.record(&action);
        match action {
            Action::ReadConfiguration(edition, scope) => self.read_configuration(edition, &scope),
            Action::Prepare(id, edition) => {
                let surroundings = self.surroundings_of(id, edition);
                let Some(pool) = self.pool(id) else {
                    return;
                };
                match pool.prepare(edition, &surroundings) {
                    Ok(()) => self.listen_to_preparation(id, edition),
                    Err(reason) => self.events.push_back(Event::Prepared(id, edition, Err(reason))),
                }
            }
            Action::AbandonPreparation(id, edition) => {
                if let Some(pool) = self.pool(id) {
                    pool.abandon_preparation(edition);
                }
            }
            Action::Adopt(edition) => self.adopt(edition),
            Action::Abandon(edition) => {
                self.abandon(edition);
                self.close_idle_files();
            }
            Action::Conclude(edition) => {
                self.conclude(edition);
                self.close_idle_files();
            }
            Action::Answer(askers, outcome) => self.answer(&askers, &outcome),
            Action::Refuse(asker, id, reason) => self.turn_down(asker, id, &reason),
            Action::Report(askers, id, step) => self.report(&askers, id, step),
            Action::Close(id) => {
                self.pools.extract_if(.., |pool| pool.id == id).for_each(Pool::close);
                self.obituaries.forget(id);
                self.close_idle_files();
            }
            Action::ReopenLog => {
                self.logs.reopen(self.clock.now());
                self.conclude_reopening();
            }
            Action::Rehearse => self.rehearse(),
            Action::AbandonRehearsal => {
                if let Some(rehearsal) = self.rehearsal.take() {
                    rehearsal.abandon();
                }
            }
            Action::Upgrade => self.becomes_another = true,
            Action::StartTemplate(who, generation, edition) => {
                let surroundings = self.surroundings_of(who.pool, edition);
                let Some(pool) = self.pool(who.pool) else {
                    return;
                };
                if let Err(reason) = pool.start_template(who, generation, edition, &surroundings) {
                    self.events.push_back(Event::TemplateNotStarted(who, reason));
                } else if let Err(error) = self.wait_for_template(who) {
                    tracing::error!(pool = %self.name(who.pool), %error, "cannot wait for the template");
                }
                self.listen_to_template(who);
            }
            Action::DismissTemplate(who) => {
                if let Some(template) = self.template(who) {
                    template.hang_up();
                }
            }
            Action::KillTemplate(who) => {
                if let Some(template) = self.template(who) {
                    children::kill(template.pid);
                }
            }
            Action::OrderFork { worker, template, deadline, max_requests, .. } => {
                let moments = (self.clock.common(self.clock.now()), self.clock.common(deadline));
                if let Some(pool) = self.pool(worker.pool)
                    && let Err(reason) = pool.order_fork(worker, template, moments, max_requests)
                {
                    self.events.push_back(Event::WorkerNotForked(worker, reason));
                }
            }
            Action::Forget(who) => self.forget(who),
            Action::OrderDrain(who) => self.order(who, &Order::Drain),
            Action::OrderRetire(who) => self.order(who, &Order::Retire),
            Action::Interrupt(who) => {
                let asked = self.worker(who).and_then(|worker| {
                    worker.allowance.ask();
                    worker.asked = true;
                    worker.process
                });
                if let Some(pid) = asked
                    && let Err(error) = sys::overdue::tell(pid)
                {
                    tracing::warn!(pool = %self.name(who.pool), worker = who.slot, %error, "cannot ask a worker where it is stuck");
                }
            }
            Action::Kill(who) => {
                if let Some(pid) = self.worker(who).and_then(|worker| worker.process) {
                    children::kill(pid);
                }
            }
            Action::Measure(id) => self.measure(id),
            Action::Count(id) => self.count(id),
            Action::AwaitKnock(id) => self.await_knock(id),
            Action::StopListening(id) => {
                if let Some(pool) = self.pool(id) {
                    pool.stop_listening();
                }
            }
            Action::AnnounceReady => {
                tracing::info!("serving: every pool has a ready worker");
                self.herald.ready();
            }
            Action::AnnounceStopping => self.announce_stop(),
            Action::StartLog => self.start_log(),
            Action::StartAdmin => self.start_admin(),
            Action::DismissAdmin => {
                if let Some(admin) = &self.admin {
                    admin.dismiss();
                }
            }
            Action::KillAdmin => {
                if let Some(admin) = &self.admin {
                    admin.kill();
                }
            }
            Action::Note(note) => self.note(&note),
            Action::Leave(stop, verdict) => {
                if let Some(admin) = &mut self.admin {
                    admin.end();
                }
                match stop {
                    Stop::Graceful => children::dismiss_strangers(self.logs.pid()),
                    Stop::Now => children::kill_strangers(self.logs.pid()),
                }
                self.conclude_errands(Errand::Stop, &Answer::Done("stopped".into()));
                self.left = Some(verdict);
            }
        }
    }

    /// Writes it down, and tells those who wait for something how far it is.
    fn note(&mut self, note: &Note) {
        let request = self.last_request(note);
        self.obituaries.record(note, request.clone(), self.clock.now());
        if let Note::WorkerDied { worker, pid, cause, .. } = note {
            self.write_down(*worker, pid.map_or(0, |pid| pid.0), cause);
        }
        notes::write(note, |id| self.name(id), request);
        self.report_progress(note);
        self.announce(note);
    }

    fn order(&mut self, who: WorkerRef, order: &Order) {
        if let Some(worker) = self.worker(who)
            && let Some(channel) = &worker.channel
            && let Err(error) = worker.unsent.send(channel, order, &[])
            // One that is gone needs no orders: its death is told.
            && error.kind() != ErrorKind::BrokenPipe
        {
            tracing::warn!(pool = %self.name(who.pool), worker = who.slot, %error, "cannot tell a worker: {order:?}");
        }
    }

    /// What a worker that is about to die, or dead, is or was doing.
    fn last_request(&self, note: &Note) -> Option<(String, Duration)> {
        let (Note::Killing { worker, .. } | Note::WorkerDied { worker, .. } | Note::Interrupting(worker)) = note else {
            return None;
        };
        let pool = self.pools.iter().find(|pool| pool.id == worker.pool)?;
        let read = pool.scoreboard.cell(worker.slot)?.read();
        let since = self.clock.own(read.busy_since, read.busy_since);
        (read.life == worker.life && read.busy_since != 0)
            .then(|| (String::from_utf8_lossy(&read.line).into_owned(), self.clock.now().since(since)))
    }

    fn wait_for_template(&mut self, who: TemplateRef) -> nix::Result<()> {
        let pool = self.pools.iter().find(|pool| pool.id == who.pool);
        let template = pool.and_then(|pool| pool.templates.get(&who.life));
        match template.and_then(|template| template.channel.as_ref()) {
            Some(channel) => wait_for(&self.epoll, channel.as_fd(), Token::Process(who.life)),
            None => Ok(()),
        }
    }
}
