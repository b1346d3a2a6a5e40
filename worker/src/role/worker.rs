//! The worker: a template's copy that becomes a process of its own, and serves.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use nix::sys::signal::Signal;
use nix::unistd::{dup2_stderr, dup2_stdout};

use crate::app::{App, Worker};
use crate::channel::Channel;
use crate::database::{Database, Deadline};
use crate::inbox::Inbox;
use crate::lease::{Desk, Lobby};
use crate::metrics::Metrics;
use crate::metrics::declaration::Declaration;
use crate::metrics::sheet::Sheet;
use crate::protocol::{Charter, Report};
use crate::scoreboard::Scoreboard;
use crate::serve::{Post, Server};
use crate::sys::fork::SingleThreaded;
use crate::sys::shared::Shared;
use crate::sys::title;
use crate::{Error, Result, last_words, log, request_local};

/// What a template has loaded, and every worker gets.
pub(super) struct Loaded<A> {
    pub(super) app: A,
    pub(super) charter: Charter,
    /// Where lines of the access log go, if there is one.
    pub(super) lines: Option<log::Lines>,
    pub(super) scoreboard: Shared<Scoreboard>,
    pub(super) inbox: Inbox,
    /// Where workers count what the application has declared.
    pub(super) sheet: Shared<Sheet>,
    /// What that is, and where it begins in a row.
    pub(super) metrics: Vec<(Declaration, u16)>,
    /// Where connections to the database are leased, if there is one.
    pub(super) lobby: Option<Lobby>,
    /// Each with its place.
    pub(super) listeners: Vec<(u32, OwnedFd)>,
}

/// What one worker gets that others do not.
pub(super) struct Seat {
    pub(super) slot: u32,
    pub(super) life: u64,
    /// How many requests it may serve; `None`: any number.
    pub(super) max_requests: Option<u64>,
    /// Its standard output and standard error, if they are not the template's.
    pub(super) streams: Option<(OwnedFd, OwnedFd)>,
}

/// The first steps after the fork, each with its reason, then the life of a worker to its end. The first, closing
/// what is the template's, has been done where the template's things are.
pub(super) fn live<A: App>(loaded: Loaded<A>, seat: Seat, channel: Channel) -> i32 {
    let pid = std::process::id();
    let Seat { slot, life, max_requests, streams } = seat;
    let Charter { pool, generation, limits, cleaning, proxies, accounts, database, .. } = loaded.charter;
    // 2. What the application spawns must not be able to write our scoreboard, nor take a connection.
    loaded.scoreboard.withhold_from_children();
    loaded.sheet.withhold_from_children();
    if let Some(lobby) = &loaded.lobby {
        lobby.withhold_from_children();
    }
    let scoreboard = Rc::new(loaded.scoreboard);
    last_words::introduce(&scoreboard, slot);
    // 3. A name of its own, in `ps` and in every line of the log.
    if let Ok(proof) = SingleThreaded::prove() {
        title::set(&proof, &format!("ratoon: {pool} worker {slot}"));
    }
    log::speak_as(speaker(&pool, slot, generation, pid));
    // What it prints is its own, and not the template's.
    if let Some((output, error)) = streams
        && let Err(error) = dup2_stdout(output).and_then(|()| dup2_stderr(error))
    {
        tracing::error!(%error, "what this worker prints will be taken for its template's");
    }
    let metrics = Metrics::new(loaded.sheet, slot, loaded.metrics);
    let worker = Worker { pool, slot, generation, pid, metrics };
    // 4. TERM, alone of all signals, is heard, and wakes the loop; whatever the application does goes on.
    let begun = listen_for_term().and_then(|terminate| {
        let mut app = loaded.app;
        // 5. The application's own beginnings, which may start threads: nothing below forks.
        contained("start", || app.start(&worker))?;
        let deadline = Deadline::of(Rc::clone(&scoreboard), slot);
        let desk = loaded.lobby.map(|lobby| Desk::new(lobby, slot, life));
        let database = database.zip(desk).map(|(rules, desk)| Database::new(rules, desk, deadline)).transpose();
        let post = Post {
            worker,
            database: database.map_err(|why| Error::msg(format!("the database's URL: {why}")))?,
            limits,
            cleaning,
            proxies,
            accounts,
            lines: loaded.lines,
            max_requests,
            scoreboard,
            listeners: loaded.listeners,
            inbox: Some(loaded.inbox),
            terminate,
        };
        Ok(Server::new(app, post)?)
    });
    let mut server = match begun {
        Ok(server) => server,
        Err(error) => {
            let _ = channel.send(&Report::refused(&error), &[]);
            return 1;
        }
    };
    match server.report_for_duty(channel) {
        Ok(()) => serve(server),
        // Nobody wants it any more: the supervisor is stopping, or gone.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => 0,
        Err(error) => {
            tracing::error!(%error, "cannot tell the supervisor that this worker is ready");
            1
        }
    }
}

/// As whom a worker speaks in the log.
pub(super) fn speaker(pool: &str, slot: u32, generation: u32, pid: impl Into<serde_json::Value>) -> log::Speaker {
    log::Speaker(vec![("pool", pool.into()), ("worker", slot.into()), ("gen", generation.into()), ("pid", pid.into())])
}

/// Serves to the end; the status to leave with.
pub(super) fn serve<A: App>(mut server: Server<A>) -> i32 {
    let served = server.run();
    server.stop();
    match served {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(%error, "the worker's loop failed");
            1
        }
    }
}

/// The end of a pipe that becomes readable when TERM arrives.
pub(super) fn listen_for_term() -> Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(Signal::SIGTERM as i32, write)?;
    Ok(read)
}

/// What a function of the application returns, its panic being an error like any other. What it has made of request-local
/// values does not outlive it.
pub(super) fn contained<T>(name: &str, function: impl FnOnce() -> Result<T>) -> Result<T> {
    let outcome = catch_unwind(AssertUnwindSafe(function));
    request_local::end();
    outcome.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().map(ToString::to_string);
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::msg(format!("{name} panicked: {}", words.unwrap_or_else(|| "with a value that is no text".into()))))
    })
}

/// A panic's words go where every other line goes.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let words = panic.payload_as_str().unwrap_or("with a value that is no text");
        tracing::error!(place, "panicked: {words}");
    }));
}
