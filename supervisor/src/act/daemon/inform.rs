//! What operators ask over the control socket, answered: at once, or when a reload has ended.

mod pools;

use std::time::Duration;

use super::Daemon;
use crate::act::control::ClientId;
use crate::act::pool::Pool;
use crate::control::{Answer, Ask, Status, status};
use crate::decide::Phase;
use crate::decide::event::{Asker, Event, Outcome, PoolId, Scope};
use crate::decide::note::Note;

impl Daemon {
    /// Answers whoever has asked, and sees to those who take their time.
    pub(super) fn inform(&mut self) {
        let now = self.clock.now();
        let asked = self.control.as_mut().map(|control| control.serve(now)).unwrap_or_default();
        for (client, ask) in asked {
            match ask {
                Ask::Status => self.tell(client, &Answer::Status(Box::new(self.status()))),
                Ask::Reload { pools } => match self.scope(&pools) {
                    Ok(scope) => {
                        self.waiting.push(Asker(client.0));
                        self.events.push_back(Event::ReloadWanted(scope, Asker(client.0)));
                    }
                    Err(reason) => self.tell(client, &Answer::Refused(reason)),
                },
            }
        }
    }

    /// Tells those who wait for a reload how it ended.
    pub(super) fn answer(&mut self, askers: &[Asker], outcome: &Outcome) {
        let answer = match outcome {
            Outcome::Done => Answer::Done(format!("reloaded: {}", self.why(outcome))),
            Outcome::Failed { .. } => Answer::Failed(self.why(outcome)),
        };
        for asker in askers {
            self.tell(ClientId(asker.0), &answer);
        }
        self.waiting.retain(|waiting| !askers.contains(waiting));
    }

    /// Tells everybody who waits for a reload how far it is.
    pub(super) fn report_progress(&mut self, note: &Note) {
        let step = match note {
            Note::Reloading(_) => "reading the configuration".into(),
            Note::ReloadRemembered => "another reload is under way: this one follows it".into(),
            Note::TemplateLoaded(template, generation, _) => {
                format!("{}: generation {} is loaded", self.name(template.pool), generation.0)
            }
            Note::Rolling(_) => "every pool has a ready worker of its new generation: replacing the others".into(),
            Note::Settling(_) => "the new generation serves alone: watching it for `settle`".into(),
            _ => return,
        };
        let answer = Answer::Progress(step);
        for asker in self.waiting.clone() {
            self.tell(ClientId(asker.0), &answer);
        }
    }

    fn tell(&mut self, client: ClientId, answer: &Answer) {
        let now = self.clock.now();
        if let Some(control) = &mut self.control {
            control.answer(client, answer, now);
        }
    }

    /// These pools by their names; all, if none is named.
    fn scope(&mut self, names: &[String]) -> Result<Scope, String> {
        if names.is_empty() {
            return Ok(Scope::Everything);
        }
        let find = |name: &String| -> Result<PoolId, String> {
            let is_open = |pool: &&Pool| self.deciding.pool(pool.id).is_some_and(|view| !view.is_ending);
            let mut open = self.pools.iter().filter(is_open);
            let known = open.find(|pool| pool.config.name == *name).map(|pool| pool.id);
            known.ok_or_else(|| {
                let names: Vec<&str> = self.pools.iter().map(|pool| pool.config.name.as_str()).collect();
                format!("there is no pool {name:?}: there are {}", names.join(", "))
            })
        };
        names.iter().map(find).collect::<Result<_, _>>().map(Scope::Pools)
    }

    /// Why a reload failed, with the pool it failed in.
    fn why(&self, outcome: &Outcome) -> String {
        match outcome {
            Outcome::Done => "the new generation serves".into(),
            Outcome::Failed { pool: None, reason } => reason.clone(),
            Outcome::Failed { pool: Some(pool), reason } => format!("pool {}: {reason}", self.name(*pool)),
        }
    }

    fn status(&self) -> Status {
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
            pid: std::process::id(),
            start_time: self.started.1,
            start_since_ms: millis(now.since(self.started.0)),
            state: match (self.deciding.phase(), self.deciding.reloading()) {
                (Phase::Starting, _) => status::Phase::Starting,
                (Phase::Serving, None) => status::Phase::Serving,
                (Phase::Serving, Some(_)) => status::Phase::Reloading,
                (Phase::Stopping, _) => status::Phase::Stopping,
            },
            last_reload: last,
            pools: self.pools.iter().map(|pool| self.pool_status(pool, now)).collect(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
