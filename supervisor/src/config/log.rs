//! `[log]`: what is logged, and how.
//!
//! Owns the words for levels and formats. Never writes a line itself.

use serde::{Deserialize, Serialize};

/// The `[log]` table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important lines that are written; default `info`.
    pub level: Level,
    /// The form of a line; default `auto`.
    pub format: Format,
}

/// How important a line is; each level includes those above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something failed and somebody has to act.
    Error,
    /// Something is wrong and Ratoon went on.
    Warn,
    /// What an operator wants to have read afterwards.
    #[default]
    Info,
    /// What a developer looks for.
    Debug,
    /// Everything.
    Trace,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One readable line per event.
    Text,
    /// One JSON object per line.
    Json,
}
