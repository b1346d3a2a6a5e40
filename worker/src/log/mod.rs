//! Log lines of every process of the daemon: who speaks, about which request, in one of three forms.
//!
//! Owns the tracing subscriber and the identity that stands in every line. Never waits for whoever reads the log: a
//! line that cannot be taken at once is dropped and counted.

mod event;
mod form;
pub mod journal;
mod lines;
mod request_id;
mod sink;

use std::cell::RefCell;
use std::sync::RwLock;

use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;

use self::event::Scribe;
pub use event::Said;
pub use form::{Form, escaped};
pub use lines::Lines;
pub(crate) use request_id::RequestId;
pub(crate) use sink::count_in;
pub use sink::{Sink, lost};

/// How log lines look, as it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, the journal's own fields to the journal, JSON otherwise.
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

/// Installs the subscriber for this process and those forked from it; leaves one that is already there alone.
pub fn install(level: Level, form: Form, sink: Sink) {
    let _ = tracing::subscriber::set_global_default(subscriber(level, form, sink));
}

/// Runs `load` with the subscriber, without standing in the way of one that `load` installs for good.
pub(crate) fn while_loading<T>(level: Level, form: Form, sink: Sink, load: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(subscriber(level, form, sink), load)
}

fn subscriber(level: Level, form: Form, sink: Sink) -> impl tracing::Subscriber + Send + Sync {
    let level = match level {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
        Level::Trace => tracing::Level::TRACE,
    };
    let filter = tracing_subscriber::filter::LevelFilter::from_level(level);
    tracing_subscriber::registry().with(Scribe::new(form, sink)).with(filter)
}

/// Who speaks in this process: stands first in every line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Speaker(pub(crate) Vec<(&'static str, serde_json::Value)>);

static SPEAKER: RwLock<Speaker> = RwLock::new(Speaker(Vec::new()));

thread_local! {
    static REQUEST: RefCell<Option<RequestId>> = const { RefCell::new(None) };
}

/// Who that is now.
fn speaker() -> Vec<(&'static str, serde_json::Value)> {
    SPEAKER.read().map(|speaker| speaker.0.clone()).unwrap_or_default()
}

/// From now on this process, which has just begun, speaks under this name.
pub(crate) fn speak_as(speaker: Speaker) {
    journal::renew();
    if let Ok(mut present) = SPEAKER.write() {
        *present = speaker;
    }
}

/// From now on, and until `None`, this thread speaks about this request.
pub(crate) fn speak_of(request: Option<RequestId>) {
    REQUEST.with(|present| *present.borrow_mut() = request);
}
