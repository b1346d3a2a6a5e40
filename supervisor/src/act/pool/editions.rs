//! The configurations that templates of a pool may be started of: the one in force, one that is tried, and what each of them
//! alone has opened.

use std::path::{Path, PathBuf};

use ratoon_worker::protocol::Order;

use super::{Pool, Sources, open_lobby};
use crate::config::{self, Account};
use crate::decide::event::Edition;

/// The configuration of one edition, and what was looked up for it: who asks a directory of users asks before the edition is
/// tried, and not when a template has died.
#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub(super) config: config::Pool,
    pub(super) account: Option<Account>,
}

impl Issue {
    /// # Errors
    /// The key that is wrong, and a sentence.
    pub(super) fn of(config: config::Pool) -> Result<Issue, (String, String)> {
        let account = config.account().map_err(|(key, what)| (format!("{}.{key}", config.path()), what))?;
        Ok(Issue { config, account })
    }
}

impl Pool {
    /// Another configuration that templates may be started of; what it names and is not open yet is opened.
    ///
    /// # Errors
    /// As for [`Pool::open`].
    pub(in crate::act) fn draft(
        &mut self,
        edition: Edition,
        config: config::Pool,
        sources: Sources<'_>,
    ) -> Result<(), (String, String)> {
        self.sockets.open(&config, edition, sources)?;
        open_lobby(&mut self.lobbies, edition, &config)?;
        self.editions.insert(edition, Issue::of(config)?);
        Ok(())
    }

    /// From now on this edition's configuration is the one in force.
    pub(in crate::act) fn adopt(&mut self, edition: Edition) {
        if let Some(issue) = self.editions.get(&edition).cloned() {
            self.enforce(issue);
        }
    }

    fn enforce(&mut self, Issue { config, account }: Issue) {
        (self.config, self.account) = (config, account);
        self.sockets.adjust(&self.config);
    }

    /// The configuration of this edition, and as whom its processes run; of one that is over, what is in force.
    pub(super) fn issue(&self, edition: Edition) -> (&config::Pool, Option<&Account>) {
        match self.editions.get(&edition) {
            Some(issue) => (&issue.config, issue.account.as_ref()),
            None => (&self.config, self.account.as_ref()),
        }
    }

    /// This edition is given up: the one before it is in force, whether it ever ceased to be or not.
    pub(in crate::act) fn abandon(&mut self, edition: Edition) {
        self.sockets.abandon(edition);
        self.editions.remove(&edition);
        self.close_abandoned();
        if let Some(issue) = self.editions.last_key_value().map(|(_, issue)| issue.clone()) {
            self.enforce(issue);
        }
    }

    /// This edition has proven itself: what only those before it used is given up.
    pub(in crate::act) fn conclude(&mut self, edition: Edition) {
        if self.editions.contains_key(&edition) {
            self.editions.retain(|each, _| *each == edition);
            let closed = self.sockets.conclude(&self.config, &self.scoreboard);
            for place in closed {
                self.tell_everybody(&Order::Close { listener: place }, &[]);
            }
            self.close_abandoned();
        }
    }

    /// The file of its access log in this edition, if it has one.
    pub(in crate::act) fn access_file(&self, edition: Edition) -> Option<PathBuf> {
        self.issue(edition).0.access_file.clone()
    }

    /// The files of its access log, in all editions of which something may still be started.
    pub(in crate::act) fn access_files(&self) -> impl Iterator<Item = &Path> {
        let all = self.editions.values().map(|issue| &issue.config).chain([&self.config]);
        all.filter_map(|config| config.access_file.as_deref())
    }
}
