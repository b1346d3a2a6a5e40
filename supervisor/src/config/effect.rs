//! What a changed key means for a daemon that is running.
//!
//! Owns one declaration for every key: its default in words, when a change takes effect, and why then. The reference
//! in docs/configuration.md is made of them, and tests hold them to the structs. Never compares two configurations.

use std::fmt;

mod keys;

pub use keys::KEYS;

/// When a change of a key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// At once with the reload, also for workers that serve: only the supervisor uses it.
    Live,
    /// With the new generation of the pool: templates and workers were told it when they began.
    NewGeneration,
    /// When the daemon is started anew.
    Restart,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effect::Live => "live",
            Effect::NewGeneration => "new generation",
            Effect::Restart => "restart",
        })
    }
}

/// What is declared about one key.
#[derive(Debug)]
pub struct Key {
    /// Its path, with `NAME` for a pool's name and `[]` for a place in a list.
    pub path: &'static str,
    /// Its default as it would be written in the file, or in words where there is none or it is worked out.
    pub default: &'static str,
    /// When a change takes effect.
    pub effect: Effect,
    /// Why then.
    pub why: &'static str,
}

/// When a change of the key at `path`, written as in [`Key::path`], takes effect; what is below a table that is declared
/// as a whole goes with it.
pub(super) fn of(path: &str) -> Effect {
    let declared =
        |key: &&Key| path.strip_prefix(key.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    // A key without a declaration, which a test forbids, would at least not be promised to have worked.
    KEYS.iter().find(declared).map_or(Effect::Restart, |key| key.effect)
}
