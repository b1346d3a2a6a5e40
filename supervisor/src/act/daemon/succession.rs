//! How a daemon leaves everything to its successor, and how that takes it over.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;

use super::errands::Errand;
use super::{Daemon, Herald, StartError};
use crate::act::admin::Admin;
use crate::act::children;
use crate::act::control::Control;
use crate::act::logs::Logs;
use crate::act::memory::Killings;
use crate::act::passed::Passed;
use crate::act::pool::Pool;
use crate::act::signals::Signals;
use crate::act::token::{Token, wait_for};
use crate::act::upgrade::estate::{Content, Estate, Inventory};
use crate::act::upgrade::{Deaf, Rehearsal, become_program};
use crate::control::Answer;
use crate::decide::Phase;
use crate::decide::event::{Event, Exit};
use crate::sys;

impl Daemon {
    /// Has the program that now stands at our path look at what it would be handed.
    pub(super) fn rehearse(&mut self) {
        let begun = self.bequeath().map_err(|error| format!("cannot write down the state: {error}"));
        let begun = begun.and_then(|estate| Rehearsal::begin(&self.program, self.config.origin.file(), &estate));
        match begun {
            Ok(rehearsal) => self.rehearsal = Some(rehearsal),
            Err(reason) => self.events.push_back(Event::Rehearsed(Err(reason))),
        }
    }

    /// Whether this process was the rehearsal: then it is over.
    pub(super) fn end_rehearsal(&mut self, pid: Pid, exit: Exit) -> bool {
        let Some(rehearsal) = self.rehearsal.take_if(|rehearsal| rehearsal.is(pid)) else {
            return false;
        };
        let outcome = rehearsal.outcome(exit).map_err(|why| format!("{}: {why}", self.program.display()));
        self.events.push_back(Event::Rehearsed(outcome));
        true
    }

    /// Becomes the program that now stands at our path. Comes back only if that fails, or a stop has come first.
    pub(super) fn upgrade(&mut self) {
        let outcome = match Deaf::begin() {
            Err(reason) => reason,
            Ok(deaf) => {
                // What has arrived until now is for us to deal with; what arrives from now on waits for our successor.
                self.hear();
                self.decide();
                if self.deciding.phase() == Phase::Stopping {
                    return;
                }
                tracing::info!(program = %self.program.display(), "upgrade: becoming the new program");
                self.logs.settle();
                match self.bequeath() {
                    Ok(estate) => become_program(&self.program, &estate, &deaf),
                    Err(error) => format!("cannot write down the state: {error}"),
                }
            }
        };
        self.events.push_back(Event::UpgradeFailed(outcome));
        self.decide();
    }

    fn bequeath(&self) -> io::Result<Estate> {
        let mut inventory = Inventory::default();
        let pools = self.pools.iter().map(|pool| pool.bequeath(&mut inventory)).collect();
        let control = self.control.as_ref().map(|control| inventory.listener(control.listener()));
        let callers = self.control.as_ref().map(|control| control.bequeath(&mut inventory)).unwrap_or_default();
        let admin = self.admin.as_ref().map(|admin| admin.bequeath(&mut inventory));
        let content = Content {
            deciding: serde_json::to_value(&self.deciding)?,
            config: self.config.clone(),
            origin: self.config.origin.clone(),
            program: self.program.clone(),
            logs: self.logs.bequeath(&mut inventory),
            newest: self.newest,
            clock: self.clock.clone(),
            obituaries: self.obituaries.clone(),
            tallies: self.tallies.clone(),
            started: self.started,
            unclaimed: self.unclaimed.iter().map(|(pid, exit)| (pid.as_raw(), *exit)).collect(),
            pools,
            passed: self.passed.bequeath(&mut inventory),
            control,
            callers,
            errands: self.errands.iter().map(|(asker, errand)| (*asker, *errand)).collect(),
            admin,
            owed: self.herald.owed(),
        };
        Ok(inventory.estate(content))
    }

    /// Takes over from a predecessor.
    ///
    /// # Errors
    /// The one sentence for whoever looks why the daemon is gone.
    pub fn resume(estate: Estate) -> Result<Daemon, StartError> {
        let lost = |what: &str, error: &dyn std::fmt::Display| StartError(format!("cannot take over: {what}: {error}"));
        let config = estate.config();
        let deciding = estate.deciding().map_err(|error| lost("state", &error))?;
        let (content, heirlooms) = estate.open().map_err(|error| lost("listeners", &error))?;
        let signals = Signals::listen().map_err(|error| lost("signals", &error))?;
        // Blocked by our predecessor until somebody listens.
        SigSet::empty().thread_set_mask().map_err(|error| lost("signals", &error))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|error| lost("epoll", &error))?;
        let wait = |descriptor: std::os::fd::BorrowedFd<'_>, token| {
            wait_for(&epoll, descriptor, token).map_err(|error: Errno| lost("epoll", &error))
        };
        for pipe in signals.descriptors() {
            wait(pipe, Token::Signal)?;
        }
        let mut pools = Vec::new();
        for written in content.pools {
            let pool = Pool::inherit(written, &config, &heirlooms).map_err(|error| lost("a pool", &error))?;
            for (life, channel) in pool.channels() {
                wait(channel, Token::Process(life))?;
            }
            pools.push(pool);
        }
        let logs =
            Logs::inherit(content.logs, content.clock.now(), &heirlooms).map_err(|error| lost("the log", &error))?;
        if let Some(channel) = logs.channel() {
            wait(channel, Token::Log)?;
        } else if let Some(pid) = logs.pid() {
            // It speaks as our predecessor did; one of our own is started when it is buried.
            children::kill(pid);
        }
        let control = content.control.map(|place| heirlooms.listener(place)).transpose();
        let control = control.map_err(|error| lost("control socket", &error))?;
        let admin = content.admin.map(|written| Admin::inherit(written, &heirlooms)).transpose();
        let admin = admin.map_err(|error| lost("admin socket", &error))?;
        let passed = Passed::inherit(content.passed, &heirlooms).map_err(|error| lost("systemd's sockets", &error))?;
        let take_over = |listener| Control::take_over(listener, content.callers, &heirlooms, content.clock.now());
        let control = control.map(take_over).transpose();
        let control = control.map_err(|error| lost("control socket", &error))?;
        if let Some(control) = &control {
            wait(control.as_fd(), Token::Control)?;
        }
        if let Err(error) = sys::inherited::withhold() {
            tracing::warn!(%error, "programs inherit what was left open by whoever started this one");
        }
        // What was armed was armed in our predecessor's epoll.
        let events = std::iter::once(Event::Upgraded).chain(pools.iter().map(|pool| Event::Knocked(pool.id))).collect();
        let unclaimed: HashMap<Pid, Exit> =
            content.unclaimed.into_iter().map(|(pid, exit)| (Pid::from_raw(pid), exit)).collect();
        let mut tallies = content.tallies;
        tallies.upgraded();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "upgraded: this program has taken over");
        let mut daemon = Daemon {
            deciding,
            config,
            awaits_restart: Vec::new(),
            draft: None,
            pools,
            passed,
            newest: content.newest,
            program: content.program,
            rehearsal: None,
            logs,
            clock: content.clock,
            killings: Killings::begin(),
            signals,
            epoll,
            herald: Herald::new(content.owed),
            control,
            admin,
            obituaries: content.obituaries,
            tallies,
            errands: content.errands.into_iter().collect(),
            started: content.started,
            events,
            unclaimed,
            has_unburied: false,
            becomes_another: false,
            left: None,
        };
        let done = format!("upgraded: ratoon {} has taken over", env!("CARGO_PKG_VERSION"));
        daemon.conclude_errands(Errand::Upgrade, &Answer::Done(done));
        Ok(daemon)
    }
}
