//! A process that serves one application on one listener, and is no worker of any pool: what is started by hand, and the
//! supervisor's own page for operators.
//!
//! Owns how such a process comes to serve. It has no template, no siblings, no channel: TERM ends it.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use nix::sys::signal::SigSet;

use super::template::IGNORED;
use super::worker::{contained, listen_for_term, log_panics, serve};
use crate::app::{App, Worker};
use crate::database::{Database, Deadline};
use crate::metrics::Metrics;
use crate::protocol::{Accounts, Cleaning, Limits, Panics, Proxies};
use crate::scoreboard::Scoreboard;
use crate::serve::{Post, Server};
use crate::sys::fork::SingleThreaded;
use crate::sys::shared::Shared;
use crate::sys::{signal, title};
use crate::{Result, log};

/// Serves `app` on `listener`, whose accepting must not block, until TERM; yields the status to leave with. To be called
/// early in `main`: the process is called `ratoon: NAME` from then on, in `ps` as in the log, and ignores the signals
/// that are meant for the supervisor.
///
/// # Errors
/// What keeps it from serving, the application's `start` among it.
pub fn alone<A: App>(name: &'static str, app: A, listener: OwnedFd, limits: Limits) -> Result<i32> {
    if let Ok(proof) = SingleThreaded::prove() {
        title::prepare(&proof);
        title::set(&proof, &format!("ratoon: {name}"));
    }
    signal::ignore(&IGNORED)?;
    SigSet::empty().thread_set_mask()?;
    log::speak_as(log::Speaker(vec![("process", name.into()), ("pid", std::process::id().into())]));
    log_panics();
    let metrics = Metrics::default();
    let worker = Worker { pool: name.into(), slot: 0, generation: 1, pid: std::process::id(), metrics };
    let server = settle(app, worker, listener, limits, |_| Ok(None))?;
    Ok(serve(server))
}

/// An application that has been started, and all it needs to serve.
pub(super) fn settle<A: App>(
    mut app: A,
    worker: Worker,
    listener: OwnedFd,
    limits: Limits,
    database: impl FnOnce(Deadline) -> Result<Option<Database>>,
) -> Result<Server<A>> {
    contained("start", || app.start(&worker))?;
    let scoreboard: Shared<Scoreboard> = Shared::create("ratoon-alone")?;
    scoreboard.set_slots(1);
    let scoreboard = Rc::new(scoreboard);
    let post = Post {
        worker,
        database: database(Deadline::of(Rc::clone(&scoreboard), 0))?,
        // Nobody is there to enforce request_timeout.
        limits,
        // Nobody would fork another.
        accounts: Accounts::default(),
        lines: None,
        cleaning: Cleaning { panics: Panics::Continue, ..Cleaning::default() },
        proxies: Proxies::default(),
        max_requests: None,
        scoreboard,
        listeners: vec![(0, listener)],
        inbox: None,
        terminate: listen_for_term()?,
    };
    Ok(Server::new(app, post)?)
}
