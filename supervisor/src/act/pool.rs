//! What is real of a pool: its sockets, its scoreboard, the processes and the ways to speak to them.
//!
//! Does what it is told with them. Who should live, and why, is decided elsewhere. Executing templates and commands is in
//! `launch`, the sockets and which edition needs them in `sockets`, the configurations in `editions`, where connections to
//! the database are leased in `lobbies`.

mod allowance;
mod editions;
mod environment;
mod estate;
mod launch;
mod lobbies;
mod register;
mod sockets;
mod template;
mod worker;

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};

use nix::unistd::Pid;
use ratoon_worker::inbox::Inbox;
use ratoon_worker::metrics::declaration::Declaration;
use ratoon_worker::protocol::Order;
use ratoon_worker::scoreboard::{Cell, Scoreboard};
use ratoon_worker::sys::shared::Shared;

use super::logs::Captured;
use crate::config::{self, Account};
use crate::control::status::Metric;
use crate::decide::event::{Edition, PoolId, TemplateRef, WorkerRef};
use crate::sys;
pub(super) use allowance::Allowance;
use editions::Issue;
pub(super) use estate::PoolEstate;
pub(super) use launch::{LogWay, Surroundings};
use lobbies::Lobbies;
use register::Register;
pub(super) use sockets::{Sockets, Sources};
pub(super) use template::Template;
pub(super) use worker::Worker;

/// A pool's sockets, scoreboard and processes.
pub(super) struct Pool {
    pub(super) id: PoolId,
    /// The configuration in force.
    pub(super) config: config::Pool,
    /// As whom its processes run then.
    account: Option<Account>,
    /// The editions that templates may still be started of.
    editions: BTreeMap<Edition, Issue>,
    pub(super) scoreboard: Shared<Scoreboard>,
    /// Where its workers leave connections for each other. Held here, so that none is lost while there is no worker. What
    /// lies in it may be anything, so it is never simply dropped: see [`Pool::close`].
    inbox: ManuallyDrop<Inbox>,
    /// Where they lease connections to the database; as the inbox.
    lobbies: ManuallyDrop<Lobbies>,
    /// What the application counts.
    register: Register,
    pub(super) sockets: Sockets,
    /// By life.
    pub(super) templates: BTreeMap<u64, Template>,
    /// By life.
    pub(super) workers: BTreeMap<u64, Worker>,
    /// The commands that run, by the edition they prepare.
    preparations: BTreeMap<Edition, (Pid, Option<Captured>)>,
    /// Requests begun when the pool was last counted.
    pub(super) requests: u64,
}

impl Pool {
    /// A pool that has nothing yet but what must be open before anything runs.
    ///
    /// # Errors
    /// The key it is about, and what could not be done, in a sentence.
    pub(super) fn open(
        id: PoolId,
        edition: Edition,
        config: config::Pool,
        sources: Sources<'_>,
    ) -> Result<Pool, (String, String)> {
        let scoreboard = Shared::create(&format!("ratoon-{}", config.name))
            .map_err(|errno| (config.path(), format!("cannot create the scoreboard: {errno}")))?;
        let inbox = Inbox::new().map_err(|errno| (config.path(), format!("cannot create the inbox: {errno}")))?;
        let register = Register::new(&config.name)
            .map_err(|errno| (config.path(), format!("cannot create the sheet of its metrics: {errno}")))?;
        let mut lobbies = Lobbies::default();
        open_lobby(&mut lobbies, edition, &config)?;
        let mut sockets = Sockets::default();
        sockets.open(&config, edition, sources)?;
        let issue = Issue::of(config)?;
        Ok(Pool {
            id,
            config: issue.config.clone(),
            account: issue.account.clone(),
            editions: BTreeMap::from([(edition, issue)]),
            scoreboard,
            inbox: ManuallyDrop::new(inbox),
            lobbies: ManuallyDrop::new(lobbies),
            register,
            sockets,
            templates: BTreeMap::new(),
            workers: BTreeMap::new(),
            preparations: BTreeMap::new(),
            requests: 0,
        })
    }

    /// Closes everything that it has. No process is left of it; nobody waits for what the last has left in its inbox.
    pub(super) fn close(self) {
        let left = (ManuallyDrop::into_inner(self.inbox), ManuallyDrop::into_inner(self.lobbies));
        bury(&self.config.name, left);
    }

    /// The ways to those who can still be heard, by life.
    pub(super) fn channels(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        let templates = self.templates.iter().map(|(life, template)| (*life, template.channel.as_ref()));
        // One whose fork has not been told yet is waited for once it is.
        let workers = self.workers.iter().filter(|(_, worker)| worker.process.is_some());
        let all = templates.chain(workers.map(|(life, worker)| (*life, worker.channel.as_ref())));
        all.filter_map(|(life, channel)| Some((life, channel?.as_fd())))
    }

    /// Has a worker's last words turned into a line of the log: by its template, which shares its layout, so that addresses
    /// become names; where that is gone, as they are.
    pub(super) fn name_last_words(&self, who: WorkerRef) {
        let Some(worker) = self.workers.get(&who.life) else { return };
        let words = self.scoreboard.cell(who.slot).filter(|cell| cell.life() == who.life).and_then(Cell::last_words);
        let (Some(words), Some(pid)) = (words, worker.process) else { return };
        let channel = self.templates.get(&worker.template).and_then(|template| template.channel.as_ref());
        let order = Order::Name { slot: who.slot, pid: pid.as_raw(), words };
        if channel.is_none_or(|channel| channel.send(&order, &[]).is_err()) {
            tracing::error!(pool = %self.config.name, worker = who.slot, pid = pid.as_raw(), ?order, "last words");
        }
    }

    /// What a worker that has just died has left to say, if it crashed.
    pub(super) fn name_fatal_words(&self, who: WorkerRef) {
        let words = self.scoreboard.cell(who.slot).and_then(Cell::last_words);
        if words.is_some_and(|words| words.why.is_fatal()) {
            self.name_last_words(who);
        }
    }

    /// A template's application counts this, too.
    ///
    /// # Errors
    /// Why it cannot, in a sentence.
    pub(super) fn declare(&mut self, who: TemplateRef, metric: Declaration) -> Result<(), String> {
        let Some(template) = self.templates.get_mut(&who.life) else { return Ok(()) };
        let places = template.places.as_mut().ok_or("it declares a metric after it has loaded")?;
        places.push(self.register.declare(metric, places)?);
        Ok(())
    }

    /// A template has declared all that its application counts: it is told where, before it is told to fork.
    ///
    /// # Errors
    /// That it cannot be told, in a sentence.
    pub(super) fn tell_places(&mut self, who: TemplateRef) -> Result<(), String> {
        let Some(template) = self.templates.get_mut(&who.life) else { return Ok(()) };
        let words = template.places.take().unwrap_or_default();
        self.register.settle(template.edition, &words);
        match &template.channel {
            Some(channel) if !words.is_empty() => channel
                .send(&Order::Places { words }, &[])
                .map_err(|error| format!("it cannot be told where to count: {error}")),
            _ => Ok(()),
        }
    }

    /// What the application counts.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        self.register.read(self.scoreboard.slots())
    }

    /// Whose output there may be: templates, workers, and the commands that prepare an edition.
    pub(super) fn lives_of_templates(&self) -> impl Iterator<Item = u64> {
        self.templates.keys().copied()
    }

    pub(super) fn lives_of_workers(&self) -> impl Iterator<Item = u64> {
        self.workers.keys().copied()
    }

    pub(super) fn editions_prepared(&self) -> impl Iterator<Item = Edition> {
        self.preparations.keys().copied()
    }

    /// The command that prepares an edition, and what it prints.
    pub(super) fn preparation(&self, edition: Edition) -> Option<(Pid, Option<&Captured>)> {
        self.preparations.get(&edition).map(|(pid, captured)| (*pid, captured.as_ref()))
    }

    /// Where those come in who find no worker: clients, and the connections of workers that have gone.
    pub(super) fn entrances(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let [_, take] = self.inbox.ends();
        self.sockets.all().map(|(_, socket)| socket).chain([take])
    }

    /// Whether connections are in the inbox.
    pub(super) fn has_parcels(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// The worker that has this life.
    pub(super) fn worker(&mut self, who: WorkerRef) -> Option<&mut Worker> {
        self.workers.get_mut(&who.life).filter(|worker| worker.who == who)
    }

    /// Nothing is left of this worker: its slot is clear, unless it is the next one's already.
    pub(super) fn forget(&mut self, who: WorkerRef) {
        if self.worker(who).is_some() {
            if let Some(worker) = self.workers.remove(&who.life).as_mut() {
                worker.hang_up();
            }
            if let Some(cell) = self.scoreboard.cell(who.slot).filter(|cell| cell.life() == who.life) {
                cell.clear();
                self.register.bury(who.slot);
            }
            self.close_abandoned();
        }
    }

    /// The template of this life is no more.
    pub(super) fn lose_template(&mut self, life: u64) -> Option<Template> {
        let mut lost = self.templates.remove(&life);
        if let Some(template) = &mut lost {
            template.hang_up();
        }
        self.close_abandoned();
        lost
    }

    /// A worker is dead: what it had of the pool's connections is others'. To be called before its slot has another.
    pub(super) fn bury(&self, who: WorkerRef) {
        self.lobbies.bury(|life| life == who.life);
    }

    /// Somebody is dead whom nobody knows: it may have been a worker that came to light too late.
    pub(super) fn bury_strangers(&self) {
        self.lobbies.bury(|life| !self.workers.contains_key(&life));
    }

    /// Closes the sockets and lobbies of editions that are over and of which no process is left.
    fn close_abandoned(&mut self) {
        let templates = self.templates.values().map(|template| template.edition);
        let alive: Vec<Edition> = templates.chain(self.workers.values().map(|worker| worker.edition)).collect();
        self.sockets.close_abandoned(|edition| alive.contains(&edition));
        let loading = self.templates.values().flat_map(|template| template.places.iter().flatten().copied());
        let (slots, loading) = (self.scoreboard.slots(), loading.collect::<Vec<u16>>());
        self.register
            .release(slots, &loading, |edition| alive.contains(&edition) || self.editions.contains_key(&edition));
        let is_needed = |edition| alive.contains(&edition) || self.editions.contains_key(&edition);
        let closed = self.lobbies.close_unneeded(is_needed);
        if !closed.is_empty() {
            bury(&self.config.name, closed);
        }
    }

    /// Lets no newcomers into the queues, and leaves what is in them to the draining workers.
    pub(super) fn stop_listening(&self) {
        self.sockets.stop_listening(&self.config.name, &self.scoreboard);
    }

    /// Tells every template and every worker.
    pub(super) fn tell_everybody(&mut self, order: &Order, descriptors: &[BorrowedFd<'_>]) {
        let templates = self.templates.values_mut().map(|template| (&template.channel, &mut template.unsent));
        let workers = self.workers.values_mut().map(|worker| (&worker.channel, &mut worker.unsent));
        for (channel, unsent) in templates.chain(workers) {
            if let Some(channel) = channel
                && let Err(error) = unsent.send(channel, order, descriptors)
            {
                tracing::warn!(pool = %self.config.name, %error, ?order, "somebody cannot be told");
            }
        }
    }

    /// Tells everybody what there was no room for before.
    pub(super) fn flush(&mut self) {
        let templates = self.templates.values_mut().map(|template| (&template.channel, &mut template.unsent));
        let workers = self.workers.values_mut().map(|worker| (&worker.channel, &mut worker.unsent));
        for (channel, unsent) in templates.chain(workers).filter(|(_, unsent)| !unsent.is_empty()) {
            if let Some(channel) = channel {
                unsent.flush(channel);
            }
        }
    }

    /// Whether somebody has not been told everything.
    pub(super) fn has_unsent(&self) -> bool {
        let templates = self.templates.values().map(|template| (&template.channel, &template.unsent));
        let workers = self.workers.values().map(|worker| (&worker.channel, &worker.unsent));
        templates.chain(workers).any(|(channel, unsent)| channel.is_some() && !unsent.is_empty())
    }
}

/// Closes what its workers had in common, and may have left messages in.
fn bury<T>(pool: &str, left: T) {
    if let Err(error) = sys::undertaker::bury(left) {
        tracing::error!(pool, %error, "cannot close what its workers have shared: it stays open");
    }
}

fn open_lobby(lobbies: &mut Lobbies, edition: Edition, config: &config::Pool) -> Result<(), (String, String)> {
    match launch::database(config, config.connections()) {
        Some(database) => lobbies.open(&config.name, edition, database).map_err(|errno| {
            (format!("{}.database", config.path()), format!("cannot make what its connections are leased by: {errno}"))
        }),
        None => Ok(()),
    }
}
