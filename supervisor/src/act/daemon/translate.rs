//! What the kernel and the processes say, as events.
//!
//! A process is known by its channel, and its pid is believed only if it is our child's. What it says is read in
//! portions, so that a talkative one holds up nobody; what it does not say right is its own loss.

use std::os::fd::AsFd;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use ratoon_worker::channel::Received;
use ratoon_worker::protocol::{Report, VERSION};
use ratoon_worker::scoreboard::Cell;

use super::{Daemon, now};
use crate::act::pool::{Asked, Pool, Worker};
use crate::act::token::{Token, wait_for};
use crate::act::{children, notes};
use crate::decide::event::{self, Event, Exit, PoolId, Stop, WorkerRef};
use crate::decide::lifecycle::State;
use crate::sys;
use crate::sys::wait;

/// How many messages of one process are read before everybody else has had a turn.
const PATIENCE: usize = 16;
/// How many messages of a dead process are read; an honest one leaves fewer.
const LAST_WORDS: usize = 1024;

impl Daemon {
    pub(super) fn translate(&mut self, token: Token) {
        match token {
            Token::Signal => self.hear(),
            Token::Template(pool) => self.read_template(PoolId(pool), PATIENCE),
            Token::Worker(pool, slot) => self.read_worker(PoolId(pool), slot, PATIENCE),
        }
    }

    fn hear(&mut self) {
        for signal in self.signals.take() {
            match signal {
                Signal::SIGCHLD => self.bury(),
                Signal::SIGTERM | Signal::SIGQUIT => self.events.push_back(Event::StopWanted(Stop::Graceful)),
                Signal::SIGINT => self.events.push_back(Event::StopWanted(Stop::Now)),
                other => {
                    tracing::warn!(signal = %other, "this version does nothing on this signal")
                }
            }
        }
    }

    /// Reaps until nobody is left to reap. What the dead have said comes before their death.
    fn bury(&mut self) {
        for pool in 0..self.pools.len() {
            self.read_template(PoolId(pool as u32), PATIENCE);
        }
        while let Some((pid, exit)) = wait::next_dead() {
            match self.owner(pid) {
                Some(Token::Template(pool)) => {
                    self.read_template(PoolId(pool), LAST_WORDS);
                    self.lose_template(PoolId(pool), exit);
                }
                Some(Token::Worker(pool, slot)) => {
                    self.read_worker(PoolId(pool), slot, LAST_WORDS);
                    self.lose_worker(PoolId(pool), slot, exit);
                }
                Some(Token::Signal) | None => self.lose_stranger(pid, exit),
            }
            wait::reap(pid);
        }
    }

    /// What a worker left behind, or, if a fork has been ordered, perhaps the worker itself: its name may still come.
    fn lose_stranger(&mut self, pid: Pid, exit: Exit) {
        tracing::debug!(pid = pid.as_raw(), ?exit, "a stranger is reaped");
        let awaited = |pool: &Pool| pool.workers.values().any(|worker| worker.process.is_none());
        if self.pools.iter().any(awaited) {
            self.unclaimed.insert(pid, exit);
        } else {
            self.unclaimed.clear();
        }
    }

    fn lose_worker(&mut self, id: PoolId, slot: u32, exit: Exit) {
        let Some(pool) = self.pools.get_mut(id.0 as usize) else { return };
        let words = pool.scoreboard.cell(slot).and_then(Cell::last_words);
        if let Some(pid) = pool.workers.get(&slot).and_then(|worker| worker.process)
            && words.is_some_and(|words| words.why.is_fatal())
        {
            pool.order_names(slot, pid);
        }
        if let Some(worker) = pool.workers.get_mut(&slot) {
            worker.process = None;
            self.events.push_back(Event::WorkerDied(worker.who, exit));
        }
    }

    fn lose_template(&mut self, id: PoolId, exit: Exit) {
        let Some(template) = self.pools.get_mut(id.0 as usize).and_then(|pool| pool.template.take()) else {
            return;
        };
        if !template.introduced {
            let reason = "the program left without a word of the protocol: is it built with ratoon-worker?";
            self.events.push_back(Event::TemplateRefused(template.who, format!("{reason} ({})", notes::exit(exit))));
        }
        self.events.push_back(Event::TemplateDied(template.who, exit));
    }

    fn read_template(&mut self, id: PoolId, most: usize) {
        for _ in 0..most {
            let Some(template) = self.pools.get_mut(id.0 as usize).and_then(|pool| pool.template.as_mut()) else {
                return;
            };
            let Some(channel) = &template.channel else {
                return;
            };
            let who = template.who;
            match channel.try_receive() {
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
                Received::Message(Report::Loaded, _) => self.events.push_back(Event::TemplateLoaded(who)),
                Received::Message(Report::Refused { reason }, _) => {
                    self.events.push_back(Event::TemplateRefused(who, reason));
                }
                Received::Message(Report::Forked { slot, life, pid }, _) => {
                    self.meet(WorkerRef { pool: id, slot, life }, Pid::from_raw(pid));
                }
                Received::Message(Report::NotForked { slot, life, reason }, _) => {
                    self.events.push_back(Event::WorkerNotForked(WorkerRef { pool: id, slot, life }, reason));
                }
                Received::Message(report @ (Report::Ready | Report::Leaving | Report::Overran), _) => {
                    tracing::warn!(pool = %self.name(id), ?report, "this report is not a template's");
                }
                Received::Nothing => return,
                Received::End => {
                    template.channel = None;
                    return;
                }
                Received::Nonsense(what) => {
                    tracing::warn!(pool = %self.name(id), what, "the template does not make sense: hanging up");
                    if let Some(template) = self.template(who) {
                        template.channel = None;
                    }
                    return;
                }
            }
        }
    }

    /// A worker exists, says its template. It is believed if the pid is our child's and nobody else's.
    fn meet(&mut self, who: WorkerRef, pid: Pid) {
        if self.owner(pid).is_some() {
            tracing::warn!(pool = %self.name(who.pool), pid = pid.as_raw(), "a template claims a process that is another's");
            return;
        }
        let ours = wait::is_ours(pid);
        let dead = self.unclaimed.remove(&pid);
        let Some(worker) = self.pools.get_mut(who.pool.0 as usize).and_then(|pool| pool.worker(who)) else {
            if ours {
                tracing::debug!(pool = %self.name(who.pool), pid = pid.as_raw(), "forked, and no longer wanted");
                children::kill(pid);
            }
            return;
        };
        if worker.process.is_some() {
            return;
        }
        if ours {
            worker.process = Some(pid);
            let registered = match &worker.channel {
                Some(channel) => wait_for(&self.epoll, channel.as_fd(), Token::Worker(who.pool.0, who.slot)),
                None => Ok(()),
            };
            if let Err(error) = registered {
                tracing::error!(pool = %self.name(who.pool), worker = who.slot, %error, "cannot wait for a worker");
            }
            self.events.push_back(Event::WorkerForked(who, event::Pid(pid.as_raw())));
        } else if let Some(exit) = dead {
            self.events.push_back(Event::WorkerForked(who, event::Pid(pid.as_raw())));
            self.read_worker(who.pool, who.slot, LAST_WORDS);
            self.events.push_back(Event::WorkerDied(who, exit));
        } else {
            tracing::warn!(pool = %self.name(who.pool), pid = pid.as_raw(), "a template claims a process that is not our child");
        }
    }

    fn read_worker(&mut self, id: PoolId, slot: u32, most: usize) {
        for _ in 0..most {
            let Some(worker) = self.pools.get_mut(id.0 as usize).and_then(|pool| pool.workers.get_mut(&slot)) else {
                return;
            };
            let Some(channel) = &worker.channel else {
                return;
            };
            let who = worker.who;
            match channel.try_receive() {
                Received::Message(Report::Ready, _) => self.events.push_back(Event::WorkerReady(who)),
                Received::Message(Report::Overran, _) => {
                    if let (Asked::Lately(deadline), Some(pid)) = (worker.asked, worker.process) {
                        worker.asked = Asked::Answered(deadline);
                        if let Some(pool) = self.pools.get(id.0 as usize) {
                            pool.order_names(slot, pid);
                        }
                    }
                }
                Received::Message(Report::Leaving, _) => self.events.push_back(Event::WorkerLeaving(who)),
                Received::Message(Report::Refused { reason }, _) => {
                    self.events.push_back(Event::WorkerRefused(who, reason));
                }
                Received::Message(report, _) => {
                    tracing::warn!(pool = %self.name(id), worker = slot, ?report, "this report is not a worker's");
                }
                Received::Nothing => return,
                Received::End => {
                    worker.channel = None;
                    return;
                }
                Received::Nonsense(what) => {
                    tracing::warn!(pool = %self.name(id), worker = slot, what, "a worker does not make sense: hanging up");
                    if let Some(worker) = self.worker(who) {
                        worker.channel = None;
                    }
                    return;
                }
            }
        }
    }

    /// Tells the workers whose request is overdue.
    pub(super) fn ask_for_last_words(&mut self) {
        let now = now();
        for pool in &mut self.pools {
            let is_due = |worker: &&Worker| pool.soft_deadline(worker).is_some_and(|moment| moment <= now);
            let due: Vec<u32> = pool.workers.values().filter(is_due).map(|worker| worker.who.slot).collect();
            for slot in due {
                let deadline = pool.scoreboard.cell(slot).map_or(0, Cell::deadline);
                if let Some(worker) = pool.workers.get_mut(&slot) {
                    worker.asked = Asked::Lately(deadline);
                    // One that cannot be told is dying, and its death is.
                    let _ = worker.process.map(sys::overdue::tell);
                }
            }
        }
    }

    /// Finds the workers whose deadline and grace have passed.
    pub(super) fn find_overdue(&mut self) {
        let now = now();
        let late: Vec<(WorkerRef, bool)> = self
            .pressed()
            .filter(|(_, _, deadline)| *deadline <= now)
            .map(|(who, state, _)| (who, matches!(state, State::Starting { .. })))
            .collect();
        for (who, starting) in late {
            let heard = self.events.len();
            if starting {
                self.read_worker(who.pool, who.slot, PATIENCE);
            }
            // One that has just said it is ready is looked at again in the next turn.
            if self.events.len() == heard {
                self.events.push_back(Event::WorkerOverdue(who));
            }
        }
    }

    /// Whose process this is.
    fn owner(&self, pid: Pid) -> Option<Token> {
        self.pools.iter().zip(0..).find_map(|(pool, id)| {
            if pool.template.as_ref().is_some_and(|template| template.pid == pid) {
                return Some(Token::Template(id));
            }
            let is_it = |worker: &Worker| worker.process == Some(pid);
            pool.workers.iter().find(|(_, worker)| is_it(worker)).map(|(slot, _)| Token::Worker(id, *slot))
        })
    }
}
