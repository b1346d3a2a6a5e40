//! Executing: a pool's program as a template, the command that prepares it, and the order to fork a worker.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use ratoon_worker::channel::Channel;
use ratoon_worker::lease::Lobby;
use ratoon_worker::log;
use ratoon_worker::protocol::{
    Accounts, CHANNEL, Charter, Cleaning, DatabaseRules, HalfClose, Limits, Order, Proxies, VERSION,
};

use super::{Allowance, Pool, Template, Worker, environment};
use crate::act::logs::{self, Captured};
use crate::act::notify;
use crate::act::unsent::Unsent;
use crate::act::upgrade::ESTATE;
use crate::config::{self, Account};
use crate::decide::event::{Edition, Generation, TemplateRef, WorkerRef};
use crate::span::millis;
use crate::sys;

/// What a template is told of the daemon that it is part of.
pub(in crate::act) struct Surroundings {
    /// The least important log lines.
    pub(in crate::act) level: log::Level,
    pub(in crate::act) log: LogWay,
    /// The program of a pool that names none.
    pub(in crate::act) sample: PathBuf,
    /// The variables that no template is given.
    pub(in crate::act) secrets: Vec<String>,
    /// How many connections to databases all pools may open together.
    pub(in crate::act) connections: u32,
}

/// Where lines go, and what is printed.
pub(in crate::act) struct LogWay {
    pub(in crate::act) form: log::Form,
    /// Those of the library.
    pub(in crate::act) lines: io::Result<OwnedFd>,
    /// What is printed by who is not captured, if that does not simply go where ours does.
    pub(in crate::act) printed: Option<io::Result<File>>,
    /// The pipe before the file of the pool's access log, if it has one.
    pub(in crate::act) access: Option<io::Result<OwnedFd>>,
}

impl LogWay {
    /// What a template is given of it.
    fn descriptors(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        let all = std::iter::once(&self.lines).chain(&self.access);
        all.map(|each| match each {
            Ok(descriptor) => Ok(descriptor.as_fd()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        })
        .collect()
    }
}

impl Pool {
    /// Executes the edition's program as a template.
    ///
    /// # Errors
    /// What could not be done, in a sentence.
    pub(in crate::act) fn start_template(
        &mut self,
        who: TemplateRef,
        generation: Generation,
        edition: Edition,
        daemon: &Surroundings,
    ) -> Result<(), String> {
        let (config, account) = self.issue(edition);
        let (ours, theirs) = Channel::pair().map_err(|errno| format!("cannot make a channel: {errno}"))?;
        ours.refuse_descriptors();
        let executable = config.executable()?.unwrap_or_else(|| daemon.sample.clone());
        let arguments = config.program.as_deref().unwrap_or_default();
        let name = arguments.first().map_or_else(|| executable.as_os_str(), AsRef::as_ref);
        let mut command = Command::new(&executable);
        command.arg0(name).args(arguments.iter().skip(1)).stdin(Stdio::null());
        let captured = direct(&mut command, config, &daemon.log)?;
        environment::furnish(&mut command, config, account, our_environment(&daemon.secrets));
        if let Some(Account { user, group, groups, .. }) = account {
            sys::identity::assume(&mut command, *user, *group, groups.clone());
        }
        // The one descriptor that it inherits, by number. It is ours alone and closed here before anything else is
        // executed: we have one thread.
        let number = theirs.as_fd().as_raw_fd();
        command.env(CHANNEL, number.to_string());
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))
            .map_err(|errno| format!("cannot pass a channel: {errno}"))?;
        let process = command.spawn().map_err(|error| format!("cannot execute {}: {error}", executable.display()))?;
        // It holds the other ends of what is captured.
        drop((theirs, command));
        let pid = Pid::from_raw(process.id() as i32);
        endow(config, pid);
        // What cannot be told now the template waits for in vain, and reads the end of its channel.
        let told = self.send_load(&ours, &self.charter(config, generation, daemon), edition, daemon);
        if let Err(error) = &told
            && error.kind() != ErrorKind::BrokenPipe
        {
            tracing::error!(pool = %self.config.name, r#gen = generation.0, %error, "cannot tell the template what to load");
        }
        let channel = told.ok().map(|()| ours);
        self.templates.insert(
            who.life,
            Template {
                who,
                generation,
                edition,
                pid,
                channel,
                introduced: false,
                allowance: Allowance::of_a_template(),
                places: Some(Vec::new()),
                unsent: Unsent::default(),
                captured,
            },
        );
        Ok(())
    }

    /// Has the template fork a worker; the deadline, in the cells' clock, is in the cell before the template hears of it.
    ///
    /// # Errors
    /// What could not be done, in a sentence; then no process comes of it.
    pub(in crate::act) fn order_fork(
        &mut self,
        who: WorkerRef,
        template: TemplateRef,
        (ordered, deadline): (u64, u64),
        max_requests: Option<u64>,
    ) -> Result<(), String> {
        let (ours, theirs) = Channel::pair().map_err(|errno| format!("cannot make a channel: {errno}"))?;
        ours.refuse_descriptors();
        let slots = self.scoreboard.slots().max(who.slot as usize + 1);
        self.scoreboard.set_slots(slots as u32);
        if let Some(cell) = self.scoreboard.cell(who.slot) {
            // Whoever had the slot before is dead, and perhaps not forgotten yet.
            self.register.bury(who.slot);
            cell.assign(who.life, deadline);
        }
        let forker = template.life;
        if let Some(template) = self.templates.get_mut(&forker) {
            template.allowance.ask();
        }
        let template = self.templates.get(&forker);
        // As its template's output is.
        let is_captured = template.is_some_and(|template| template.captured.is_some());
        let streams =
            is_captured.then(logs::pipes).transpose().map_err(|errno| format!("cannot make a pipe: {errno}"))?;
        let (captured, streams) = streams.unzip();
        self.workers.insert(
            who.life,
            Worker {
                who,
                template: forker,
                edition: template.map_or(Edition(0), |template| template.edition),
                generation: template.map_or(Generation(0), |template| template.generation),
                ordered,
                channel: Some(ours),
                process: None,
                allowance: Allowance::of_a_worker(),
                asked: false,
                unsent: Unsent::default(),
                captured,
            },
        );
        let channel = template.and_then(|template| template.channel.as_ref()).ok_or("there is no template")?;
        let order = Order::Fork { slot: who.slot, life: who.life, max_requests };
        let streams = streams.iter().flatten().map(OwnedFd::as_fd);
        let beside: Vec<BorrowedFd<'_>> = std::iter::once(theirs.as_fd()).chain(streams).collect();
        channel.send(&order, &beside).map_err(|error| format!("the template takes no orders: {error}"))
    }

    /// Runs the command that prepares the edition.
    ///
    /// # Errors
    /// What could not be done, in a sentence.
    pub(in crate::act) fn prepare(&mut self, edition: Edition, daemon: &Surroundings) -> Result<(), String> {
        let (config, account) = self.issue(edition);
        let program = config.preparation()?.ok_or("there is nothing to run")?;
        let mut command = Command::new(&program);
        command.args(config.prepare.iter().flatten().skip(1)).stdin(Stdio::null()).process_group(0);
        let captured = direct(&mut command, config, &daemon.log)?;
        environment::furnish(&mut command, config, account, our_environment(&[]));
        // It may need what its workers are not told.
        if let Some((name, value)) = config.url_variable().and_then(|name| Some((name, std::env::var_os(name)?))) {
            command.env(name, value);
        }
        if let Some(Account { user, group, groups, .. }) = account {
            sys::identity::assume(&mut command, *user, *group, groups.clone());
        }
        let process = command.spawn().map_err(|error| format!("cannot execute {}: {error}", program.display()))?;
        self.preparations.insert(edition, (Pid::from_raw(process.id() as i32), captured));
        Ok(())
    }

    /// Kills the command that prepares this edition, with what it started.
    pub(in crate::act) fn abandon_preparation(&mut self, edition: Edition) {
        if let Some((pid, _)) = self.preparations.get(&edition) {
            let _ = killpg(*pid, Signal::SIGKILL);
        }
    }

    /// Whether this process is a command that prepares an edition.
    pub(in crate::act) fn is_prepared_by(&self, pid: Pid) -> bool {
        self.preparations.values().any(|(running, _)| *running == pid)
    }

    /// Whether this process is the command that prepares an edition, and which: it is over.
    pub(in crate::act) fn end_preparation(&mut self, pid: Pid) -> Option<Edition> {
        let edition =
            self.preparations.iter().find(|(_, (running, _))| *running == pid).map(|(edition, _)| *edition)?;
        self.preparations.remove(&edition);
        Some(edition)
    }

    fn send_load(
        &self,
        channel: &Channel,
        charter: &Charter,
        edition: Edition,
        daemon: &Surroundings,
    ) -> io::Result<()> {
        let lobby = self.lobbies.of(edition).filter(|_| charter.database.is_some());
        let charter = serde_json::to_vec(charter)?;
        let mut file = file_in_memory("ratoon-charter")?;
        file.write_all(&charter)?;
        file.rewind()?;
        let mut descriptors = vec![file.as_fd(), self.scoreboard.file()];
        descriptors.extend(self.inbox.ends());
        descriptors.push(self.register.file());
        descriptors.extend(daemon.log.descriptors()?);
        descriptors.extend(lobby.map(Lobby::parts).into_iter().flatten());
        descriptors.extend(self.sockets.all().map(|(_, socket)| socket));
        channel.send(&Order::Load { version: VERSION }, &descriptors)
    }

    fn charter(&self, config: &config::Pool, generation: Generation, daemon: &Surroundings) -> Charter {
        Charter {
            pool: config.name.clone(),
            generation: generation.0,
            listeners: self.sockets.all().map(|(place, _)| place).collect(),
            settings: config.settings.clone().into(),
            limits: limits(config),
            cleaning: cleaning(config),
            proxies: Proxies {
                trusted: config.trusted_proxies.clone(),
                announced: self.sockets.announced(config),
                forwarded: config.forwarded,
            },
            accounts: accounts(config),
            database: database(config, daemon.connections),
            log_level: daemon.level,
            log_form: daemon.log.form,
        }
    }
}

/// Says where the program prints; what is read of it, if it is captured.
fn direct(command: &mut Command, config: &config::Pool, log: &LogWay) -> Result<Option<Captured>, String> {
    if config.capture {
        let (captured, [output, error]) = logs::pipes().map_err(|errno| format!("cannot make a pipe: {errno}"))?;
        command.stdout(output).stderr(error);
        return Ok(Some(captured));
    }
    if let Some(printed) = &log.printed {
        let printed = || printed.as_ref().map_err(ToString::to_string)?.try_clone().map_err(|error| error.to_string());
        let no = |error: String| format!("cannot open the log for what it prints: {error}");
        command.stdout(printed().map_err(no)?).stderr(printed().map_err(no)?);
    }
    Ok(None)
}

/// Our environment, without what is said to the supervisor alone, and without these.
fn our_environment(secrets: &[String]) -> impl Iterator<Item = (OsString, OsString)> {
    let is_ours = |name: &OsStr| notify::VARIABLES.iter().chain([&ESTATE]).any(|ours| name == *ours);
    std::env::vars_os().filter(move |(name, _)| !is_ours(name) && !secrets.iter().any(|secret| name == secret.as_str()))
}

/// Gives a template, and with it every worker, what the configuration says of the kernel's limits. It does nothing before
/// it is told what to load.
fn endow(config: &config::Pool, pid: Pid) {
    let refused = |what: &str, error: &dyn std::fmt::Display| {
        tracing::error!(pool = %config.name, %error, "cannot set {what}: the template has the supervisor's own");
    };
    for (resource, most) in config.rlimits.given() {
        if let Err(error) = sys::endowment::limit(pid, resource, most) {
            refused(&format!("{resource:?}"), &error);
        }
    }
    if let Some(Err(error)) = config.nice.map(|nice| sys::endowment::nice(pid, nice)) {
        refused("nice", &error);
    }
    let adjust = |score: i32| std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string());
    if let Some(Err(error)) = config.oom_score_adj.map(adjust) {
        refused("oom_score_adj", &error);
    }
}

fn file_in_memory(name: &str) -> nix::Result<std::fs::File> {
    nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC).map(std::fs::File::from)
}

fn limits(config: &config::Pool) -> Limits {
    Limits {
        request_timeout: millis(config.request_timeout),
        header_timeout: millis(config.header_timeout),
        body_timeout: millis(config.body_timeout),
        send_timeout: millis(config.send_timeout),
        keep_alive_timeout: millis(config.keep_alive_timeout),
        queue_timeout: config.queue_timeout.map_or(0, millis),
        half_close: match config.half_close {
            config::HalfClose::Wait => HalfClose::Wait,
            config::HalfClose::Gone => HalfClose::Gone,
        },
        max_header: config.max_header,
        max_body: config.max_body,
        body_memory: config.body_memory,
        body_dir: config.body_dir.clone(),
        body_disk: config.body_disk,
        max_connections: config.max_connections,
    }
}

fn cleaning(config: &config::Pool) -> Cleaning {
    Cleaning { reset: config.reset, reset_check: config.reset_check, panics: config.panics }
}

fn accounts(config: &config::Pool) -> Accounts {
    Accounts {
        access: config.access.clone(),
        to_file: config.access_file.is_some(),
        skip: config.access_skip.clone(),
        slow_log: config.slow_log.map_or(0, millis),
        query: config.log_query,
    }
}

pub(super) fn database(config: &config::Pool, connections_of_all: u32) -> Option<DatabaseRules> {
    let database = config.database.as_ref()?;
    Some(DatabaseRules {
        url: database.url.clone()?,
        connections: config.connections(),
        connections_of_all,
        connect_timeout: millis(database.connect_timeout),
        idle_timeout: millis(database.idle_timeout),
        max_lifetime: millis(database.max_lifetime),
        max_lifetime_jitter: database.max_lifetime_jitter.0,
        validate_after: millis(database.validate_after),
        statement_timeout: database.statement_timeout.map_or(0, millis),
        tcp_user_timeout: millis(database.tcp_user_timeout),
        init_sql: database.init_sql.clone(),
        reset: database.reset,
        prepared: database.prepared,
    })
}

#[cfg(test)]
mod tests {
    use ratoon_worker::protocol::Secret;

    use super::*;

    #[test]
    fn a_worker_by_hand_is_bounded_and_cleaned_as_that_of_a_pool_that_says_nothing() {
        assert_eq!(limits(&config::Pool::default()), Limits::default());
        assert_eq!(cleaning(&config::Pool::default()), Cleaning::default());
        assert_eq!(accounts(&config::Pool::default()), Accounts::default());
        assert_eq!(database(&config::Pool::default(), 10), None);
        let url = Secret::new("postgres://db");
        let told = config::Database { url: Some(url.clone()), connections: Some(10), ..config::Database::default() };
        let pool = config::Pool { database: Some(told), ..config::Pool::default() };
        assert_eq!(database(&pool, 10), Some(DatabaseRules::at(url)));
    }
}
