//! Log lines of every process of the daemon: who speaks, about which request, in one of two formats.
//!
//! Owns the tracing subscriber and the identity that stands in every line. Never waits for whoever reads the log: a
//! line that cannot be taken at once is dropped and counted.

pub mod file;
mod format;
mod sink;

use std::cell::RefCell;
use std::fmt;
use std::io::IsTerminal;
use std::sync::RwLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

pub use format::escaped;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal or to the journal, JSON otherwise.
    #[default]
    Auto,
    /// `time level pool=… worker=… gen=… pid=… message key=value`
    Text,
    /// One object a line, the same keys.
    Json,
}

/// The least important lines that are still written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something is broken and needs a person.
    Error,
    /// Something went wrong and was coped with.
    Warn,
    /// One line per transition.
    #[default]
    Info,
    /// What Ratoon does in between.
    Debug,
    /// Everything.
    Trace,
}

/// Installs the subscriber for this process and those forked from it, writing to standard error; leaves one that is
/// already there alone.
pub fn install(level: Level, format: Format) {
    let _ = tracing::subscriber::set_global_default(subscriber(level, format));
}

/// Runs `load` with the subscriber, without standing in the way of one that `load` installs for good.
pub(crate) fn while_loading<T>(level: Level, format: Format, load: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(subscriber(level, format), load)
}

fn subscriber(level: Level, format: Format) -> impl tracing::Subscriber + Send + Sync {
    let terminal = std::io::stderr().is_terminal();
    let journal = sink::is_journal();
    let shape = match format {
        Format::Json => format::Shape::Json,
        Format::Auto if !terminal && !journal => format::Shape::Json,
        Format::Text | Format::Auto => format::Shape::Text { colour: terminal, time: !journal },
    };
    tracing_subscriber::fmt()
        .with_max_level(match level {
            Level::Error => tracing::Level::ERROR,
            Level::Warn => tracing::Level::WARN,
            Level::Info => tracing::Level::INFO,
            Level::Debug => tracing::Level::DEBUG,
            Level::Trace => tracing::Level::TRACE,
        })
        .event_format(shape)
        .with_writer(sink::Sink::standard_error(shape.report_of_losses()))
        .finish()
}

/// Who speaks in this process: stands first in every line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Speaker(pub(crate) Vec<(&'static str, serde_json::Value)>);

static SPEAKER: RwLock<Speaker> = RwLock::new(Speaker(Vec::new()));

thread_local! {
    static REQUEST: RefCell<Option<RequestId>> = const { RefCell::new(None) };
}

/// From now on this process speaks under this name.
pub(crate) fn speak_as(speaker: Speaker) {
    if let Ok(mut present) = SPEAKER.write() {
        *present = speaker;
    }
}

/// From now on, and until `None`, this thread speaks about this request.
pub(crate) fn speak_of(request: Option<RequestId>) {
    REQUEST.with(|present| *present.borrow_mut() = request);
}

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
