//! `[log]`: what is logged, and how.
//!
//! The words for levels and formats are the log's own, which supervisor and workers share. Never writes a line itself.

use std::path::PathBuf;

pub use ratoon_worker::log::{Format, Level};
use serde::{Deserialize, Serialize};

use super::path;

/// The `[log]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important lines that are written; default `info`.
    pub level: Level,
    /// The form of a line; default `auto`.
    pub format: Format,
    /// The file they are appended to, absolute; default standard error.
    #[serde(deserialize_with = "path::to_a_file")]
    pub file: Option<PathBuf>,
}
