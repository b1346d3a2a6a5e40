//! What a pool's workers write down of the requests they serve.

use serde::{Deserialize, Serialize};

use crate::access::Query;

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Accounts {
    /// The form of a line of the access log; without it there is none.
    pub access: Option<String>,
    /// Whether such lines go into a file of their own, and not where all others go.
    pub to_file: bool,
    /// The paths of which there is no line; one that ends with `*` is the beginning of many.
    pub skip: Vec<String>,
    /// From how long on a request is slow, in milliseconds; 0: none is.
    pub slow_log: u64,
    /// How much of a query is shown, here and wherever else a request line is.
    pub query: Query,
}
