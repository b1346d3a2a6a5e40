//! What is said: one event with whom it is about, on its way from tracing to whoever reads the log.

use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::form::{Form, word};
use super::sink::{self, Sink};
use super::{REQUEST, journal, speaker};

/// The keys that say who is meant; they stand before the message.
const IDENTITY: [&str; 4] = ["pool", "worker", "gen", "pid"];

/// What an event says, or a line that somebody else has written.
#[derive(Debug, Clone)]
pub struct Said {
    /// How important it is.
    pub level: Level,
    /// Who is meant.
    pub identity: Vec<(&'static str, Value)>,
    /// In words.
    pub message: String,
    /// What more there is to say.
    pub rest: Vec<(&'static str, Value)>,
}

impl Said {
    /// Nothing yet.
    pub fn new(level: Level) -> Said {
        Said { level, identity: Vec::new(), message: String::new(), rest: Vec::new() }
    }

    /// That so many lines were lost.
    pub fn of_losses(lost: u64) -> Said {
        let message = "log lines lost: nobody took them".into();
        Said { message, rest: vec![("lost", lost.into())], ..Said::new(Level::WARN) }
    }

    /// The same of this process, which says who it is.
    pub(super) fn of_own_losses(lost: u64) -> Said {
        Said { identity: speaker(), ..Said::of_losses(lost) }
    }

    /// Whether it was taken where lines of this form go. What the journal does not take goes to standard error, which is the
    /// journal's, too, and waits there for one that is being restarted.
    pub(super) fn passes(&self, form: Form, sink: &Sink) -> bool {
        (form == Form::Journal && journal::takes(self)) || sink.write_line(form.line(self).as_bytes())
    }

    fn take(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = word(&value),
            name if IDENTITY.contains(&name) => self.identity.push((name, value)),
            name => self.rest.push((name, value)),
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}").into());
    }
}

/// Takes events down and passes them on.
pub(super) struct Scribe {
    form: Form,
    sink: Sink,
}

impl Scribe {
    pub(super) fn new(form: Form, sink: Sink) -> Scribe {
        if form == Form::Journal {
            journal::renew();
        }
        Scribe { form, sink }
    }
}

impl<S: Subscriber> Layer<S> for Scribe {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::new(*event.metadata().level());
        said.identity = speaker();
        REQUEST.with(|request| {
            if let Some(request) = &*request.borrow() {
                said.identity.push(("request_id", request.to_string().into()));
            }
        });
        event.record(&mut said);
        let (form, sink) = (self.form, &self.sink);
        sink::count(|lost| Said::of_own_losses(lost).passes(form, sink), || said.passes(form, sink));
    }
}
