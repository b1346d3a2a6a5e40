//! What was started, how often, and how it went.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Of a pool, since it exists; an upgrade of the supervisor takes nothing back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// Workers that were to be forked.
    pub forked: u64,
    /// Workers that became ready.
    pub ready: u64,
    /// Requests that ran beyond `request_timeout`, and were interrupted.
    pub interrupted: u64,
    /// How often the pool has failed: too many boots did within a minute.
    pub failures: u64,
    /// Templates that were to be executed.
    pub templates: u64,
    /// Templates that are no more, by cause.
    pub template_deaths: BTreeMap<String, u64>,
}

/// How reloads ended, since the daemon was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloads {
    /// The new generation serves.
    pub done: u64,
    /// The old generation served on.
    pub failed: u64,
}
