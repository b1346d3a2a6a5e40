//! `[admin]`: where operators find the status page, and as whom the process runs that serves it.
//!
//! Owns what is said there. Never opens the socket, and never looks a user up.

use serde::{Deserialize, Serialize};

use super::listen::{self, Listen};

/// The `[admin]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where the status page is; `None`: there is no such process.
    #[serde(deserialize_with = "listen::single")]
    pub listen: Option<Listen>,
    /// The user its process runs as, a name or a number; `None`: `nobody`, if the supervisor may choose.
    #[serde(deserialize_with = "listen::account")]
    pub user: Option<String>,
}
