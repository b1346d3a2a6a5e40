//! Those who wait for the outcome of what they asked for over the control socket: who they are, for what, and in which
//! words they are told.
//!
//! Owns the list, which has a bound, and survives an upgrade. When something is over is decided elsewhere; what concerns
//! the whole daemon, and can run but once at a time, is answered to everybody who waits for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Daemon;
use crate::act::control::ClientId;
use crate::control::{Answer, Ask};
use crate::decide::event::{Asker, Event, Outcome, PoolId, Step, Stop};
use crate::decide::note::Note;

/// No more wait than this, those counted that have hung up: what they asked for goes on.
const MOST: usize = 256;

/// Who waits, for what.
pub(in crate::act) type Errands = BTreeMap<Asker, Errand>;

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::act) enum Errand {
    Reload,
    Scale(PoolId),
    Restart(PoolId),
    Stop,
    Upgrade,
    ReopenLogs,
}

impl Daemon {
    /// Has what this client asks for done, and remembers that it waits.
    ///
    /// # Errors
    /// Why that is not even tried, in a sentence.
    pub(super) fn run_errand(&mut self, client: ClientId, ask: Ask) -> Result<(), String> {
        if self.errands.len() >= MOST {
            return Err(format!("{MOST} others wait for the outcome of what they asked for: try again later"));
        }
        let asker = Asker(client.0);
        let (errand, event) = match ask {
            Ask::Status => return Ok(()),
            Ask::Reload { pools } => (Errand::Reload, Event::ReloadWanted(self.scope(&pools)?, asker)),
            Ask::Scale { pool, size } => {
                let pool = self.pool_named(&pool)?;
                (Errand::Scale(pool), Event::ScaleWanted(pool, size, asker))
            }
            Ask::Restart { pool, slot } => {
                let pool = self.pool_named(&pool)?;
                (Errand::Restart(pool), Event::RestartWanted(pool, slot, asker))
            }
            Ask::Stop { now } => {
                if !now {
                    self.hear_out();
                }
                (Errand::Stop, Event::StopWanted(if now { Stop::Now } else { Stop::Graceful }))
            }
            Ask::Upgrade => {
                if self.deciding.reloading().is_some() {
                    self.tell(client, &Answer::Progress("a reload is under way: the upgrade follows it".into()));
                }
                (Errand::Upgrade, Event::UpgradeWanted)
            }
            Ask::ReopenLogs => (Errand::ReopenLogs, Event::LogMoved),
        };
        self.errands.insert(asker, errand);
        self.events.push_back(event);
        Ok(())
    }

    /// Tells these how what they asked for has ended.
    pub(super) fn answer(&mut self, askers: &[Asker], outcome: &Outcome) {
        for asker in askers {
            if let Some(errand) = self.errands.remove(asker) {
                let answer = match outcome {
                    Outcome::Done => Answer::Done(self.what_is_done(errand)),
                    Outcome::Failed { .. } => Answer::Failed(self.why(outcome)),
                };
                self.tell(ClientId(asker.0), &answer);
            }
        }
    }

    /// Tells this one that what it asked for is not even tried.
    pub(super) fn turn_down(&mut self, asker: Asker, pool: PoolId, reason: &str) {
        if self.errands.remove(&asker).is_some() {
            let answer = Answer::Refused(format!("pool {}: {reason}", self.name(pool)));
            self.tell(ClientId(asker.0), &answer);
        }
    }

    /// Tells everybody who waits for this how it has ended.
    pub(super) fn conclude_errands(&mut self, errand: Errand, answer: &Answer) {
        for asker in self.askers(|waits_for| waits_for == errand) {
            self.errands.remove(&asker);
            self.tell(ClientId(asker.0), answer);
        }
    }

    /// Tells these how far a pool is.
    pub(super) fn report(&mut self, askers: &[Asker], pool: PoolId, step: Step) {
        let (name, Step { done, of }) = (self.name(pool).to_owned(), step);
        for asker in askers {
            let text = match self.errands.get(asker) {
                Some(Errand::Reload | Errand::Restart(_)) => format!("{name}: {done} of {of} workers are replaced"),
                Some(Errand::Scale(_)) => format!("{name}: {done} of {of} workers are ready"),
                Some(Errand::Stop | Errand::Upgrade | Errand::ReopenLogs) | None => continue,
            };
            self.tell(ClientId(asker.0), &Answer::Progress(text));
        }
    }

    /// Tells those who wait for what this note is about how far it is.
    pub(super) fn report_progress(&mut self, note: &Note) {
        let (errand, step) = match note {
            Note::Reloading(_) => (Errand::Reload, "reading the configuration".into()),
            Note::ReloadRemembered => (Errand::Reload, "another reload is under way: this one follows it".into()),
            Note::TemplateLoaded(template, generation, _) => {
                let name = self.name(template.pool);
                (Errand::Reload, format!("{name}: generation {} is loaded", generation.0))
            }
            Note::Rolling(_) => {
                let step = "every pool has a ready worker of its new generation: replacing the others";
                (Errand::Reload, step.into())
            }
            Note::Settling(_) => (Errand::Reload, "the new generation serves alone: watching it for `settle`".into()),
            Note::Rehearsing => (Errand::Upgrade, "the new program checks the state it would be handed".into()),
            Note::UpgradeFailed(reason) => {
                return self
                    .conclude_errands(Errand::Upgrade, &Answer::Failed(format!("{reason}: the old program goes on")));
            }
            Note::Stopping(stop) => {
                let failed = Answer::Failed("the daemon is stopping".into());
                self.conclude_errands(Errand::Upgrade, &failed);
                let step = match stop {
                    Stop::Graceful => "stopping: what was accepted or queued is served",
                    Stop::Now => "stopping now",
                };
                (Errand::Stop, step.into())
            }
            Note::StopOverdue(left) => (Errand::Stop, format!("stop_timeout is over: killing {left} workers")),
            Note::WorkerDied { .. } => {
                let left = self.deciding.workers().count();
                (Errand::Stop, format!("{left} workers are left"))
            }
            _ => return,
        };
        let answer = Answer::Progress(step);
        for asker in self.askers(|waits_for| waits_for == errand) {
            self.tell(ClientId(asker.0), &answer);
        }
    }

    fn askers(&self, such: impl Fn(Errand) -> bool) -> Vec<Asker> {
        self.errands.iter().filter(|(_, errand)| such(**errand)).map(|(asker, _)| *asker).collect()
    }

    fn what_is_done(&self, errand: Errand) -> String {
        match errand {
            Errand::Reload if self.awaits_restart.is_empty() => "reloaded: the new generation serves".into(),
            Errand::Reload => format!(
                "reloaded: the new generation serves; only when the daemon is started anew takes effect: {}",
                self.awaits_restart.join(", ")
            ),
            Errand::Scale(pool) => {
                let (name, view) = (self.name(pool), self.deciding.pool(pool));
                let (wanted, most, offset) = view.map_or((0, 0, 0), |view| (view.wanted, view.most, view.offset));
                let configured = i64::from(most) - i64::from(offset);
                format!("{name}: {wanted} workers, at most {most} ({configured} are configured)")
            }
            Errand::Restart(pool) => format!("{}: restarted, fresh workers serve", self.name(pool)),
            // These are concluded in words of their own.
            Errand::Stop | Errand::Upgrade | Errand::ReopenLogs => "done".into(),
        }
    }
}
