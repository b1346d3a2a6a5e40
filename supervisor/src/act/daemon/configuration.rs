//! The file, read anew: what it changes, what must be opened for it, and what becomes of it.
//!
//! A draft is everything that was read and opened for one edition. It is adopted, then concluded, or abandoned at any
//! point before: until it is concluded nothing is closed.

use super::{Daemon, Pool};
use crate::act::plan::plan;
use crate::act::pool::Sockets;
use crate::act::pool::{LogWay, Surroundings};
use crate::config::{self, Config};
use crate::decide::event::{Edition, Event, PoolId, Proposal, Scope};

/// See the module's header.
#[derive(Debug)]
pub(super) struct Draft {
    edition: Edition,
    config: Config,
    /// The one in force before, once this is.
    before: Option<Config>,
}

impl Daemon {
    /// Reads the file for this edition; what came of it comes back as an event.
    pub(super) fn read_configuration(&mut self, edition: Edition, scope: &Scope) {
        let read = self.propose(edition, scope);
        if read.is_err() {
            self.abandon(edition);
        }
        self.events.push_back(Event::ConfigurationRead(edition, read));
    }

    fn propose(&mut self, edition: Edition, scope: &Scope) -> Result<Proposal, String> {
        let file = self.config.origin.file().to_owned();
        let config = config::load(file.as_ref()).map_err(|errors| errors.to_string())?;
        config.examine().map_err(|errors| errors.to_string())?;
        let is_ending = |id: PoolId| self.deciding.pool(id).is_none_or(|view| view.is_ending);
        let known: Vec<(PoolId, String)> = self
            .pools
            .iter()
            .filter(|pool| !is_ending(pool.id))
            .map(|pool| (pool.id, pool.config.name.clone()))
            .collect();
        let id_of = |name: &str| known.iter().find(|(_, known)| known == name).map(|(id, _)| *id);
        let named = |id: Option<PoolId>| match scope {
            Scope::Everything => true,
            Scope::Pools(pools) => id.is_some_and(|id| pools.contains(&id)),
        };
        let in_file = |name: &str| config.pools.iter().any(|pool| pool.name == name);
        if let (Scope::Pools(_), Some((_, name))) =
            (scope, known.iter().find(|(id, name)| named(Some(*id)) && !in_file(name)))
        {
            return Err(format!("{file}: there is no pool {name} any more: reload everything to remove it"));
        }
        if let Scope::Pools(pools) = scope
            && !pools.iter().any(|wanted| known.iter().any(|(id, _)| id == wanted))
        {
            return Err("the pools that were named are no more".into());
        }
        let removed: Vec<PoolId> =
            known.iter().filter(|(id, name)| named(Some(*id)) && !in_file(name)).map(|(id, _)| *id).collect();
        let wanted: Vec<(Option<PoolId>, config::Pool)> =
            config.pools.iter().map(|pool| (id_of(&pool.name), pool.clone())).filter(|(id, _)| named(*id)).collect();
        let config = match scope {
            Scope::Everything => config,
            Scope::Pools(_) => {
                let renewed =
                    |old: &config::Pool| wanted.iter().find(|(_, pool)| pool.name == old.name).map(|(_, pool)| pool);
                let pools = self.config.pools.iter().map(|old| renewed(old).unwrap_or(old).clone());
                Config { pools: pools.collect(), origin: config.origin, ..self.config.clone() }
            }
        };
        self.draft = Some(Draft { edition, config, before: None });
        let mut plans = Vec::new();
        for (id, pool) in wanted {
            let id = id.unwrap_or_else(|| {
                self.newest = PoolId(self.newest.0 + 1);
                self.newest
            });
            plans.push(plan(id, &pool));
            self.open_for(id, edition, pool).map_err(|(key, what)| self.complaint(&key, what))?;
        }
        Ok(Proposal { plans, removed })
    }

    fn open_for(&mut self, id: PoolId, edition: Edition, config: config::Pool) -> Result<(), (String, String)> {
        let (mut own, others): (Vec<&mut Pool>, Vec<&mut Pool>) = self.pools.iter_mut().partition(|pool| pool.id == id);
        let others: Vec<&Sockets> = others.into_iter().map(|pool| &pool.sockets).collect();
        match own.pop() {
            Some(pool) => pool.draft(edition, config, (&others, &self.passed)),
            None => {
                let pool = Pool::open(id, edition, config, (&others, &self.passed))?;
                self.pools.push(pool);
                Ok(())
            }
        }
    }

    /// From now on this edition's configuration is the one in force.
    pub(super) fn adopt(&mut self, edition: Edition) {
        let Some(draft) = self.draft.as_mut().filter(|draft| draft.edition == edition) else {
            return;
        };
        let difference = self.config.difference(&draft.config);
        tracing::info!(edition = edition.0, "configuration: {difference}");
        for change in difference.needing_restart() {
            tracing::warn!("{change}: takes effect when the daemon is started anew");
        }
        self.awaits_restart = difference.needing_restart().map(|change| change.key.clone()).collect();
        let in_force = draft.config.clone().without_restart(&self.config);
        draft.before = Some(std::mem::replace(&mut self.config, in_force));
        for pool in &mut self.pools {
            pool.adopt(edition);
            for address in pool.sockets.opened_for(edition) {
                tracing::info!(pool = %pool.config.name, "listening on {address}");
            }
        }
    }

    /// This edition has proven itself.
    pub(super) fn conclude(&mut self, edition: Edition) {
        self.draft = None;
        for pool in &mut self.pools {
            pool.conclude(edition);
        }
    }

    /// This edition is given up, adopted or not.
    pub(super) fn abandon(&mut self, edition: Edition) {
        let before = self.draft.take_if(|draft| draft.edition == edition).and_then(|draft| draft.before);
        if let Some(before) = before {
            self.config = before;
        }
        for pool in &mut self.pools {
            pool.abandon(edition);
        }
        // A pool that was only just opened, and was never told of, is nobody's.
        let deciding = &self.deciding;
        self.pools.extract_if(.., |pool| deciding.pool(pool.id).is_none()).for_each(Pool::close);
    }

    /// What a template of this edition is told of the daemon.
    pub(super) fn surroundings_of(&mut self, id: PoolId, edition: Edition) -> Surroundings {
        let pool = self.pools.iter().find(|pool| pool.id == id);
        let named = pool.and_then(|pool| Some((pool.access_file(edition)?, pool.config.name.clone())));
        let access = named.map(|(path, name)| {
            let is_others = |pool: &Pool| pool.id != id && pool.access_files().any(|named| named == path);
            let owner = (!self.pools.iter().any(is_others)).then_some(name);
            self.logs.entrance(&path, owner)
        });
        let draft = self.draft.as_ref();
        let config = draft.filter(|draft| draft.edition == edition).map_or(&self.config, |draft| &draft.config);
        // Of the configuration in force, and of one on trial.
        let all = draft.map(|draft| &draft.config).into_iter().chain([&self.config]);
        Surroundings {
            level: config.log.level,
            log: LogWay { form: self.logs.form(), lines: self.logs.descriptor(), printed: self.logs.printed(), access },
            sample: self.program.clone(),
            secrets: all.flat_map(config::Config::secret_variables).map(str::to_owned).collect(),
            connections: config.database_connections(),
        }
    }

    fn complaint(&self, key: &str, what: String) -> String {
        let config = self.draft.as_ref().map_or(&self.config, |draft| &draft.config);
        config.origin.complaint(key, what).to_string()
    }
}
