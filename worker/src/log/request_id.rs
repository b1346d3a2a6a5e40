//! The id of a request in the log: the client's or its proxy's, else one of our own.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The id of a request in the log.
#[derive(Clone)]
pub(crate) enum RequestId {
    /// The client's, visible ASCII.
    Given(HeaderValue),
    /// The trace id inside the client's `traceparent`.
    Traced(HeaderValue),
    /// Ours: when the worker started, its pid, how many requests it has served.
    Own {
        /// Seconds since the epoch.
        since: u64,
        /// The worker's pid.
        pid: u32,
        /// Which of its requests.
        number: u64,
    },
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

impl RequestId {
    pub(crate) fn of(headers: &HeaderMap, since: u64, pid: u32, number: u64) -> RequestId {
        let visible = |value: &&HeaderValue| {
            (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        if let Some(given) = headers.get(&REQUEST_ID).filter(visible) {
            return RequestId::Given(given.clone());
        }
        match headers.get(&TRACE_PARENT).filter(visible) {
            Some(parent)
                if parent.as_bytes().splitn(3, |byte| *byte == b'-').nth(1).is_some_and(|id| id.len() == 32) =>
            {
                RequestId::Traced(parent.clone())
            }
            _ => RequestId::Own { since, pid, number },
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Given(value) => f.write_str(value.to_str().unwrap_or_default()),
            RequestId::Traced(value) => {
                f.write_str(value.to_str().unwrap_or_default().split('-').nth(1).unwrap_or_default())
            }
            RequestId::Own { since, pid, number } => write!(f, "{since:x}-{pid:x}-{number:x}"),
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
