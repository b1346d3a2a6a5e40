//! What the kernel and the processes say, as events.
//!
//! A process is known by its channel, and its pid is believed only if it is our child's. What it says is read in
//! portions, so that a talkative one holds up nobody; what it does not say right is its own loss.

use std::os::fd::AsFd;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use ratoon_worker::channel::Received;
use ratoon_worker::protocol::{Report, VERSION, Why};

use super::Daemon;
use crate::act::children;
use crate::act::pool::{Pool, Worker};
use crate::act::token::{Token, wait_for};
use crate::decide::event::{self, Asker, Event, Exit, Farewell, Scope, Stop, TemplateRef, WorkerRef};
use crate::sys::wait;

/// How many messages of one process are read before everybody else has had a turn.
const PATIENCE: usize = 16;
/// How many messages of a dead process are read; an honest one leaves fewer.
const LAST_WORDS: usize = 1024;

/// How many of the dead are buried before everybody else has had a turn.
const BURIALS: usize = 256;
/// How many of the dead are remembered that may be workers whose names are still to come: those of one burst.
const MOST_UNCLAIMED: usize = 4096;

/// What a reload is asked for by that nobody waits for.
const BY_SIGNAL: Asker = Asker(0);

/// Whose process one is.
enum Owner {
    Template(TemplateRef),
    Worker(WorkerRef),
}

impl Daemon {
    pub(super) fn translate(&mut self, token: Token) {
        match token {
            Token::Signal => self.hear(),
            Token::Process(life) => match self.whose(life) {
                Some(Owner::Template(who)) => self.read_template(who, PATIENCE),
                Some(Owner::Worker(who)) => self.read_worker_up_to(who, PATIENCE),
                None => {}
            },
            Token::Listener(pool) => self.events.push_back(Event::Knocked(pool)),
            Token::Control => self.inform(),
            Token::Admin => self.attend_admin(),
            Token::Log => {
                self.logs.hear();
                self.conclude_reopening();
            }
        }
    }

    pub(super) fn hear(&mut self) {
        for signal in self.signals.take() {
            match signal {
                Signal::SIGCHLD => self.bury(),
                Signal::SIGTERM | Signal::SIGQUIT => {
                    self.hear_out();
                    self.events.push_back(Event::StopWanted(Stop::Graceful));
                }
                Signal::SIGINT => self.events.push_back(Event::StopWanted(Stop::Now)),
                Signal::SIGHUP => self.events.push_back(Event::ReloadWanted(Scope::Everything, BY_SIGNAL)),
                Signal::SIGTTIN => self.events.push_back(Event::SizeWanted(1)),
                Signal::SIGTTOU => self.events.push_back(Event::SizeWanted(-1)),
                // Where there is a terminal, every change of its size sends it.
                Signal::SIGWINCH if has_terminal() => {}
                Signal::SIGWINCH => self.events.push_back(Event::WorkersUnwanted),
                Signal::SIGUSR1 => self.events.push_back(Event::LogMoved),
                Signal::SIGUSR2 => self.events.push_back(Event::UpgradeWanted),
                other => tracing::debug!(signal = %other, "nobody knows what this signal means"),
            }
        }
    }

    /// Reads what the workers have said so far: one that has just become ready may have a request already, and a stop
    /// does not treat it as one that starts. Whom its template has not announced yet is not listened to: what it says would
    /// mean nothing, and be lost.
    pub(super) fn hear_out(&mut self) {
        let known = self.pools.iter().flat_map(|pool| pool.workers.values()).filter(|worker| worker.process.is_some());
        let workers: Vec<WorkerRef> = known.map(|worker| worker.who).collect();
        workers.into_iter().for_each(|who| self.read_worker(who));
    }

    /// Reaps until nobody is left to reap. What the dead have said comes before their death.
    pub(super) fn bury(&mut self) {
        let templates: Vec<TemplateRef> =
            self.pools.iter().flat_map(|pool| pool.templates.values().map(|template| template.who)).collect();
        for who in templates {
            self.read_template(who, PATIENCE);
        }
        for _ in 0..BURIALS {
            let Some((pid, exit)) = wait::next_dead() else {
                self.has_unburied = false;
                return;
            };
            match self.owner(pid) {
                Some(Owner::Template(who)) => {
                    self.read_template(who, LAST_WORDS);
                    self.lose_template(who, exit);
                }
                Some(Owner::Worker(who)) => {
                    self.read_worker_up_to(who, LAST_WORDS);
                    self.lose_worker(who, exit);
                }
                None => self.lose_stranger(pid, exit),
            }
            wait::reap(pid);
        }
        // The next turn goes on: a worker that makes orphans faster than they are buried holds up nobody.
        self.has_unburied = true;
    }

    /// The admin process, or a command that prepares an edition, or what a worker left behind, or, if a fork has been ordered, perhaps the
    /// worker itself: its name may still come.
    fn lose_stranger(&mut self, pid: Pid, exit: Exit) {
        // Whoever the kernel killed, the next to be killed was not it.
        let exit = self.exit_of(exit);
        if self.end_rehearsal(pid, exit) || self.logs.lose(pid, self.clock.now(), &exit) {
            return;
        }
        if self.admin.as_mut().is_some_and(|admin| admin.buries(pid)) {
            self.events.push_back(Event::AdminDied(exit));
            return;
        }
        let prepared = self.pools.iter_mut().find_map(|pool| Some((pool.id, pool.end_preparation(pid)?)));
        if let Some((pool, edition)) = prepared {
            let outcome = if exit == Exit::Status(0) { Ok(()) } else { Err(exit.to_string()) };
            self.events.push_back(Event::Prepared(pool, edition, outcome));
            return;
        }
        tracing::debug!(pid = pid.as_raw(), ?exit, "a stranger is reaped");
        self.pools.iter().for_each(Pool::bury_strangers);
        let awaited = |pool: &Pool| pool.workers.values().any(|worker| worker.process.is_none());
        if self.pools.iter().any(awaited) {
            if self.unclaimed.len() < MOST_UNCLAIMED {
                self.unclaimed.insert(pid, exit);
            }
        } else {
            self.unclaimed.clear();
        }
    }

    fn lose_worker(&mut self, who: WorkerRef, exit: Exit) {
        let exit = self.exit_of(exit);
        if let Some(pool) = self.pool(who.pool) {
            pool.bury(who);
            pool.name_fatal_words(who);
        }
        if let Some(worker) = self.worker(who) {
            worker.process = None;
            self.events.push_back(Event::WorkerDied(who, exit));
        }
    }

    /// Whether a kill was the kernel's, for want of memory.
    fn exit_of(&mut self, exit: Exit) -> Exit {
        match exit {
            Exit::Signal { number, .. } if number == Signal::SIGKILL as i32 && self.killings.claim() => {
                Exit::OutOfMemory
            }
            other => other,
        }
    }

    fn lose_template(&mut self, who: TemplateRef, exit: Exit) {
        let exit = self.exit_of(exit);
        let Some(template) = self.pool(who.pool).and_then(|pool| pool.lose_template(who.life)) else {
            return;
        };
        if !template.introduced {
            let reason = "the program left without a word of the protocol: is it built with ratoon-worker?";
            self.events.push_back(Event::TemplateRefused(who, format!("{reason} ({exit})")));
        }
        self.events.push_back(Event::TemplateDied(who, exit));
    }

    fn read_template(&mut self, who: TemplateRef, most: usize) {
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
                    template.channel = None;
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
            template.channel = None;
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
    pub(super) fn read_worker(&mut self, who: WorkerRef) {
        self.read_worker_up_to(who, PATIENCE);
    }

    fn read_worker_up_to(&mut self, who: WorkerRef, most: usize) {
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
                    worker.channel = None;
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
            worker.channel = None;
        }
    }

    /// A template does not make sense: another is loaded in its place. It serves nobody, so nobody misses it.
    fn give_up_template(&mut self, who: TemplateRef, what: &str) {
        tracing::warn!(pool = %self.name(who.pool), what, "the template does not make sense: it is killed");
        if let Some(template) = self.template(who) {
            template.channel = None;
            children::kill(template.pid);
        }
    }

    /// Whose process this is.
    fn owner(&self, pid: Pid) -> Option<Owner> {
        let is_it = |worker: &&Worker| worker.process == Some(pid);
        self.pools.iter().find_map(|pool| {
            let template = pool.templates.values().find(|template| template.pid == pid);
            let worker = || pool.workers.values().find(is_it).map(|worker| Owner::Worker(worker.who));
            template.map(|template| Owner::Template(template.who)).or_else(worker)
        })
    }

    /// Whose life this is.
    fn whose(&self, life: u64) -> Option<Owner> {
        self.pools.iter().find_map(|pool| {
            let template = pool.templates.get(&life).map(|template| Owner::Template(template.who));
            template.or_else(|| pool.workers.get(&life).map(|worker| Owner::Worker(worker.who)))
        })
    }
}

/// Whether a terminal controls us.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}
