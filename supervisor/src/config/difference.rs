//! What changes from one configuration to the next.
//!
//! Owns the comparison, key by key, with what each change means, and how it is told in a log. What stands under
//! `settings` may be secret, and so may what a database is told: of that only the keys are told. Never applies a change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::document::below;
use super::effect::{self, Effect};
use super::error::quoted;
use super::{Config, Log, Pool};

mod listeners;

pub use listeners::{Kept, Listeners, Place};

/// More changes than this are only counted where they are displayed.
const MOST_SHOWN: usize = 12;

/// From one configuration to another; displayed as a short line for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// What changed outside the pools.
    pub common: Vec<Change>,
    /// What changed in the pools that both have, but for their listeners, by the pool's name; no list is empty.
    pub pools: BTreeMap<String, Vec<Change>>,
    /// The pools that only the new one has, in its order.
    pub added: Vec<String>,
    /// The pools that only the old one has, in its order.
    pub removed: Vec<String>,
    /// What becomes of the sockets, of all pools.
    pub listeners: Listeners,
}

/// A key that changed; displayed as `pool.web.workers: 4 → 8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path of the key: `pool.web.rlimits.nofile`.
    pub key: String,
    /// The old value and the new one, each on one line and not long, `unset` where there is none; `None` where they
    /// are not to be told.
    pub values: Option<(String, String)>,
    /// When it takes effect.
    pub effect: Effect,
}

impl Config {
    /// What changes if `new` takes the place of this configuration. Neither the place of a key in its file is a
    /// difference, nor the order of the pools.
    pub fn difference(&self, new: &Config) -> Difference {
        let mut common = changes("log", &self.log, &new.log, effect::of);
        common.extend(changes("control", &self.control, &new.control, effect::of));
        common.extend(changes("admin", &self.admin, &new.admin, effect::of));
        let both = self.pools.iter().filter_map(|pool| Some((pool, new.pool(&pool.name)?)));
        let pools = both.map(|(old, new)| (old.name.clone(), old.changes(new)));
        let only = |of: &Config, other: &Config| {
            of.pools.iter().map(|pool| pool.name.clone()).filter(|name| other.pool(name).is_none()).collect()
        };
        Difference {
            common,
            pools: pools.filter(|(_, changes)| !changes.is_empty()).collect(),
            added: only(new, self),
            removed: only(self, new),
            listeners: Listeners::between(self, new),
        }
    }

    /// This configuration as far as it can be in force where `running` is: what takes effect only when the daemon is started
    /// anew is as it was.
    pub fn without_restart(self, running: &Config) -> Config {
        let log = Log { level: self.log.level, ..running.log.clone() };
        Config { log, control: running.control.clone(), admin: running.admin.clone(), ..self }
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }
}

impl Pool {
    /// What changes if `new` takes the place of this pool, listeners left out: they are matched across pools.
    fn changes(&self, new: &Pool) -> Vec<Change> {
        let bare = |pool: &Pool| Pool { listen: Vec::new(), ..pool.clone() };
        let path = self.path();
        changes(&path, &bare(self), &bare(new), |key| {
            effect::of(&format!("pool.NAME{}", key.strip_prefix(&path).unwrap_or_default()))
        })
    }
}

impl Difference {
    /// Whether nothing changed that matters to anyone.
    pub fn is_empty(&self) -> bool {
        self.told().is_empty()
    }

    /// Every key that changed.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        let listeners = self.listeners.kept.iter().flat_map(|kept| &kept.changes);
        self.common.iter().chain(self.pools.values().flatten()).chain(listeners)
    }

    /// The keys that changed and take effect only when the daemon is started anew.
    pub fn needing_restart(&self) -> impl Iterator<Item = &Change> {
        self.changes().filter(|change| change.effect == Effect::Restart)
    }
}

impl Difference {
    /// All that changed, a few words each.
    fn told(&self) -> Vec<String> {
        let added = self.added.iter().map(|name| format!("{} added", below("pool", name)));
        let removed = self.removed.iter().map(|name| format!("{} removed", below("pool", name)));
        let keys = self.changes().map(Change::to_string);
        added.chain(removed).chain(self.listeners.told()).chain(keys).collect()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.told();
        match told.split_at_checked(MOST_SHOWN) {
            Some((shown, rest)) if !rest.is_empty() => write!(f, "{}; and {} more", shown.join("; "), rest.len()),
            _ if told.is_empty() => f.write_str("nothing changed"),
            _ => f.write_str(&told.join("; ")),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.values {
            Some((old, new)) => write!(f, "{}: {old} → {new}", self.key)?,
            None => write!(f, "{} changed", self.key)?,
        }
        if self.effect == Effect::Restart { f.write_str(" (after a restart)") } else { Ok(()) }
    }
}

/// What differs between two tables of one kind that stand at `path`.
fn changes<T: Serialize>(path: &str, old: &T, new: &T, effect: impl Fn(&str) -> Effect) -> Vec<Change> {
    let settings = below(path, "settings");
    let [old, new] = [old, new].map(|table| {
        let mut values = BTreeMap::new();
        // What was read from text can be written again.
        gather(&serde_json::to_value(table).unwrap_or_default(), path, &mut values);
        values.remove(&settings);
        values
    });
    let database = below(path, "database");
    let secrets =
        [format!("{settings}."), below(path, "env"), format!("{database}.url"), format!("{database}.init_sql")];
    let is_secret = |key: &str| secrets.iter().any(|secret| key.starts_with(secret));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| {
            let told = || (shown(old.get(key)), shown(new.get(key)));
            Change { key: key.clone(), values: (!is_secret(key)).then(told), effect: effect(key) }
        })
        .collect()
}

/// The values in `value`, which stands at `path`, by their paths; an empty table is a value.
pub(super) fn gather(value: &Value, path: &str, values: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            table.iter().for_each(|(key, value)| gather(value, &below(path, key), values))
        }
        Value::Null => {}
        _ => drop(values.insert(path.to_owned(), value.clone())),
    }
}

/// A value as a person would write it, cut where it gets long.
fn shown(value: Option<&Value>) -> String {
    match value {
        None => "unset".to_owned(),
        Some(Value::String(text)) => quoted(text),
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| shown(Some(item))).collect();
            cut(&format!("[{}]", items.join(", ")))
        }
        Some(other) => cut(&other.to_string()),
    }
}

/// The beginning of `text`.
fn cut(text: &str) -> String {
    const LONGEST: usize = 100;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
