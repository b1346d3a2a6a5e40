//! What a log line looks like: text for people, JSON for programs, the same keys in the same order in both.

use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The keys that say who is meant; they stand before the message.
const IDENTITY: [&str; 4] = ["pool", "worker", "gen", "pid"];

/// How a line is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// For people.
    Text {
        /// Whether the level has a colour.
        colour: bool,
        /// Whether the line begins with the time; the journal has its own.
        time: bool,
    },
    /// For programs.
    Json,
}

impl Shape {
    /// What makes the line that says how many lines were lost.
    pub(super) fn report_of_losses(self) -> fn(u64) -> String {
        match self {
            Shape::Text { .. } => |lost| format!(" WARN {lost} log lines lost: nobody took them\n"),
            Shape::Json => |lost| {
                format!("{{\"level\":\"WARN\",\"message\":\"log lines lost: nobody took them\",\"lost\":{lost}}}\n")
            },
        }
    }
}

impl<S, N> FormatEvent<S, N> for Shape
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said::default();
        if let Ok(speaker) = super::SPEAKER.read() {
            said.identity.extend(speaker.0.iter().cloned());
        }
        super::REQUEST.with(|request| {
            if let Some(request) = &*request.borrow() {
                said.identity.push(("request_id", request.to_string().into()));
            }
        });
        event.record(&mut said);
        let level = *event.metadata().level();
        match self {
            Shape::Text { colour, time } => said.write_text(&mut line, level, *colour, *time),
            Shape::Json => said.write_json(&mut line, level),
        }
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    identity: Vec<(&'static str, Value)>,
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Said {
    fn write_text(&self, line: &mut Writer<'_>, level: Level, colour: bool, time: bool) -> fmt::Result {
        if time {
            SystemTime.format_time(line)?;
            line.write_char(' ')?;
        }
        let paint = match level {
            _ if !colour => "",
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            _ => "\x1b[2m",
        };
        let plain = if paint.is_empty() { "" } else { "\x1b[0m" };
        write!(line, "{paint}{level:>5}{plain}")?;
        for (key, value) in &self.identity {
            write!(line, " {key}={}", quoted(&word(value)))?;
        }
        write!(line, " {}", escaped(&self.message))?;
        for (key, value) in &self.rest {
            write!(line, " {key}={}", quoted(&word(value)))?;
        }
        writeln!(line)
    }

    fn write_json(&self, line: &mut Writer<'_>, level: Level) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        write!(line, "{{\"time\":{},\"level\":{}", json(&time), json(level.as_str()))?;
        for (key, value) in &self.identity {
            write!(line, ",{}:{value}", json(key))?;
        }
        write!(line, ",\"message\":{}", json(&self.message))?;
        for (key, value) in &self.rest {
            write!(line, ",{}:{value}", json(key))?;
        }
        writeln!(line, "}}")
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

/// A value as text: what is text without quotes, numbers as they are.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value that is one word stands as it is, anything else in quotes.
fn quoted(value: &str) -> String {
    let word = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'=');
    if word { value.to_owned() } else { format!("\"{}\"", escaped(value).replace('"', "\\\"")) }
}

/// The text without control characters, so that nothing in it can begin a line or speak to a terminal.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

fn json(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_forge_a_line_or_a_key() {
        assert_eq!(quoted("a\nlevel=ERROR"), "\"a\\nlevel=ERROR\"");
        assert_eq!(quoted("say \"hi\""), "\"say \\\"hi\\\"\"");
        assert_eq!(quoted("plain/word"), "plain/word");
        assert_eq!(escaped("a\x1b[31mb"), "a\\u{1b}[31mb");
    }
}
