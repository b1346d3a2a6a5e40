//! How often what has happened: of the daemon as a whole, and of each pool.
//!
//! Every number only grows, and is handed on to a successor: an upgrade takes nothing back. Deaths of workers are the
//! obituaries'; what workers do for clients stands in the scoreboard. Never decides what anything means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::obituaries::kind;
use crate::control::status::{Reloads, Starts};
use crate::decide::event::{Action, Outcome, PoolId};
use crate::decide::note::Note;

/// See the module's header.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Tallies {
    reloads: Reloads,
    upgrades: u64,
    admin_deaths: u64,
    pools: BTreeMap<PoolId, Starts>,
}

impl Tallies {
    /// Takes down what is done.
    pub(super) fn record(&mut self, action: &Action) {
        match action {
            Action::OrderFork { worker, .. } => self.of_pool(worker.pool).forked += 1,
            Action::StartTemplate(who, ..) => self.of_pool(who.pool).templates += 1,
            Action::Close(id) => drop(self.pools.remove(id)),
            Action::Note(note) => self.record_note(note),
            _ => {}
        }
    }

    fn record_note(&mut self, note: &Note) {
        match note {
            Note::Reloaded(_, Outcome::Done) => self.reloads.done += 1,
            Note::Reloaded(_, Outcome::Failed { .. }) => self.reloads.failed += 1,
            Note::AdminDied { .. } => self.admin_deaths += 1,
            Note::WorkerReady { worker, .. } => self.of_pool(worker.pool).ready += 1,
            Note::Interrupting(who) => self.of_pool(who.pool).interrupted += 1,
            Note::PoolFailed { pool, .. } => self.of_pool(*pool).failures += 1,
            Note::TemplateDied { template, cause, .. } => {
                *self.of_pool(template.pool).template_deaths.entry(kind(cause)).or_default() += 1;
            }
            _ => {}
        }
    }

    /// This program has taken over from another.
    pub(super) fn upgraded(&mut self) {
        self.upgrades += 1;
    }

    /// Reloads, by how they ended.
    pub(super) fn reloads(&self) -> Reloads {
        self.reloads
    }

    /// How often a program has taken over from the one before.
    pub(super) fn upgrades(&self) -> u64 {
        self.upgrades
    }

    /// How often the admin process has died.
    pub(super) fn admin_deaths(&self) -> u64 {
        self.admin_deaths
    }

    /// What was started for a pool.
    pub(super) fn of(&self, pool: PoolId) -> Starts {
        self.pools.get(&pool).cloned().unwrap_or_default()
    }

    fn of_pool(&mut self, pool: PoolId) -> &mut Starts {
        self.pools.entry(pool).or_default()
    }
}
