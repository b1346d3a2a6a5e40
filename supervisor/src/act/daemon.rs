//! The loop: wait, translate, decide, perform.

mod configuration;
pub(super) mod errands;
mod gauge;
mod herald;
mod inform;
mod logging;
mod oversee;
mod perform;
mod succession;
mod translate;

use std::collections::{HashMap, VecDeque};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use ratoon_worker::clock;

use self::configuration::Draft;
use self::errands::Errands;
use self::herald::Herald;
use super::admin::Admin;
use super::clock::Clock;
use super::control::Control;
use super::logs::Logs;
use super::memory::Killings;
use super::obituaries::Obituaries;
use super::passed::Passed;
use super::plan::plan;
use super::pool::{Pool, Sockets, Template, Worker};
use super::signals::Signals;
use super::tallies::Tallies;
use super::token::{Token, wait_for};
use super::upgrade::{Rehearsal, own_path};
use crate::config::Config;
use crate::control::place;
use crate::decide::event::{Edition, Event, Exit, PoolId, TemplateRef, Time, Verdict, WorkerRef};
use crate::decide::{Phase, Supervisor};
use crate::sys;

/// How long until somebody is told again who had no room for an order: it is in a request.
const UNTOLD: Duration = Duration::from_millis(50);

/// The running supervisor.
pub struct Daemon {
    deciding: Supervisor,
    /// The configuration in force.
    config: Config,
    /// The keys that the newest reload has found to be other than what is in force, and to need a restart.
    awaits_restart: Vec<String>,
    /// The one that is being tried.
    draft: Option<Draft>,
    pools: Vec<Pool>,
    /// What systemd has opened for them.
    passed: Passed,
    /// The newest pool's.
    newest: PoolId,
    /// This program, by its path: of a pool that names none, and of our successor.
    program: PathBuf,
    rehearsal: Option<Rehearsal>,
    logs: Logs,
    clock: Clock,
    killings: Killings,
    signals: Signals,
    epoll: Epoll,
    herald: Herald,
    control: Option<Control>,
    /// The process that serves the status page, if there is to be one.
    admin: Option<Admin>,
    obituaries: Obituaries,
    tallies: Tallies,
    /// Who waits for the outcome of what they asked for.
    errands: Errands,
    /// When we started: by our own clock, and in seconds since 1970.
    started: (Time, u64),
    events: VecDeque<Event>,
    /// Children that were reaped before the message that would have named them was read.
    unclaimed: HashMap<Pid, Exit>,
    /// Whether there are more dead than are buried in one turn.
    has_unburied: bool,
    /// Whether this process is to become another program once everything that was heard is decided.
    becomes_another: bool,
    left: Option<Verdict>,
}

impl Daemon {
    /// Opens everything that must be open before anything is started.
    ///
    /// # Errors
    /// The one sentence for the person who started us.
    pub fn open(config: Config, logs: Logs, passed: Passed) -> Result<Daemon, StartError> {
        let system = |what: &'static str| move |error: Errno| StartError(format!("cannot {what}: {error}"));
        let program = own_path().map_err(|error| StartError(format!("cannot find this program: {error}")))?;
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
        let control = open_control(&config)?;
        if let Some(control) = &control {
            wait_for(&epoll, control.as_fd(), Token::Control).map_err(system("wait for questions"))?;
        }
        let pools = open_pools(&config, &passed)?;
        let admin = Admin::open(&config.admin)
            .map_err(|(key, what)| StartError(config.origin.complaint(key, what).to_string()))?;
        let plans = pools.iter().map(|pool| plan(pool.id, &pool.config)).collect();
        let clock = Clock::default();
        let seed = clock::now();
        let daemon = Daemon {
            deciding: Supervisor::new(plans, seed, clock.now()),
            newest: pools.last().map_or(PoolId(0), |pool| pool.id),
            pools,
            passed,
            control,
            events: admin.iter().map(|_| Event::AdminWanted).collect(),
            admin,
            obituaries: Obituaries::default(),
            tallies: Tallies::default(),
            errands: Errands::new(),
            started: (clock.now(), SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
            config,
            awaits_restart: Vec::new(),
            draft: None,
            program,
            rehearsal: None,
            logs,
            clock,
            killings: Killings::begin(),
            signals,
            epoll,
            herald: Herald::new(Vec::new()),
            unclaimed: HashMap::new(),
            has_unburied: false,
            becomes_another: false,
            left: None,
        };
        daemon.announce_listeners();
        Ok(daemon)
    }

    /// Runs until everything is buried.
    ///
    /// # Errors
    /// What epoll says, if waiting itself fails.
    pub fn run(mut self) -> Result<Verdict, Errno> {
        // Who died while another program was being executed here is told of by nobody.
        self.bury();
        if self.deciding.phase() == Phase::Starting {
            self.announce_start();
        }
        let wanted = self.deciding.handle(Event::LogWanted, self.clock.now());
        self.perform(wanted);
        let begin = self.deciding.begin(self.clock.now());
        self.perform(begin);
        self.decide();
        let mut found = [EpollEvent::empty(); 64];
        loop {
            if let Some(verdict) = self.left {
                self.logs.conclude();
                return Ok(verdict);
            }
            let patience = self.patience();
            let count = match self.epoll.wait(&mut found, timeout(patience)) {
                Err(Errno::EINTR) => 0,
                count => count?,
            };
            self.clock.set(patience);
            for event in &found[..count] {
                self.translate(Token::unpack(event.data()));
            }
            if self.control.as_ref().and_then(Control::wake_at).is_some_and(|wanted| wanted <= self.clock.now()) {
                self.inform();
            }
            if self.attends_admin_at().is_some_and(|wanted| wanted <= self.clock.now()) {
                self.attend_admin();
            }
            if self.has_unburied {
                self.bury();
            }
            self.pools.iter_mut().for_each(Pool::flush);
            self.look_after_the_log();
            self.find_overdue();
            if self.deciding.wake_at().is_some_and(|wanted| wanted <= self.clock.now()) {
                self.events.push_back(Event::Ticked);
            }
            self.decide();
            self.proclaim();
        }
    }

    fn decide(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let buried = match &event {
                Event::WorkerDied(who, _) => Some(*who),
                _ => None,
            };
            let actions = self.deciding.handle(event, self.clock.now());
            self.perform(actions);
            // Only now: the notes have read in its cell what it was doing.
            if let Some(who) = buried {
                self.forget(who);
            }
        }
        if std::mem::take(&mut self.becomes_another) {
            self.upgrade();
        }
    }

    /// How long nothing need be done unless something happens. A worker that is idle now can be overdue no earlier
    /// than its whole timeout from now, so there is no tick.
    fn patience(&self) -> Option<Duration> {
        if self.has_unburied {
            return Some(Duration::ZERO);
        }
        let now = self.clock.now();
        let known = self.pressed().map(|(_, _, due)| due);
        let possible = self.pools.iter().filter(|pool| !pool.workers.is_empty());
        let possible = possible.map(|pool| now.after(pool.config.request_timeout));
        let control = self.control.as_ref().and_then(Control::wake_at);
        let unsent = self.logs.has_unsent() || self.pools.iter().any(Pool::has_unsent);
        let unsent = unsent.then(|| now.after(UNTOLD));
        let sides = self.attends_admin_at().into_iter().chain(self.logs.wake_at());
        let own = self.deciding.wake_at().into_iter().chain(control).chain(sides);
        let until = known.chain(possible).chain(own).chain(unsent).min();
        until.map(|until| self.clock.until(until)).into_iter().chain(self.herald.patience()).min()
    }

    fn pool(&mut self, id: PoolId) -> Option<&mut Pool> {
        self.pools.iter_mut().find(|pool| pool.id == id)
    }

    fn template(&mut self, who: TemplateRef) -> Option<&mut Template> {
        self.pool(who.pool)?.templates.get_mut(&who.life)
    }

    fn worker(&mut self, who: WorkerRef) -> Option<&mut Worker> {
        self.pool(who.pool)?.worker(who)
    }

    fn name(&self, id: PoolId) -> &str {
        self.pools.iter().find(|pool| pool.id == id).map_or("?", |pool| pool.config.name.as_str())
    }

    fn announce_listeners(&self) {
        for pool in &self.pools {
            let workers = self.deciding.pool(pool.id).map_or(0, |view| view.wanted);
            for address in pool.sockets.addresses() {
                tracing::info!(pool = %pool.config.name, workers, "listening on {address}");
            }
        }
        if let Some(admin) = &self.admin {
            tracing::info!("the status page is at {}", admin.address());
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

/// Rounded up: waking a moment early would mean to wake twice.
fn timeout(patience: Option<Duration>) -> EpollTimeout {
    let millis = patience.map(|span| span.as_nanos().div_ceil(1_000_000));
    let millis = millis.map(|millis| i32::try_from(millis).unwrap_or(i32::MAX));
    millis.and_then(|millis| EpollTimeout::try_from(millis).ok()).unwrap_or(EpollTimeout::NONE)
}

fn open_control(config: &Config) -> Result<Option<Control>, StartError> {
    let Some(path) = place::to_open(config) else {
        return Ok(None);
    };
    Control::open(&path).map(Some).map_err(|what| StartError(format!("the control socket: {what}")))
}

fn open_pools(config: &Config, passed: &Passed) -> Result<Vec<Pool>, StartError> {
    let mut pools: Vec<Pool> = Vec::new();
    for (id, pool) in (0..).map(PoolId).zip(&config.pools) {
        let others: Vec<&Sockets> = Vec::new();
        let opened = Pool::open(id, Edition(1), pool.clone(), (&others, passed))
            .map_err(|(key, what)| StartError(config.origin.complaint(&key, what).to_string()))?;
        pools.push(opened);
    }
    Ok(pools)
}

/// Thousands of idle connections cost descriptors: as many as we may have.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}
