//! What a pool's workers have done for clients, all of them since the pool exists.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Every number here only grows: through deaths of workers, reloads, and upgrades of the supervisor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests that the application has begun to run.
    pub requests: u64,
    /// How many of these were answered, by the class of the status: `1xx` to `5xx`.
    pub answers: BTreeMap<String, u64>,
    /// How many of these ended with their worker, unanswered but for its last words.
    pub lost: u64,
    /// Requests answered 503 and not run, since they had waited longer than `queue_timeout`.
    pub late: u64,
    /// Requests not run, since their client had gone.
    pub gone: u64,
    /// Requests that were refused and the application never saw, by the class of the status.
    pub refused: BTreeMap<String, u64>,
    /// Connections taken from a listener.
    pub accepted_conn: u64,
    /// Connections that a worker has given to its siblings.
    pub handed_over_conn: u64,
    /// Bytes read from clients.
    pub received_bytes: u64,
    /// Bytes written to clients.
    pub sent_bytes: u64,
    /// How long requests took, from the handler's start to their end, deferred work aside.
    pub request_duration: Times,
    /// What TCP connections had waited in the listen queue, as the kernel says when they are accepted.
    pub queue_time: Times,
}

/// Times, counted by their length.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// All of them together.
    pub sum_ns: u64,
    /// How many were of at most 2^n microseconds and more than half of that, for each n from 0; the last has those that
    /// are longer.
    pub buckets: Vec<u64>,
}
