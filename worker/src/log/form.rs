//! What a log line looks like: text for people, JSON for programs, the same keys in the same order in both.

use std::fmt::{self, Write};
use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::event::Said;
use super::{Format, journal};

/// How lines are written, now that it is known who reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// For people.
    Text {
        /// Whether the level has a colour.
        colour: bool,
        /// Whether the line begins with the time; the journal has its own.
        time: bool,
    },
    /// For programs.
    Json,
    /// To the journal by its own protocol; while it is away, as text.
    Journal,
}

impl Form {
    /// The form of what this process writes to its standard error.
    pub fn of_standard_error(format: Format) -> Form {
        let (terminal, journal) = (std::io::stderr().is_terminal(), journal::is_standard_error());
        match format {
            Format::Auto if journal => Form::Journal,
            Format::Auto if !terminal => Form::Json,
            Format::Json => Form::Json,
            Format::Text | Format::Auto => Form::Text { colour: terminal, time: !journal },
        }
    }

    /// The form of what goes into a file.
    pub fn of_file(format: Format) -> Form {
        match format {
            Format::Auto | Format::Json => Form::Json,
            Format::Text => Form::Text { colour: false, time: true },
        }
    }

    /// The line, with its end.
    pub fn line(self, said: &Said) -> String {
        let mut line = String::new();
        // A String takes everything.
        let _ = match self {
            Form::Json => said.write_json(&mut line),
            Form::Text { colour, time } => said.write_text(&mut line, colour, time),
            Form::Journal => said.write_text(&mut line, false, false),
        };
        line.push('\n');
        line
    }
}

impl Said {
    fn write_text(&self, line: &mut String, colour: bool, time: bool) -> fmt::Result {
        if time {
            SystemTime.format_time(&mut Writer::new(line))?;
            line.push(' ');
        }
        let paint = match self.level {
            _ if !colour => "",
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            _ => "\x1b[2m",
        };
        let plain = if paint.is_empty() { "" } else { "\x1b[0m" };
        write!(line, "{paint}{:>5}{plain} ", self.level.as_str())?;
        self.write_words(line)
    }

    /// Who is meant, what is said, what more there is to say.
    pub(super) fn write_words(&self, line: &mut String) -> fmt::Result {
        for (key, value) in &self.identity {
            write!(line, "{key}={} ", quoted(&word(value)))?;
        }
        line.push_str(&escaped(&self.message));
        for (key, value) in &self.rest {
            write!(line, " {key}={}", quoted(&word(value)))?;
        }
        Ok(())
    }

    fn write_json(&self, line: &mut String) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        write!(line, "{{\"time\":{},\"level\":{}", json(&time), json(self.level.as_str()))?;
        for (key, value) in &self.identity {
            write!(line, ",{}:{value}", json(key))?;
        }
        write!(line, ",\"message\":{}", json(&self.message))?;
        for (key, value) in &self.rest {
            write!(line, ",{}:{value}", json(key))?;
        }
        line.push('}');
        Ok(())
    }
}

/// A value as text: what is text without quotes, numbers as they are.
pub(super) fn word(value: &Value) -> String {
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

    #[test]
    fn the_same_is_said_in_both_forms() {
        let said = Said {
            identity: vec![("pool", "web".into()), ("worker", 3.into())],
            message: "gone \"away\"".into(),
            rest: vec![("cause", "signal SIGTERM".into())],
            ..Said::new(Level::INFO)
        };
        let text = Form::Text { colour: false, time: false }.line(&said);
        assert_eq!(text, " INFO pool=web worker=3 gone \"away\" cause=\"signal SIGTERM\"\n");
        let json = Form::Json.line(&said);
        let (time, rest) = json.split_once(",\"level\"").unwrap_or_default();
        assert!(time.starts_with("{\"time\":\"20"), "{json}");
        let expected = ",\"worker\":3,\"message\":\"gone \\\"away\\\"\",\"cause\":\"signal SIGTERM\"}\n";
        assert_eq!(rest, format!(":\"INFO\",\"pool\":\"web\"{expected}"));
    }
}
