//! What the application counts by itself.

use std::collections::BTreeMap;

use ratoon_worker::metrics::declaration::Kind;
use serde::{Deserialize, Serialize};

/// A family: all series of one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it means.
    pub help: String,
    /// Its series, by their labels.
    pub series: Vec<Series>,
}

/// One of them, summed over the workers of the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its labels with their values.
    pub labels: BTreeMap<String, String>,
    /// How much it is.
    #[serde(flatten)]
    pub value: Value,
}

/// How much a series is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// So many events, by all workers there ever were.
    Counter(u64),
    /// The sum of what the workers that live say.
    Gauge(f64),
    /// Observations by all workers there ever were.
    Histogram {
        /// The upper bounds of the buckets but the last.
        bounds: Vec<f64>,
        /// How many observations fell into each.
        buckets: Vec<u64>,
        /// The sum of all.
        sum: f64,
    },
}
