//! What operators ask over the control socket, answered: at once, or, if it takes its time, by `errands`.

mod pools;

use std::time::{SystemTime, UNIX_EPOCH};

use super::Daemon;
use crate::act::control::ClientId;
use crate::act::pool::Pool;
use crate::control::{Answer, Ask, Status, status};
use crate::decide::event::{Outcome, PoolId, Scope};
use crate::decide::{Phase, Stage};
use crate::span::millis;

impl Daemon {
    /// Answers whoever has asked, and sees to those who take their time.
    pub(super) fn inform(&mut self) {
        let now = self.clock.now();
        let asked = self.control.as_mut().map(|control| control.serve(now)).unwrap_or_default();
        for (client, ask) in asked {
            match ask {
                Ask::Status => self.tell(client, &Answer::Status(Box::new(self.status()))),
                ask => {
                    if let Err(reason) = self.run_errand(client, ask) {
                        self.tell(client, &Answer::Refused(reason));
                    }
                }
            }
        }
    }

    pub(super) fn tell(&mut self, client: ClientId, answer: &Answer) {
        let now = self.clock.now();
        if let Some(control) = &mut self.control {
            control.answer(client, answer, now);
        }
    }

    /// These pools by their names; all, if none is named.
    pub(super) fn scope(&self, names: &[String]) -> Result<Scope, String> {
        if names.is_empty() {
            return Ok(Scope::Everything);
        }
        names.iter().map(|name| self.pool_named(name)).collect::<Result<_, _>>().map(Scope::Pools)
    }

    /// The pool of this name, unless it ends.
    pub(super) fn pool_named(&self, name: &str) -> Result<PoolId, String> {
        let is_open = |pool: &&Pool| self.deciding.pool(pool.id).is_some_and(|view| !view.is_ending);
        let open: Vec<&Pool> = self.pools.iter().filter(is_open).collect();
        let known = open.iter().find(|pool| pool.config.name == name).map(|pool| pool.id);
        known.ok_or_else(|| {
            let names: Vec<&str> = open.iter().map(|pool| pool.config.name.as_str()).collect();
            match names[..] {
                [] => "the daemon is stopping".into(),
                _ => format!("there is no pool {name:?}: there are {}", names.join(", ")),
            }
        })
    }

    /// Why a reload failed, with the pool it failed in.
    pub(super) fn why(&self, outcome: &Outcome) -> String {
        match outcome {
            Outcome::Done => "the new generation serves".into(),
            Outcome::Failed { pool: None, reason } => reason.clone(),
            Outcome::Failed { pool: Some(pool), reason } => format!("pool {}: {reason}", self.name(*pool)),
        }
    }

    pub(super) fn status(&self) -> Status {
        let now = self.clock.now();
        let last = self.deciding.last_reload().map(|(ended, outcome)| status::Reload {
            outcome: match outcome {
                Outcome::Done => status::Outcome::Done,
                Outcome::Failed { .. } => status::Outcome::Failed,
            },
            reason: self.why(outcome),
            ended_since_ms: millis(now.since(*ended)),
        });
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            time_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
            pid: std::process::id(),
            start_time: self.started.1,
            start_since_ms: millis(now.since(self.started.0)),
            state: match (self.deciding.phase(), self.deciding.reloading()) {
                (Phase::Starting, _) => status::Phase::Starting,
                (Phase::Serving, None) => status::Phase::Serving,
                (Phase::Serving, Some(_)) => status::Phase::Reloading,
                (Phase::Stopping, _) => status::Phase::Stopping,
            },
            reload_stage: self.deciding.reload_stage().map(|stage| match stage {
                Stage::Reading => status::Stage::Reading,
                Stage::Trying => status::Stage::Trying,
                Stage::Rolling => status::Stage::Rolling,
                Stage::Settling { .. } => status::Stage::Settling,
            }),
            last_reload: last,
            log_lines_lost: self
                .pools
                .iter()
                .map(|pool| self.lost_by(pool))
                .chain([self.logs.lost(None), ratoon_worker::log::lost()])
                .fold(0, u64::saturating_add),
            reloads: self.tallies.reloads(),
            upgrades: self.tallies.upgrades(),
            admin_deaths: self.tallies.admin_deaths(),
            pools: self.pools.iter().map(|pool| self.pool_status(pool, now)).collect(),
        }
    }
}
