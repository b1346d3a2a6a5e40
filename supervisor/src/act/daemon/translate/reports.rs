//! What templates and workers report, as events.
//!
//! Owns whom a report is believed of: it counts for the process whose channel it comes by, and a pid only if it is our
//! child's and nobody else's. Never listens any more to one that does not make sense.

use std::os::fd::AsFd;

use nix::unistd::Pid;
use ratoon_worker::channel::Received;
use ratoon_worker::protocol::{Report, VERSION, Why};

use super::{LAST_WORDS, PATIENCE};
use crate::act::children;
use crate::act::daemon::Daemon;
use crate::act::token::{Token, wait_for};
use crate::decide::event::{self, Event, Farewell, TemplateRef, WorkerRef};
use crate::sys::wait;

impl Daemon {
    pub(super) fn read_template(&mut self, who: TemplateRef, most: usize) {
        for _ in 0..most {
            let Some(template) = self.template(who) else {
                return;
            };
            let Some(channel) = &template.channel else {
                return;
            };
            let received = channel.try_hear();
            if matches!(received, Received::Message(..)) && !template.allowance.spend() {
                return self.give_up_template(who, "it says more than it was asked");
            }
            match received {
                Received::Message(Report::Hello { version }, _) => {
                    template.introduced = true;
                    if version != VERSION {
                        let reason = format!(
                            "the program speaks version {version} of the protocol, this ratoon version {VERSION}: build \
                             it with the ratoon-worker that belongs to this ratoon"
                        );
                        self.events.push_back(Event::TemplateRefused(who, reason));
                    }
                }
                Received::Message(Report::Declares { metric }, _) => {
                    let declared = self.pool(who.pool).map_or(Ok(()), |pool| pool.declare(who, metric));
                    if let Err(reason) = declared {
                        return self.refuse(who, reason);
                    }
                }
                Received::Message(Report::Loaded, _) => {
                    let told = self.pool(who.pool).map_or(Ok(()), |pool| pool.tell_places(who));
                    match told {
                        Ok(()) => self.events.push_back(Event::TemplateLoaded(who)),
                        Err(reason) => return self.refuse(who, reason),
                    }
                }
                Received::Message(Report::Refused { reason }, _) => {
                    self.events.push_back(Event::TemplateRefused(who, reason));
                }
                Received::Message(Report::Forked { slot, life, pid }, _) => {
                    let worker = WorkerRef { pool: who.pool, slot, life };
                    let by = template.pid;
                    if let Err(what) = self.meet(worker, Pid::from_raw(pid), by) {
                        return self.give_up_template(who, what);
                    }
                }
                Received::Message(Report::NotForked { slot, life, reason }, _) => {
                    self.events.push_back(Event::WorkerNotForked(WorkerRef { pool: who.pool, slot, life }, reason));
                }
                Received::Message(Report::Ready | Report::Overran | Report::Leaving { .. } | Report::Draining, _) => {
                    return self.give_up_template(who, "it reports what only a worker can");
                }
                Received::Nothing => return,
                Received::End => {
                    template.hang_up();
                    return;
                }
                Received::Nonsense(what) => return self.give_up_template(who, &what),
            }
        }
    }

    /// A template is not what can be worked with: nothing more is heard of it.
    fn refuse(&mut self, who: TemplateRef, reason: String) {
        self.events.push_back(Event::TemplateRefused(who, reason));
        if let Some(template) = self.template(who) {
            template.hang_up();
        }
    }

    /// A worker exists, says its template, which is this process. It is believed if the pid is that of a child of ours, of
    /// the same user, that is nobody else's.
    ///
    /// # Errors
    /// It is a lie, and which.
    fn meet(&mut self, who: WorkerRef, pid: Pid, template: Pid) -> Result<(), &'static str> {
        if self.owner(pid).is_some() || self.is_at_work_for_us(pid) {
            return Err("it claims a process that is another's");
        }
        let ours = wait::is_ours(pid);
        // One of root's may have become somebody else by now.
        let user = children::user(template);
        if ours && user.as_deref() != Some("0") && children::user(pid) != user {
            return Err("it claims a process of another user");
        }
        let dead = self.unclaimed.remove(&pid);
        let Some(worker) = self.pools.iter_mut().find(|pool| pool.id == who.pool).and_then(|pool| pool.worker(who))
        else {
            if ours {
                tracing::debug!(pool = %self.name(who.pool), pid = pid.as_raw(), "forked, and no longer wanted");
                children::kill(pid);
            }
            return Ok(());
        };
        if worker.process.is_some() {
            return Ok(());
        }
        if ours {
            worker.process = Some(pid);
            let registered = match &worker.channel {
                Some(channel) => wait_for(&self.epoll, channel.as_fd(), Token::Process(who.life)),
                None => Ok(()),
            };
            if let Err(error) = registered {
                tracing::error!(pool = %self.name(who.pool), worker = who.slot, %error, "cannot wait for a worker");
            }
            self.events.push_back(Event::WorkerForked(who, event::Pid(pid.as_raw())));
            self.listen_to_worker(who);
        } else if let Some(exit) = dead {
            self.events.push_back(Event::WorkerForked(who, event::Pid(pid.as_raw())));
            if let Some(worker) = self.worker(who) {
                worker.process = Some(pid);
            }
            self.listen_to_worker(who);
            self.read_worker_up_to(who, LAST_WORDS);
            self.lose_worker(who, exit);
        } else {
            return Err("it claims a process that is no child of ours");
        }
        Ok(())
    }

    /// Whether this process is one that we have started ourselves: no template can have forked it.
    fn is_at_work_for_us(&self, pid: Pid) -> bool {
        let prepares = self.pools.iter().any(|pool| pool.is_prepared_by(pid));
        let checks = self.rehearsal.as_ref().is_some_and(|rehearsal| rehearsal.is(pid));
        let logs = self.logs.pid() == Some(pid);
        prepares || checks || logs || self.admin.as_ref().is_some_and(|admin| admin.is(pid))
    }

    /// Reads what a worker has said.
    pub(in crate::act::daemon) fn read_worker(&mut self, who: WorkerRef) {
        self.read_worker_up_to(who, PATIENCE);
    }

    pub(super) fn read_worker_up_to(&mut self, who: WorkerRef, most: usize) {
        for _ in 0..most {
            let Some(worker) = self.worker(who) else {
                return;
            };
            let Some(channel) = &worker.channel else {
                return;
            };
            let received = channel.try_hear();
            if matches!(received, Received::Message(..)) && !worker.allowance.spend() {
                return self.hang_up(who, "it says more than it was asked");
            }
            match received {
                Received::Message(Report::Ready, _) => self.events.push_back(Event::WorkerReady(who)),
                // One that was not asked has nothing to say that is worth a process of its template's.
                Received::Message(Report::Overran, _) if !std::mem::take(&mut worker.asked) => {}
                Received::Message(Report::Overran, _) => {
                    if let Some(pool) = self.pool(who.pool) {
                        pool.name_last_words(who);
                    }
                }
                Received::Message(Report::Leaving { why }, _) => {
                    let why = match why {
                        Why::Requests => Farewell::Requests,
                        Why::Signal => Farewell::Signal,
                        Why::Panic => Farewell::Panic,
                        Why::Change => Farewell::Change,
                    };
                    self.events.push_back(Event::WorkerLeaving(who, why));
                }
                Received::Message(Report::Draining, _) => {
                    self.events.push_back(Event::WorkerTrailing(who));
                    tracing::debug!(pool = %self.name(who.pool), worker = who.slot, "only responses are left to be sent");
                }
                Received::Message(Report::Refused { reason }, _) => {
                    self.events.push_back(Event::WorkerRefused(who, reason));
                }
                Received::Message(
                    Report::Hello { .. }
                    | Report::Declares { .. }
                    | Report::Loaded
                    | Report::Forked { .. }
                    | Report::NotForked { .. },
                    _,
                ) => return self.hang_up(who, "it reports what only a template can"),
                Received::Nothing => return,
                Received::End => {
                    worker.hang_up();
                    return;
                }
                Received::Nonsense(what) => return self.hang_up(who, &what),
            }
        }
    }

    /// A worker does not make sense: nothing more is heard of it. An honest one that has gone astray reads the end of its
    /// channel, and leaves.
    fn hang_up(&mut self, who: WorkerRef, what: &str) {
        tracing::warn!(pool = %self.name(who.pool), worker = who.slot, what, "a worker does not make sense: hanging up");
        if let Some(worker) = self.worker(who) {
            worker.hang_up();
        }
    }

    /// A template does not make sense: another is loaded in its place. It serves nobody, so nobody misses it.
    fn give_up_template(&mut self, who: TemplateRef, what: &str) {
        tracing::warn!(pool = %self.name(who.pool), what, "the template does not make sense: it is killed");
        if let Some(template) = self.template(who) {
            template.hang_up();
            children::kill(template.pid);
        }
    }
}
