//! What the kernel and the processes say, as events.
//!
//! Owns the way from a signal or a death to an event, and in what portions everybody is heard, so that a talkative one holds
//! up nobody. Never decides what follows from it.

mod reports;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::Daemon;
use crate::act::pool::{Pool, Worker};
use crate::act::token::Token;
use crate::decide::event::{self, Asker, Event, Exit, Scope, Stop, TemplateRef, WorkerRef};
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

    /// The log or the admin process, or a command that prepares an edition, or what a worker left behind, or, if a fork has
    /// been ordered, perhaps the worker itself: its name may still come.
    fn lose_stranger(&mut self, pid: Pid, exit: Exit) {
        // Whoever the kernel killed, the next to be killed was not it.
        let exit = self.exit_of(exit);
        if self.end_rehearsal(pid, exit) {
            return;
        }
        if self.logs.buries(pid, self.clock.now()) {
            self.events.push_back(Event::LogDied(event::Pid(pid.as_raw()), exit));
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

    /// Nothing is left of this worker.
    pub(super) fn forget(&mut self, who: WorkerRef) {
        self.keep_output_of_worker(who);
        if let Some(pool) = self.pool(who.pool) {
            pool.forget(who);
        }
    }

    fn lose_template(&mut self, who: TemplateRef, exit: Exit) {
        let exit = self.exit_of(exit);
        self.keep_output_of_template(who);
        let Some(template) = self.pool(who.pool).and_then(|pool| pool.lose_template(who.life)) else {
            return;
        };
        if !template.introduced {
            let reason = "the program left without a word of the protocol: is it built with ratoon-worker?";
            self.events.push_back(Event::TemplateRefused(who, format!("{reason} ({exit})")));
        }
        self.events.push_back(Event::TemplateDied(who, exit));
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
