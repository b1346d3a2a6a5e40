//! The loop: wait, translate, decide, perform.

mod perform;
mod translate;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use ratoon_worker::clock;

use super::notify::Manager;
use super::pool::{Pool, SOFT_STEP, Template, Worker};
use super::signals::Signals;
use super::token::{Token, wait_for};
use crate::config::Config;
use crate::decide::event::{Event, Exit, PoolId, TemplateRef, Time, WorkerRef};
use crate::decide::lifecycle::State;
use crate::decide::{Limits, Supervisor, template};
use crate::sys;

/// The running supervisor.
pub struct Daemon {
    deciding: Supervisor,
    pools: Vec<Pool>,
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
        if let Err(error) = sys::inherited::withhold() {
            tracing::warn!(%error, "programs inherit what was left open by whoever started this one");
        }
        // Whoever started us may have blocked what we live by.
        SigSet::empty().thread_set_mask().map_err(system("unblock signals"))?;
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
        self.decide();
        let mut found = [EpollEvent::empty(); 64];
        while !self.left {
            let count = match self.epoll.wait(&mut found, self.patience()) {
                Err(Errno::EINTR) => 0,
                count => count?,
            };
            for event in &found[..count] {
                self.translate(Token::unpack(event.data()));
            }
            self.ask_for_last_words();
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

    /// The workers with a deadline, but for those about whom nothing more can be done: they are doomed already, or
    /// wait for a template that is.
    fn pressed(&self) -> impl Iterator<Item = (WorkerRef, &State, Time)> {
        self.deciding.workers().filter_map(|(who, state, _)| {
            let lost = match state {
                State::Doomed { .. } => true,
                State::Ordered { .. } => self.deciding.templates().any(|(template, state, _)| {
                    template.pool == who.pool && matches!(state, template::State::Doomed { .. })
                }),
                _ => false,
            };
            let deadline = self.pools.get(who.pool.0 as usize)?.hard_deadline(who).filter(|_| !lost)?;
            Some((who, state, deadline))
        })
    }

    /// How long nothing need be done unless something happens. A worker that is idle now can be overdue no earlier
    /// than its whole timeout from now, so there is no tick.
    fn patience(&self) -> EpollTimeout {
        let now = now();
        let known = self.pressed().map(|(_, _, deadline)| deadline);
        let possible = self.pools.iter().filter(|pool| !pool.workers.is_empty());
        let possible =
            possible.map(|pool| now.after(pool.config.request_timeout).after(pool.config.kill_grace.min(SOFT_STEP)));
        let soft = self.pools.iter().flat_map(|pool| pool.workers.values().map(|worker| pool.soft_deadline(worker)));
        let Some(until) = known.chain(soft.flatten()).chain(possible).chain(self.deciding.wake_at()).min() else {
            return EpollTimeout::NONE;
        };
        let millis = until.since(now).as_nanos().div_ceil(1_000_000);
        EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::NONE)
    }

    fn template(&mut self, who: TemplateRef) -> Option<&mut Template> {
        self.pools.get_mut(who.pool.0 as usize)?.template.as_mut().filter(|template| template.who == who)
    }

    fn worker(&mut self, who: WorkerRef) -> Option<&mut Worker> {
        self.pools.get_mut(who.pool.0 as usize)?.worker(who)
    }

    fn name(&self, id: PoolId) -> &str {
        self.pools.get(id.0 as usize).map_or("?", |pool| pool.config.name.as_str())
    }

    fn announce_listeners(&self) {
        for pool in &self.pools {
            for listener in &pool.listeners {
                tracing::info!(pool = %pool.config.name, workers = pool.config.workers, "listening on {}", listener.address());
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
