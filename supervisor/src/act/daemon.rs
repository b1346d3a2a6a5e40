//! The loop: wait, translate, decide, perform.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use ratoon_worker::channel::Received;
use ratoon_worker::clock;
use ratoon_worker::protocol::{Order, Report, VERSION};

use super::children;
use super::notes;
use super::notify::Manager;
use super::pool::{Pool, Template, Worker};
use super::signals::Signals;
use crate::config::Config;
use crate::decide::event::{Action, Event, Exit, Note, PoolId, Stop, TemplateRef, Time, WorkerRef};
use crate::decide::lifecycle::State;
use crate::decide::{Limits, Supervisor};
use crate::sys::pidfd::PidFd;

/// How many messages of one process are read before everybody else has had a turn.
const PATIENCE: usize = 16;

/// What is waited for, as the kernel gives it back: whose channel, or a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Signal,
    Template(u32),
    Worker(u32, u32),
}

impl Token {
    fn pack(self) -> u64 {
        match self {
            Token::Signal => 0,
            Token::Template(pool) => 1 << 62 | u64::from(pool),
            Token::Worker(pool, slot) => 2 << 62 | u64::from(slot) << 31 | u64::from(pool),
        }
    }

    fn unpack(packed: u64) -> Token {
        let low = (packed & 0x7fff_ffff) as u32;
        match packed >> 62 {
            1 => Token::Template(low),
            2 => Token::Worker(low, (packed >> 31 & 0x7fff_ffff) as u32),
            _ => Token::Signal,
        }
    }
}

/// The running supervisor.
pub struct Daemon {
    deciding: Supervisor,
    pools: Vec<Pool>,
    names: Vec<String>,
    signals: Signals,
    epoll: Epoll,
    manager: Manager,
    events: VecDeque<Event>,
    /// Children that were reaped before the message that would have named them was read.
    unclaimed: HashMap<Pid, Exit>,
    left: bool,
}

impl Daemon {
    /// Opens everything that must be open before anything is started.
    ///
    /// # Errors
    /// The one sentence for the person who started us.
    pub fn open(config: Config) -> Result<Daemon, StartError> {
        let system = |what: &'static str| move |error: Errno| StartError(format!("cannot {what}: {error}"));
        let sample =
            std::env::current_exe().map_err(|error| StartError(format!("cannot find this program: {error}")))?;
        set_child_subreaper(true).map_err(system("become the parent of orphans"))?;
        raise_descriptor_limit();
        let signals = Signals::listen().map_err(|error| StartError(format!("cannot listen to signals: {error}")))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system("create an epoll"))?;
        for pipe in signals.descriptors() {
            wait_for(&epoll, pipe, Token::Signal).map_err(system("wait for signals"))?;
        }
        let pools = open_pools(&config, &sample)?;
        let limits = config.pools.iter().map(|pool| Limits {
            workers: pool.workers,
            boot_timeout: pool.boot_timeout,
            stop_timeout: pool.stop_timeout,
        });
        Ok(Daemon {
            deciding: Supervisor::new(limits.collect(), clock::now()),
            names: config.pools.iter().map(|pool| pool.name.clone()).collect(),
            pools,
            signals,
            epoll,
            manager: Manager::from_environment(),
            events: VecDeque::new(),
            unclaimed: HashMap::new(),
            left: false,
        })
    }

    /// Runs until everything is buried.
    ///
    /// # Errors
    /// What epoll says, if waiting itself fails.
    pub fn run(mut self) -> Result<(), Errno> {
        self.announce_listeners();
        let begin = self.deciding.begin(now());
        self.perform(begin);
        let mut found = [EpollEvent::empty(); 64];
        while !self.left {
            let count = match self.epoll.wait(&mut found, self.patience()) {
                Err(Errno::EINTR) => 0,
                count => count?,
            };
            for event in &found[..count] {
                self.translate(Token::unpack(event.data()));
            }
            self.find_overdue();
            if self.deciding.wake_at().is_some_and(|wanted| wanted <= now()) {
                self.events.push_back(Event::Ticked);
            }
            self.decide();
        }
        Ok(())
    }

    fn decide(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let buried = match &event {
                Event::WorkerDied(who, _) => Some(*who),
                _ => None,
            };
            let actions = self.deciding.handle(event, now());
            self.perform(actions);
            // Only now: the notes have read in its cell what it was doing.
            if let Some(who) = buried
                && let Some(pool) = self.pools.get_mut(who.pool.0 as usize)
            {
                pool.forget(who);
            }
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
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
                    template.kill();
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
                if let Some(worker) = self.worker(who) {
                    worker.kill();
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
            Action::Note(note) => notes::write(&note, &self.names, self.last_request(&note)),
            Action::Leave => self.left = true,
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

    fn translate(&mut self, token: Token) {
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
        while let Some(pid) = children::next_dead() {
            let Some(owner) = self.owner(pid) else {
                self.bury_stranger(pid);
                continue;
            };
            match owner {
                Token::Template(pool) => self.read_template(PoolId(pool), usize::MAX),
                Token::Worker(pool, slot) => self.read_worker(PoolId(pool), slot, usize::MAX),
                Token::Signal => {}
            }
            let Some(exit) = children::reap(pid) else {
                continue;
            };
            match owner {
                Token::Template(pool) => self.lose_template(PoolId(pool), exit),
                Token::Worker(pool, slot) => {
                    if let Some(worker) = self.pools.get(pool as usize).and_then(|pool| pool.workers.get(&slot)) {
                        self.events.push_back(Event::WorkerDied(worker.who, exit));
                    }
                }
                Token::Signal => {}
            }
        }
    }

    /// What a worker left behind, or, if a fork has been ordered, perhaps the worker itself: its name may still come.
    fn bury_stranger(&mut self, pid: Pid) {
        let Some(exit) = children::reap(pid) else {
            return;
        };
        tracing::debug!(pid = pid.as_raw(), ?exit, "a stranger has been reaped");
        let awaited = |pool: &Pool| pool.workers.values().any(|worker| worker.process.is_none());
        if self.pools.iter().any(awaited) {
            self.unclaimed.insert(pid, exit);
        } else {
            self.unclaimed.clear();
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
                Received::Message(report @ (Report::Ready | Report::Leaving), _) => {
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
        let ours = children::is_ours(pid);
        let dead = self.unclaimed.remove(&pid);
        let Some(worker) = self.pools.get_mut(who.pool.0 as usize).and_then(|pool| pool.worker(who)) else {
            return;
        };
        if worker.process.is_some() {
            return;
        }
        if ours {
            match PidFd::open(pid) {
                Ok(handle) => worker.process = Some((pid, handle)),
                Err(error) => {
                    tracing::error!(pid = pid.as_raw(), %error, "cannot hold on to a worker")
                }
            }
            let registered = match &worker.channel {
                Some(channel) => wait_for(&self.epoll, channel.as_fd(), Token::Worker(who.pool.0, who.slot)),
                None => Ok(()),
            };
            if let Err(error) = registered {
                tracing::error!(pool = %self.name(who.pool), worker = who.slot, %error, "cannot wait for a worker");
            }
            self.events.push_back(Event::WorkerForked(who, crate::decide::event::Pid(pid.as_raw())));
        } else if let Some(exit) = dead {
            self.events.push_back(Event::WorkerForked(who, crate::decide::event::Pid(pid.as_raw())));
            self.read_worker(who.pool, who.slot, usize::MAX);
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

    /// Finds the workers whose deadline and grace have passed.
    fn find_overdue(&mut self) {
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

    /// The workers with a deadline, but for those that are doomed already.
    fn pressed(&self) -> impl Iterator<Item = (WorkerRef, &State, Time)> {
        self.deciding.workers().filter_map(|(who, state, _)| {
            let doomed = matches!(state, State::Doomed { .. });
            let deadline = self.pools.get(who.pool.0 as usize)?.hard_deadline(who).filter(|_| !doomed)?;
            Some((who, state, deadline))
        })
    }

    /// How long nothing need be done unless something happens. A worker that is idle now can be overdue no earlier
    /// than its whole timeout from now, so there is no tick.
    fn patience(&self) -> EpollTimeout {
        let now = now();
        let known = self.pressed().map(|(_, _, deadline)| deadline);
        let possible = self.pools.iter().filter(|pool| !pool.workers.is_empty());
        let possible = possible.map(|pool| now.after(pool.config.request_timeout).after(pool.config.kill_grace));
        let Some(until) = known.chain(possible).chain(self.deciding.wake_at()).min() else {
            return EpollTimeout::NONE;
        };
        let millis = until.since(now).as_nanos().div_ceil(1_000_000);
        EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::NONE)
    }

    fn wait_for_template(&self, id: PoolId) -> nix::Result<()> {
        let template = self.pools.get(id.0 as usize).and_then(|pool| pool.template.as_ref());
        match template.and_then(|template| template.channel.as_ref()) {
            Some(channel) => wait_for(&self.epoll, channel.as_fd(), Token::Template(id.0)),
            None => Ok(()),
        }
    }

    /// Whose process this is.
    fn owner(&self, pid: Pid) -> Option<Token> {
        self.pools.iter().zip(0..).find_map(|(pool, id)| {
            if pool.template.as_ref().is_some_and(|template| template.pid == pid) {
                return Some(Token::Template(id));
            }
            let is_it = |worker: &Worker| worker.process.as_ref().is_some_and(|(its, _)| *its == pid);
            pool.workers.iter().find(|(_, worker)| is_it(worker)).map(|(slot, _)| Token::Worker(id, *slot))
        })
    }

    fn template(&mut self, who: TemplateRef) -> Option<&mut Template> {
        self.pools.get_mut(who.pool.0 as usize)?.template.as_mut().filter(|template| template.who == who)
    }

    fn worker(&mut self, who: WorkerRef) -> Option<&mut Worker> {
        self.pools.get_mut(who.pool.0 as usize)?.worker(who)
    }

    fn name(&self, id: PoolId) -> &str {
        self.names.get(id.0 as usize).map_or("?", String::as_str)
    }

    fn announce_listeners(&self) {
        for (pool, name) in self.pools.iter().zip(&self.names) {
            for listener in &pool.listeners {
                tracing::info!(pool = %name, workers = pool.config.workers, "listening on {}", listener.address());
            }
        }
    }
}

/// Why the daemon cannot start: one sentence for the person who started it.
#[derive(Debug)]
pub struct StartError(String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

fn now() -> Time {
    Time(clock::now())
}

fn wait_for(epoll: &Epoll, descriptor: BorrowedFd<'_>, token: Token) -> nix::Result<()> {
    epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, token.pack()))
}

fn open_pools(config: &Config, sample: &std::path::Path) -> Result<Vec<Pool>, StartError> {
    let open = |pool: &crate::config::Pool| {
        Pool::open(pool.clone(), config.log, PathBuf::from(sample)).map_err(|(key, what)| {
            let line = config.origin.line(&key).map_or_else(String::new, |line| format!(":{line}"));
            StartError(format!("{}{line}: {key}: {what}", config.origin.file()))
        })
    };
    config.pools.iter().map(open).collect()
}

/// Thousands of idle connections cost descriptors: as many as we may have.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}
