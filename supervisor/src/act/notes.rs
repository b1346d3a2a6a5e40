//! The operator's lines, one per transition, each beginning with whom it is about.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::decide::event::{Cause, Exit, Generation, Note, Pid, PoolId, Stop, WorkerRef};
use crate::span::span;

/// Writes the line. `pool` knows the pools' names; `last_request` is what a worker was doing, and for how long.
pub(super) fn write<'a>(note: &Note, pool: impl Fn(PoolId) -> &'a str, last_request: Option<(String, Duration)>) {
    match note {
        Note::TemplateLoaded(template, generation, took) => {
            tracing::info!(pool = pool(template.pool), r#gen = generation.0, took = %span(*took), "template loaded");
        }
        Note::TemplateDied { template, generation, cause, retry, failures } => {
            let (pool, r#gen, cause) = (pool(template.pool), generation.0, self::cause(cause));
            match retry {
                None => tracing::info!(pool, r#gen, cause, "template gone"),
                Some(retry) => {
                    tracing::error!(pool, r#gen, cause, failures, retry = %span(*retry), "template died");
                }
            }
        }
        Note::WorkerReady { worker, pid, generation, boot } => {
            let (pool, worker) = (pool(worker.pool), worker.slot);
            tracing::info!(pool, worker, r#gen = generation.0, pid = pid.0, boot = %span(*boot), "ready");
        }
        Note::Killing { worker, pid, generation, cause } => {
            let who = Who::new(pool(worker.pool), *worker, *pid, *generation);
            let (request, running) = shown(last_request);
            tracing::warn!(
                pool = who.pool,
                worker = who.slot,
                r#gen = who.generation,
                pid = who.pid,
                cause = self::cause(cause),
                request,
                running,
                "killing"
            );
        }
        Note::WorkerDied { worker, pid, generation, cause, lived, retry, failures } => {
            let who = Who::new(pool(worker.pool), *worker, *pid, *generation);
            let (request, running) = shown(last_request);
            let retry = retry.map(span);
            let failures = (*failures > 0).then_some(*failures);
            let (cause_text, lived) = (self::cause(cause), span(*lived));
            match cause {
                Cause::Retired | Cause::StoppedNow => tracing::info!(
                    pool = who.pool,
                    worker = who.slot,
                    r#gen = who.generation,
                    pid = who.pid,
                    cause = cause_text,
                    lived,
                    retry,
                    "gone"
                ),
                _ => tracing::error!(
                    pool = who.pool,
                    worker = who.slot,
                    r#gen = who.generation,
                    pid = who.pid,
                    cause = cause_text,
                    lived,
                    request,
                    running,
                    failures,
                    retry,
                    "died"
                ),
            }
        }
        Note::PoolFailed { pool: id, failures, retry } => tracing::error!(
            pool = pool(*id), failures, retry = %span(*retry),
            "pool failed: too many boots failed within a minute; it keeps its listeners and is tried again, slowly"
        ),
        Note::PoolRecovered(id) => tracing::info!(pool = pool(*id), "pool recovered"),
        Note::Stopping(Stop::Graceful) => {
            tracing::info!("stopping: what was accepted or queued is served")
        }
        Note::Stopping(Stop::Now) => tracing::info!("stopping now"),
        Note::StopOverdue(left) => {
            tracing::warn!(workers = left, "stop_timeout is over: killing who is left")
        }
        Note::Mistake(what) => tracing::error!(what, "the supervisor contradicted itself: please report this"),
    }
}

struct Who<'a> {
    pool: &'a str,
    slot: u32,
    generation: u32,
    pid: Option<i32>,
}

impl<'a> Who<'a> {
    fn new(pool: &'a str, worker: WorkerRef, pid: Option<Pid>, generation: Generation) -> Who<'a> {
        Who { pool, slot: worker.slot, generation: generation.0, pid: pid.map(|pid| pid.0) }
    }
}

fn shown(request: Option<(String, Duration)>) -> (Option<String>, Option<String>) {
    request.map_or((None, None), |(line, running)| (Some(line), Some(span(running))))
}

/// A cause in the one vocabulary.
pub(super) fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Exited(status) => exit(Exit::Status(*status)),
        Cause::Killed { number, core } => exit(Exit::Signal { number: *number, core: *core }),
        Cause::BootTimeout => "boot timeout".into(),
        Cause::BootRefused(reason) => format!("boot failed: {reason}"),
        Cause::NotStarted(reason) => format!("not started: {reason}"),
        Cause::RequestTimeout => "request timeout".into(),
        Cause::StopTimeout => "stop timeout".into(),
        Cause::StoppedNow => "stopped now".into(),
        Cause::Retired => "retired".into(),
        Cause::TemplateLost => "its template died".into(),
    }
}

/// The end of a process in the same vocabulary.
pub(super) fn exit(exit: Exit) -> String {
    match exit {
        Exit::Status(status) => format!("exited {status}"),
        Exit::Signal { number, core } => {
            let name = Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.to_string());
            format!("signal {name}{}", if core { " (core dumped)" } else { "" })
        }
    }
}
