//! The program started by hand: one worker, one loopback port, no supervisor. For development.

use std::net::TcpListener;
use std::process::ExitCode;

use super::alone::settle;
use super::worker::{contained, log_panics, serve};
use crate::app::{App, Settings, Worker};
use crate::database::{Database, Deadline};
use crate::lease::{Desk, Lobby};
use crate::metrics::Metrics;
use crate::metrics::declaration::Declaration;
use crate::protocol::{self, Limits, Secret};
use crate::serve::Server;
use crate::sys::fork::SingleThreaded;
use crate::sys::shared::Shared;
use crate::{Error, Result, log};

/// Where it listens unless `RATOON_LISTEN` says otherwise.
const ADDRESS: &str = "127.0.0.1:8080";

pub(super) fn main<A: App>() -> ExitCode {
    match begin::<A>() {
        Ok(server) => ExitCode::from(u8::from(serve(server) != 0)),
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(2)
        }
    }
}

fn begin<A: App>() -> Result<Server<A>> {
    let settings = settings();
    let declarations = settings.as_ref().map(|settings| settings.metrics().clone()).unwrap_or_default();
    let address = std::env::var("RATOON_LISTEN").unwrap_or_else(|_| ADDRESS.into());
    let (level, form) = (log::Level::default(), log::Form::of_standard_error(log::Format::default()));
    let sink = log::Sink::standard_error();
    log_panics();
    let load = || settings.and_then(|settings| contained("load", || A::load(settings)));
    let app = log::while_loading(level, form, sink.clone(), load);
    // The application's own subscriber, if it installed one, has been there first.
    log::install(level, form, sink);
    let app = app?;
    if let Err(threads) = SingleThreaded::prove() {
        tracing::warn!(
            threads,
            "load left threads running: a supervisor would refuse this program; start is their place"
        );
    }
    let listener = TcpListener::bind(&address).map_err(|error| {
        Error::msg(format!("cannot listen on {address}: {error}; RATOON_LISTEN=127.0.0.1:8081 would name another"))
    })?;
    listener.set_nonblocking(true)?;
    let metrics = metrics(declarations.close())?;
    let worker = Worker { pool: "by hand".into(), slot: 0, generation: 1, pid: std::process::id(), metrics };
    let bound = listener.local_addr()?;
    let server = settle(app, worker, listener.into(), Limits::default(), database)?;
    tracing::info!("one worker by hand on http://{bound}; TERM or Ctrl-C ends it");
    Ok(server)
}

/// Where the application counts what it has declared, one series after the other. Nobody reads it.
fn metrics(declared: Vec<Declaration>) -> Result<Metrics> {
    let mut next = 0;
    let place = |declaration: Declaration| {
        let first = next;
        next += declaration.words() as u16;
        (declaration, first)
    };
    let series = declared.into_iter().map(place).collect();
    Ok(Metrics::new(Shared::create("ratoon-by-hand-metrics")?, 0, series))
}

/// The database, if `RATOON_DATABASE_URL` names one.
fn database(deadline: Deadline) -> Result<Option<Database>> {
    let Ok(url) = std::env::var("RATOON_DATABASE_URL") else {
        return Ok(None);
    };
    let rules = protocol::DatabaseRules::at(Secret::new(url));
    let desk = Desk::new(Lobby::new("ratoon-by-hand-leases", rules.connections)?, 0, 1);
    let database = Database::new(rules, desk, deadline);
    database.map(Some).map_err(|why| Error::msg(format!("RATOON_DATABASE_URL: {why}")))
}

fn settings() -> Result<Settings> {
    match std::env::var("RATOON_SETTINGS") {
        Err(_) => Ok(Settings::default()),
        Ok(text) => serde_json::from_str(&text)
            .map(Settings::new)
            .map_err(|error| Error::msg(format!("RATOON_SETTINGS is not a JSON object: {error}"))),
    }
}
