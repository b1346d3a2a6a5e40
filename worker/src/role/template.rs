//! The template: loads the application once, serves nothing, forks workers on order.
//!
//! Has one thread, and proves it before each fork. Leaves when the supervisor hangs up.

use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};

use super::worker::{self, Loaded, Seat};
use crate::app::{App, Settings};
use crate::channel::{Channel, Received};
use crate::inbox::Inbox;
use crate::last_words::naming::{self, Budget};
use crate::lease::Lobby;
use crate::metrics::sheet::Sheet;
use crate::protocol::{CHANNEL, Charter, Order, Report, VERSION};
use crate::scoreboard::Scoreboard;
use crate::sys::fork::{SingleThreaded, child, leave};
use crate::sys::shared::Shared;
use crate::sys::{descriptor, environment, signal, title};
use crate::{Error, Result, last_words, log};

pub(super) fn main<A: App>() -> ExitCode {
    let Ok(proof) = SingleThreaded::prove() else {
        say("a template cannot begin with more than one thread");
        return ExitCode::FAILURE;
    };
    title::prepare(&proof);
    if let Err(error) = signal::ignore(&IGNORED).and_then(|()| SigSet::empty().thread_set_mask()) {
        say(&format!("cannot ignore what is meant for the supervisor: {error}"));
        return ExitCode::FAILURE;
    }
    if let Err(error) = last_words::prepare() {
        say(&format!("a worker that crashes will have no last words: {error}"));
    }
    // Without a supervisor there is nobody to fork for, however long `load` still takes.
    let _ = set_pdeathsig(Signal::SIGKILL);
    let channel = match channel(&proof) {
        Ok(channel) => channel,
        Err(error) => {
            say(&format!("{CHANNEL} names no channel to a supervisor: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let refuse = |channel: &Channel, error: Error| {
        let _ = channel.send(&Report::refused(&error), &[]);
        ExitCode::FAILURE
    };
    let loaded = match load::<A>(&proof, &channel) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&channel, error),
    };
    let mut template = Some((loaded, channel));
    match serve(&mut template) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => template.map_or(ExitCode::FAILURE, |(_, channel)| refuse(&channel, error)),
    }
}

/// Before there is a log, there is standard error.
#[allow(clippy::print_stderr)]
fn say(what: &str) {
    eprintln!("ratoon-worker: {what}");
}

fn channel(proof: &SingleThreaded) -> Result<Channel> {
    let number = std::env::var(CHANNEL)?.parse()?;
    // What the application spawns is no template.
    environment::remove(proof, CHANNEL);
    Ok(Channel::from(descriptor::adopt(number)?))
}

fn load<A: App>(proof: &SingleThreaded, channel: &Channel) -> Result<Loaded<A>> {
    channel.send(&Report::Hello { version: VERSION }, &[])?;
    let (charter, shared) = match channel.receive() {
        Received::Message(Order::Load { version: VERSION }, descriptors) => unpack(descriptors)?,
        Received::Message(Order::Load { version }, _) => {
            return Err(Error::msg(format!(
                "this program speaks version {VERSION} of the protocol, the supervisor version {version}: build it \
                 with the ratoon-worker that belongs to this ratoon"
            )));
        }
        Received::End => leave(0),
        other => {
            return Err(Error::msg(format!("the supervisor's first word should be Load, and was {other:?}")));
        }
    };
    title::set(proof, &format!("ratoon: {} template", charter.pool));
    log::speak_as(log::Speaker(vec![
        ("pool", charter.pool.clone().into()),
        ("gen", charter.generation.into()),
        ("pid", std::process::id().into()),
    ]));
    worker::log_panics();
    let settings = Settings::new(charter.settings.clone());
    let declarations = settings.metrics().clone();
    let (level, form, sink) = (charter.log_level, charter.log_form, log::Sink::to(shared.log));
    let lines = match shared.access {
        Some(pipe) => log::Lines::into_file(log::Sink::to(pipe)),
        None => log::Lines::into_log(form, sink.clone()),
    };
    let load = || worker::contained("load", || A::load(settings));
    let app = log::while_loading(level, form, sink.clone(), load)?;
    log::install(level, form, sink);
    prove_single()?;
    let declared = declarations.close();
    for metric in &declared {
        channel.send(&Report::Declares { metric: metric.clone() }, &[])?;
    }
    channel.send(&Report::Loaded, &[])?;
    let SharedByAll { scoreboard, inbox, sheet, lobby, listeners, .. } = shared;
    let listeners = charter.listeners.iter().copied().zip(listeners).collect();
    let metrics = declared.into_iter().map(|metric| (metric, 0)).collect();
    let lines = charter.accounts.access.as_ref().map(|_| lines);
    Ok(Loaded { app, charter, lines, scoreboard, inbox, sheet, metrics, lobby, listeners })
}

/// What comes with Load, and every worker of the pool has.
struct SharedByAll {
    scoreboard: Shared<Scoreboard>,
    inbox: Inbox,
    sheet: Shared<Sheet>,
    log: OwnedFd,
    access: Option<OwnedFd>,
    lobby: Option<Lobby>,
    listeners: Vec<OwnedFd>,
}

fn unpack(descriptors: Vec<OwnedFd>) -> Result<(Charter, SharedByAll)> {
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or_else(|| Error::msg("Load came without all it should bring"));
    let charter: Charter = serde_json::from_reader(std::fs::File::from(next()?))?;
    let scoreboard = Shared::open(next()?)?;
    let inbox = Inbox::from_ends(next()?, next()?);
    let sheet = Shared::open(next()?)?;
    let log = next()?;
    let access = if charter.accounts.to_file { Some(next()?) } else { None };
    let lobby = match charter.database {
        Some(_) => Some(Lobby::from_parts([next()?, next()?, next()?, next()?])?),
        None => None,
    };
    Ok((charter, SharedByAll { scoreboard, inbox, sheet, log, access, lobby, listeners: descriptors.collect() }))
}

/// What is meant for the supervisor reaches the whole process group of a terminal: a worker is told by its channel.
pub(super) const IGNORED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGWINCH,
];

fn prove_single() -> Result<SingleThreaded> {
    SingleThreaded::prove().map_err(|threads| {
        let count = if threads == 0 { "an unknown number of".to_owned() } else { format!("{} more", threads - 1) };
        Error::msg(format!(
            "the application's load left {count} threads running, and a process with threads cannot be forked: start \
             them in App::start, which runs in each worker after the fork"
        ))
    })
}

/// A template: what it has loaded, and its own way to the supervisor, which no worker keeps.
type Template<A> = Option<(Loaded<A>, Channel)>;

/// Forks on order until the supervisor hangs up.
fn serve<A: App>(template: &mut Template<A>) -> Result<()> {
    let mut budget = Budget::default();
    loop {
        let Some((_, channel)) = template else {
            return Ok(());
        };
        match channel.receive() {
            Received::Message(Order::Fork { slot, life, max_requests }, descriptors) => {
                let mut descriptors = descriptors.into_iter();
                let Some(line) = descriptors.next() else {
                    return Err(Error::msg("Fork came without the worker's channel"));
                };
                let streams = descriptors.next().zip(descriptors.next());
                let proof = prove_single()?;
                flush();
                let seat = Seat { slot, life, max_requests, streams };
                let report = match fork_worker(&proof, template, seat, Channel::from(line)) {
                    Ok(pid) => Report::Forked { slot, life, pid },
                    Err(errno) => Report::NotForked { slot, life, reason: format!("cannot fork: {errno}") },
                };
                if let Some((_, channel)) = template {
                    match channel.send(&report, &[]) {
                        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                        told => told?,
                    }
                }
            }
            Received::Message(Order::Places { words }, _) => {
                if let Some((loaded, _)) = template {
                    loaded.metrics.iter_mut().zip(words).for_each(|((_, place), word)| *place = word);
                }
            }
            // As long as one copy is open its clients wait for nobody, and its address is not free.
            Received::Message(Order::Close { listener }, _) => {
                if let Some((loaded, _)) = template {
                    loaded.listeners.retain(|(place, _)| *place != listener);
                }
            }
            Received::Message(Order::Name { slot, pid, words }, _) => {
                let proof = prove_single()?;
                flush();
                let names = budget.spend(Instant::now());
                let log = || naming::log(&words, names);
                if let Err(error) = fork_namer(&proof, template, slot, pid, log) {
                    tracing::error!(worker = slot, %error, ?words, "nobody could be forked to name addresses");
                }
            }
            Received::End => return Ok(()),
            other => {
                return Err(Error::msg(format!("a template takes orders to fork and to name, and this was {other:?}")));
            }
        }
    }
}

/// Forks twice: the worker, whose parent leaves at once, becomes the supervisor's child before anybody hears of it.
fn fork_worker<A: App>(
    proof: &SingleThreaded,
    template: &mut Template<A>,
    seat: Seat,
    line: Channel,
) -> std::result::Result<i32, Errno> {
    let (answer, question) = pipe2(OFlag::O_CLOEXEC)?;
    let (mut answer, mut question) = (Some(answer), Some(question));
    let (mut line, mut seat) = (Some(line), Some(seat));
    let middle = child(proof, || {
        answer = None;
        let worker = child(proof, || {
            // 1. What is the template's is not ours: its channel would never seem closed, its pipe neither.
            question = None;
            match (template.take(), line.take(), seat.take()) {
                (Some((loaded, channel)), Some(line), Some(seat)) => {
                    drop(channel);
                    worker::live(loaded, seat, line)
                }
                _ => 1,
            }
        });
        let said = worker.map_or_else(|errno| -(errno as i32), |pid| pid.as_raw());
        if let Some(question) = &question {
            let _ = nix::unistd::write(question, &said.to_ne_bytes());
        }
        0
    })?;
    drop(question);
    let _ = wait_for(middle);
    let mut said = [0; 4];
    let mut answer = std::fs::File::from(answer.ok_or(Errno::EBADF)?);
    answer.read_exact(&mut said).map_err(|_| Errno::ECHILD)?;
    match i32::from_ne_bytes(said) {
        pid if pid > 0 => Ok(pid),
        errno => Err(Errno::from_raw(-errno)),
    }
}

/// Forks twice, so that nobody here waits for the naming: the supervisor buries whoever does it.
fn fork_namer<A: App>(
    proof: &SingleThreaded,
    template: &mut Template<A>,
    slot: u32,
    pid: i32,
    log: impl FnOnce(),
) -> std::result::Result<(), Errno> {
    let middle = child(proof, || {
        let namer = child(proof, || {
            naming::limit();
            if let Some((Loaded { app, charter, listeners, .. }, channel)) = template.take() {
                // The application is the template's to end, the sockets are not ours to keep open.
                std::mem::forget(app);
                drop((listeners, channel));
                title::set(proof, &format!("ratoon: {} namer", charter.pool));
                log::speak_as(worker::speaker(&charter.pool, slot, charter.generation, pid));
            }
            log();
            0
        });
        namer.map_or_else(|errno| errno as i32, |_| 0)
    })?;
    match wait_for(middle) {
        Ok(WaitStatus::Exited(_, 0)) => Ok(()),
        Ok(WaitStatus::Exited(_, errno)) => Err(Errno::from_raw(errno)),
        Ok(_) => Err(Errno::ECHILD),
        Err(errno) => Err(errno),
    }
}

fn wait_for(child: Pid) -> std::result::Result<WaitStatus, Errno> {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            ended => return ended,
        }
    }
}

/// What is buffered here would be written by every child, too.
fn flush() {
    use std::io::Write;
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
}
