//! What is real of a pool: its sockets, its scoreboard, the processes and the ways to speak to them.
//!
//! Does what it is told with them. Who should live, and why, is decided elsewhere.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::Pid;
use ratoon_worker::channel::Channel;
use ratoon_worker::protocol::{CHANNEL, Charter, Limits, Order, VERSION};
use ratoon_worker::scoreboard::{Cell, Scoreboard, State};
use ratoon_worker::sys::shared::Shared;

use super::listener::Listener;
use crate::config;
use crate::decide::event::{Generation, TemplateRef, Time, WorkerRef};

/// How long after its deadline a worker is asked for its last words.
pub(super) const SOFT_STEP: Duration = Duration::from_millis(250);

/// A pool's sockets, scoreboard and processes.
pub(super) struct Pool {
    pub(super) config: config::Pool,
    log: config::Log,
    sample: PathBuf,
    pub(super) scoreboard: Shared<Scoreboard>,
    pub(super) listeners: Vec<Listener>,
    pub(super) template: Option<Template>,
    pub(super) workers: BTreeMap<u32, Worker>,
}

/// A template process.
pub(super) struct Template {
    pub(super) who: TemplateRef,
    pub(super) pid: Pid,
    /// `None` once it has hung up, or we have.
    pub(super) channel: Option<Channel>,
    /// Whether it has named its version: then it is linked with the worker library.
    pub(super) introduced: bool,
}

/// A worker process, or the order to fork one.
pub(super) struct Worker {
    pub(super) who: WorkerRef,
    /// `None` once it has hung up, or talked nonsense.
    pub(super) channel: Option<Channel>,
    /// `None` until the template has announced it, and again once it is reaped.
    pub(super) process: Option<Pid>,
    pub(super) asked: Asked,
}

/// Whether a worker has been asked for its last words, and about which deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Never,
    Lately(u64),
    /// And has spoken: once for each time it was asked.
    Answered(u64),
}

impl Asked {
    fn about(self) -> Option<u64> {
        match self {
            Asked::Never => None,
            Asked::Lately(deadline) | Asked::Answered(deadline) => Some(deadline),
        }
    }
}

impl Pool {
    /// Opens what must be open before anything runs. `sample` is the program of a pool that names none.
    ///
    /// # Errors
    /// The key it is about, and what could not be done, in a sentence.
    pub(super) fn open(config: config::Pool, log: config::Log, sample: PathBuf) -> Result<Pool, (String, String)> {
        let scoreboard = Shared::create(&format!("ratoon-{}", config.name))
            .map_err(|errno| (config.path(), format!("cannot create the scoreboard: {errno}")))?;
        let listeners = config
            .listen
            .iter()
            .enumerate()
            .map(|(place, listen)| {
                Listener::open(listen).map_err(|what| (format!("{}.listen[{place}]", config.path()), what))
            })
            .collect::<Result<_, _>>()?;
        Ok(Pool { config, log, sample, scoreboard, listeners, template: None, workers: BTreeMap::new() })
    }

    /// Executes the program as a template.
    ///
    /// # Errors
    /// What could not be done, in a sentence.
    pub(super) fn start_template(&mut self, who: TemplateRef, generation: Generation) -> Result<(), String> {
        let (ours, theirs) = Channel::pair().map_err(|errno| format!("cannot make a channel: {errno}"))?;
        let executable = self.config.executable()?.unwrap_or_else(|| self.sample.clone());
        let arguments = self.config.program.as_deref().unwrap_or_default();
        let name = arguments.first().map_or_else(|| executable.as_os_str(), AsRef::as_ref);
        let mut command = Command::new(&executable);
        command.arg0(name).args(arguments.iter().skip(1)).env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        // The one descriptor that it inherits, by number. It is ours alone and closed here before anything else is
        // executed: we have one thread.
        let number = theirs.as_fd().as_raw_fd();
        command.env(CHANNEL, number.to_string());
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))
            .map_err(|errno| format!("cannot pass a channel: {errno}"))?;
        let process = command.spawn().map_err(|error| format!("cannot execute {}: {error}", executable.display()))?;
        drop(theirs);
        let pid = Pid::from_raw(process.id() as i32);
        // What cannot be told now the template waits for in vain, and reads the end of its channel.
        let told = self.send_load(&ours, generation);
        if let Err(error) = &told
            && error.kind() != ErrorKind::BrokenPipe
        {
            tracing::error!(pool = %self.config.name, r#gen = generation.0, %error, "cannot tell the template what to load");
        }
        self.template = Some(Template { who, pid, channel: told.ok().map(|()| ours), introduced: false });
        Ok(())
    }

    fn send_load(&self, channel: &Channel, generation: Generation) -> io::Result<()> {
        let charter = serde_json::to_vec(&self.charter(generation))?;
        let mut file = tempfile_in_memory("ratoon-charter")?;
        file.write_all(&charter)?;
        file.rewind()?;
        let mut descriptors = vec![file.as_fd(), self.scoreboard.file()];
        descriptors.extend(self.listeners.iter().map(AsFd::as_fd));
        channel.send(&Order::Load { version: VERSION }, &descriptors)
    }

    fn charter(&self, generation: Generation) -> Charter {
        let config = &self.config;
        Charter {
            pool: config.name.clone(),
            generation: generation.0,
            slots: config.workers,
            settings: config.settings.clone().into(),
            limits: limits(config),
            log_level: self.log.level,
            log_format: self.log.format,
        }
    }

    /// Has the template fork a worker; the deadline is in the cell before the template hears of it.
    ///
    /// # Errors
    /// What could not be done, in a sentence; then no process comes of it.
    pub(super) fn order_fork(&mut self, who: WorkerRef, deadline: Time) -> Result<(), String> {
        let (ours, theirs) = Channel::pair().map_err(|errno| format!("cannot make a channel: {errno}"))?;
        if let Some(cell) = self.scoreboard.cell(who.slot) {
            cell.assign(who.life, deadline.0);
        }
        self.workers.insert(who.slot, Worker { who, channel: Some(ours), process: None, asked: Asked::Never });
        let template = self.template.as_ref().and_then(|template| template.channel.as_ref());
        let channel = template.ok_or("there is no template")?;
        let order = Order::Fork { slot: who.slot, life: who.life };
        channel.send(&order, &[theirs.as_fd()]).map_err(|error| format!("the template takes no orders: {error}"))
    }

    /// The worker that has this life, if it is the present one of its slot.
    pub(super) fn worker(&mut self, who: WorkerRef) -> Option<&mut Worker> {
        self.workers.get_mut(&who.slot).filter(|worker| worker.who == who)
    }

    /// When this worker is asked for its last words: a moment after the deadline of a request, for whoever waits for a
    /// database until that very deadline. `None` if it has been asked, or if nothing presses.
    pub(super) fn soft_deadline(&self, worker: &Worker) -> Option<Time> {
        let cell = self.scoreboard.cell(worker.who.slot).filter(|cell| cell.life() == worker.who.life)?;
        let deadline = cell.deadline();
        let is_news = deadline != 0 && worker.asked.about() != Some(deadline) && cell.state() == State::Busy;
        (is_news && worker.process.is_some()).then(|| Time(deadline).after(SOFT_STEP))
    }

    /// Has the template turn a worker's last words into a line of the log; where there is none, they are logged as they
    /// are.
    pub(super) fn order_names(&self, slot: u32, pid: Pid) {
        let Some(words) = self.scoreboard.cell(slot).and_then(Cell::last_words) else { return };
        let channel = self.template.as_ref().and_then(|template| template.channel.as_ref());
        let order = Order::Name { slot, pid: pid.as_raw(), words };
        if channel.is_none_or(|channel| channel.send(&order, &[]).is_err()) {
            tracing::error!(pool = %self.config.name, worker = slot, pid = pid.as_raw(), ?order, "last words");
        }
    }

    /// Nothing is left of this worker: its slot is clear.
    pub(super) fn forget(&mut self, who: WorkerRef) {
        if self.worker(who).is_some() {
            self.workers.remove(&who.slot);
            if let Some(cell) = self.scoreboard.cell(who.slot) {
                cell.clear();
            }
        }
    }

    /// Lets no newcomers into the queues, and leaves what is in them to the draining workers.
    pub(super) fn stop_listening(&self) {
        for (place, listener) in self.listeners.iter().enumerate() {
            let waiting = listener.stop_listening().unwrap_or_else(|error| {
                tracing::warn!(pool = %self.config.name, %error, "the length of a queue is not known: all of it is served");
                self.config.listen.get(place).map_or(0, |listen| listen.backlog)
            });
            self.scoreboard.set_quota(place, u64::from(waiting));
        }
    }

    /// When this worker is killed for its deadline: with the grace if it is in a request, at once if it is booting.
    /// `None` if nothing presses.
    pub(super) fn hard_deadline(&self, who: WorkerRef) -> Option<Time> {
        let cell = self.scoreboard.cell(who.slot).filter(|cell| cell.life() == who.life)?;
        let deadline = cell.deadline();
        match (deadline, cell.state()) {
            (0, _) => None,
            (deadline, State::Starting) => Some(Time(deadline)),
            (deadline, _) => Some(Time(deadline).after(self.config.kill_grace)),
        }
    }
}

fn tempfile_in_memory(name: &str) -> nix::Result<std::fs::File> {
    nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC).map(std::fs::File::from)
}

fn limits(config: &config::Pool) -> Limits {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Limits {
        request_timeout: millis(config.request_timeout),
        header_timeout: millis(config.header_timeout),
        body_timeout: millis(config.body_timeout),
        send_timeout: millis(config.send_timeout),
        keep_alive_timeout: millis(config.keep_alive_timeout),
        max_header: config.max_header,
        max_body: config.max_body,
        body_memory: config.body_memory,
        body_dir: config.body_dir.clone(),
        body_disk: config.body_disk,
        max_connections: config.max_connections,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_by_hand_has_the_limits_of_a_pool_that_says_nothing() {
        assert_eq!(limits(&config::Pool::default()), Limits::default());
    }
}
