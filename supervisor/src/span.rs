//! Spans of time as others want them: people, in log lines and in tables, and documents, in milliseconds.

use std::time::Duration;

/// `850µs`, `12ms`, `3.2s`, `4m10s`, `27h5m`.
pub(crate) fn span(time: Duration) -> String {
    match (time.as_micros(), time.as_secs()) {
        (0, _) => "0s".into(),
        (micros @ 0..1000, _) => format!("{micros}µs"),
        (_, 0) => format!("{}ms", time.as_millis()),
        (_, 0..60) => format!("{:.1}s", time.as_secs_f64()),
        (_, seconds @ 60..3600) => format!("{}m{}s", seconds / 60, seconds % 60),
        (_, seconds) => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// In whole milliseconds; one that is longer than any that can be told is the longest.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
