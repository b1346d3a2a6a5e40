//! The operator's lines, one per transition, each beginning with whom it is about.

use std::time::Duration;

use crate::decide::cause::Cause;
use crate::decide::event::{Generation, Outcome, Pid, PoolId, Stop, WorkerRef};
use crate::decide::note::Note;
use crate::span::span;

/// A line about one worker: a level, the worker, what more there is to say.
macro_rules! about {
    ($level:ident, $who:expr, $($rest:tt)*) => {{
        let who = $who;
        tracing::$level!(pool = who.pool, worker = who.slot, r#gen = who.generation, pid = who.pid, $($rest)*)
    }};
}

/// Writes the line. `pool` knows the pools' names; `last_request` is what a worker was doing, and for how long.
pub(super) fn write<'a>(note: &Note, pool: impl Fn(PoolId) -> &'a str, last_request: Option<(String, Duration)>) {
    let who = |worker: &WorkerRef, pid: Option<Pid>, generation: &Generation| Who {
        pool: pool(worker.pool),
        slot: worker.slot,
        generation: generation.0,
        pid: pid.map(|pid| pid.0),
    };
    let (request, running) = last_request.map_or((None, None), |(line, running)| (Some(line), Some(span(running))));
    match note {
        Note::TemplateLoaded(template, generation, took) => {
            tracing::info!(pool = pool(template.pool), r#gen = generation.0, took = %span(*took), "template loaded");
        }
        Note::TemplateDied { template, generation, cause, retry, failures } => {
            let (pool, r#gen, retry) = (pool(template.pool), generation.0, retry.map(span));
            if retry.is_some() || cause.is_fault() {
                tracing::error!(pool, r#gen, %cause, failures, retry, "template died");
            } else {
                tracing::info!(pool, r#gen, %cause, "template gone");
            }
        }
        Note::NotPrepared { pool: id, reason } => {
            tracing::error!(pool = pool(*id), reason, "the command that prepares the program failed");
        }
        Note::WorkerReady { worker, pid, generation, boot } => {
            about!(info, who(worker, Some(*pid), generation), boot = %span(*boot), "ready");
        }
        Note::Interrupting(worker) => {
            let (pool, worker) = (pool(worker.pool), worker.slot);
            tracing::warn!(pool, worker, request, running, "overdue: asking where it is stuck");
        }
        Note::Killing { worker, pid, generation, cause } => {
            about!(warn, who(worker, *pid, generation), %cause, request, running, "killing");
        }
        Note::WorkerDied { worker, pid, generation, cause, lived, retry, failures } => {
            let (who, lived, retry) = (who(worker, *pid, generation), span(*lived), retry.map(span));
            let failures = (*failures > 0).then_some(*failures);
            match cause {
                Cause::Recycled(_) | Cause::Retired(_) | Cause::StoppedNow => {
                    about!(info, who, %cause, lived, retry, "gone");
                }
                _ => about!(error, who, %cause, lived, request, running, failures, retry, "died"),
            }
        }
        Note::PoolFailed { pool: id, failures, retry } => tracing::error!(
            pool = pool(*id), failures, retry = %span(*retry),
            "pool failed: too many boots failed within a minute; it keeps its listeners and is tried again, slowly"
        ),
        Note::PoolRecovered(id) => tracing::info!(pool = pool(*id), "pool recovered"),
        Note::GivingUp(id) => tracing::error!(pool = pool(*id), "on_failure is \"exit\": the daemon stops"),
        Note::MaxChildrenReached { pool: id, most } => {
            tracing::warn!(
                pool = pool(*id),
                max_workers = most,
                "max children reached: raise max_workers, or make requests shorter"
            );
        }
        Note::Sized(id, workers) => tracing::info!(pool = pool(*id), workers, "size changed by the operator"),
        Note::Restarting(id, workers) => {
            tracing::info!(pool = pool(*id), workers, "restarting: workers are replaced by fresh ones");
        }
        Note::WorkersUnwanted => tracing::info!("all workers retire; a reload brings them back"),
        Note::Reloading(edition) => tracing::info!(edition = edition.0, "reloading"),
        Note::ReloadRemembered => tracing::info!("a reload is under way: another one follows it"),
        Note::Rolling(edition) => {
            tracing::info!(
                edition = edition.0,
                "every pool has a ready worker of the new generation: the old ones are replaced"
            );
        }
        Note::Settling(edition) => {
            tracing::info!(edition = edition.0, "the new generation serves alone: it is watched for settle");
        }
        Note::Reloaded(edition, Outcome::Done) => tracing::info!(edition = edition.0, "reloaded"),
        Note::Reloaded(edition, Outcome::Failed { pool: id, reason }) => {
            let pool = id.map(pool);
            tracing::error!(edition = edition.0, pool, reason, "reload failed: everything is as it was");
        }
        Note::Rehearsing => tracing::info!("upgrade: the new program checks the state it would be handed"),
        Note::UpgradeFailed(reason) => tracing::error!(reason, "upgrade failed: the old program goes on"),
        Note::LogDied { pid, cause, retry } => {
            tracing::error!(pid = pid.map(|pid| pid.0), %cause, retry = %span(*retry), "the log process died");
        }
        Note::AdminDied { cause, retry } => {
            tracing::error!(%cause, retry = %span(*retry), "admin process died: everything else serves on");
        }
        Note::AdminInTheWay => {
            tracing::warn!("the admin process does not leave: it is killed, and the upgrade goes on");
        }
        Note::Removing(id) => tracing::info!(pool = pool(*id), "removed: what was accepted or queued is served"),
        Note::Lingering(delay) => {
            tracing::info!(accepting = %span(*delay), "stopping: not ready any more, and accepting for drain_delay");
        }
        Note::Stopping(Stop::Graceful) => tracing::info!("stopping: what was accepted or queued is served"),
        Note::Stopping(Stop::Now) => tracing::info!("stopping now"),
        Note::StopOverdue(left) => tracing::warn!(workers = left, "stop_timeout is over: killing who is left"),
        Note::Mistake(what) => tracing::error!(what, "the supervisor contradicted itself: please report this"),
    }
}

struct Who<'a> {
    pool: &'a str,
    slot: u32,
    generation: u32,
    pid: Option<i32>,
}
