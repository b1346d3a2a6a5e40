//! How a line of the access log looks: Apache's combined format, JSON, or a template.
//!
//! A template is text with names in braces: `{client} {method} {target} {status}`. What a client can write is escaped in
//! it as nginx does: quotes, backslashes and everything that is not printable ASCII become `\xHH`.

use std::fmt::Write;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use http::header::{HOST, REFERER, USER_AGENT};
use httpdate::fmt_http_date;
use serde_json::{Map, Value};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::{Entry, LONGEST};

/// No value that a client has written is longer, in bytes as they are escaped; a target may be twice as long.
const LONGEST_VALUE: usize = 600;

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form(Shape);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Json,
    Template(Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
    Header(HeaderName),
}

/// What has a name in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Client,
    Time,
    TimeClf,
    Method,
    Target,
    Protocol,
    Status,
    Bytes,
    Duration,
    Handler,
    Host,
    Referer,
    UserAgent,
    RequestId,
    Pool,
    Worker,
    Generation,
    Pid,
    Cause,
}

const FIELDS: [(&str, Field); 19] = [
    ("client", Field::Client),
    ("time", Field::Time),
    ("time_clf", Field::TimeClf),
    ("method", Field::Method),
    ("target", Field::Target),
    ("protocol", Field::Protocol),
    ("status", Field::Status),
    ("bytes", Field::Bytes),
    ("duration", Field::Duration),
    ("handler", Field::Handler),
    ("host", Field::Host),
    ("referer", Field::Referer),
    ("user_agent", Field::UserAgent),
    ("request_id", Field::RequestId),
    ("pool", Field::Pool),
    ("worker", Field::Worker),
    ("gen", Field::Generation),
    ("pid", Field::Pid),
    ("cause", Field::Cause),
];

const COMBINED: &str = "{client} - - [{time_clf}] \"{method} {target} {protocol}\" {status} {bytes} \"{referer}\" \
                        \"{user_agent}\"";

/// `combined`, `json`, or a template.
impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Form, String> {
        match text {
            "combined" => template(COMBINED),
            "json" => Ok(Form(Shape::Json)),
            other if other.contains('{') => template(other),
            other => Err(format!(
                "{other:?} is neither \"off\", \"combined\" nor \"json\", and a template names something in braces: write for \
                 example \"{{client}} {{method}} {{target}} {{status}}\""
            )),
        }
    }
}

fn template(text: &str) -> Result<Form, String> {
    if let Some(control) = text.chars().find(|each| each.is_control()) {
        return Err(format!("a template is one line of text, and {control:?} is none: leave it out"));
    }
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(place) = rest.find(['{', '}']) {
        plain.push_str(&rest[..place]);
        let brace = &rest[place..place + 1];
        rest = &rest[place + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let Some((name, after)) = rest.split_once('}').filter(|_| brace == "{") else {
            return Err(format!("a {brace:?} stands alone: write \"{brace}{brace}\" for the sign itself"));
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(named(name)?);
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(Form(Shape::Template(pieces)))
}

fn named(name: &str) -> Result<Piece, String> {
    if let Some(header) = name.strip_prefix("header.") {
        return HeaderName::from_str(header).map(Piece::Header).map_err(|_| {
            format!("{header:?} is not the name of a header: write for example {{header.x-forwarded-for}}")
        });
    }
    let known = FIELDS.iter().find(|(known, _)| *known == name);
    known.map(|(_, field)| Piece::Field(*field)).ok_or_else(|| {
        let names = FIELDS.map(|(known, _)| known).join(", ");
        format!("there is no field {{{name}}}: there are {names}, and header.NAME")
    })
}

impl Form {
    /// The line, with its end.
    pub fn line(&self, entry: &Entry) -> String {
        let mut line = match &self.0 {
            Shape::Json => json(entry).to_string(),
            Shape::Template(pieces) => {
                let mut line = String::with_capacity(256);
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => line.push_str(text),
                        Piece::Header(name) => escape(&mut line, entry.header(name), LONGEST_VALUE),
                        Piece::Field(field) => write(&mut line, *field, entry),
                    }
                }
                line
            }
        };
        line.truncate(line.floor_char_boundary(LONGEST - 1));
        line.push('\n');
        line
    }
}

fn write(line: &mut String, field: Field, entry: &Entry) {
    let ended = entry.ended.unwrap_or_else(SystemTime::now);
    // A String takes everything.
    let _ = match field {
        Field::Client => match entry.client {
            Some(ip) => write!(line, "{}", ip.to_canonical()),
            None => write!(line, "-"),
        },
        Field::Time => write!(line, "{}", rfc3339()),
        Field::TimeClf => write!(line, "{}", clf(ended)),
        Field::Method => return escape(line, &entry.method, 32),
        Field::Target => return escape(line, &entry.target, 2 * LONGEST_VALUE),
        Field::Protocol => return escape(line, &entry.protocol, 16),
        Field::Status => write!(line, "{}", entry.status),
        Field::Bytes => write!(line, "{}", entry.bytes),
        Field::Duration => write!(line, "{}", seconds(entry.duration)),
        Field::Handler => write!(line, "{}", seconds(entry.handler)),
        Field::Host => return escape(line, entry.header(&HOST), LONGEST_VALUE),
        Field::Referer => return escape(line, entry.header(&REFERER), LONGEST_VALUE),
        Field::UserAgent => return escape(line, entry.header(&USER_AGENT), LONGEST_VALUE),
        Field::RequestId => return escape(line, entry.request_id.as_bytes(), 128),
        Field::Pool => write!(line, "{}", entry.pool),
        Field::Worker => write!(line, "{}", entry.worker),
        Field::Generation => write!(line, "{}", entry.generation),
        Field::Pid => write!(line, "{}", entry.pid),
        Field::Cause => return escape(line, entry.cause.as_deref().unwrap_or_default().as_bytes(), LONGEST_VALUE),
    };
}

/// What is empty is a dash, so that a line has as many fields as its template.
fn escape(line: &mut String, value: &[u8], longest: usize) {
    if value.is_empty() {
        line.push('-');
        return;
    }
    let begun = line.len();
    for byte in value {
        if line.len() - begun + 4 > longest {
            line.push('…');
            return;
        }
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f..=0xff => drop(write!(line, "\\x{byte:02X}")),
            plain => line.push(char::from(*plain)),
        }
    }
}

fn json(entry: &Entry) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("time", rfc3339().into());
    put("pool", entry.pool.clone().into());
    put("worker", entry.worker.into());
    put("gen", entry.generation.into());
    put("pid", entry.pid.into());
    put("request_id", text(entry.request_id.as_bytes(), 128));
    put("client", entry.client.map(|ip| ip.to_canonical().to_string()).into());
    put("method", text(&entry.method, 32));
    put("target", text(&entry.target, 2 * LONGEST_VALUE));
    put("protocol", text(&entry.protocol, 16));
    put("status", entry.status.into());
    put("bytes", entry.bytes.into());
    put("duration", entry.duration.as_secs_f64().into());
    put("handler", entry.handler.as_secs_f64().into());
    put("host", text(entry.header(&HOST), LONGEST_VALUE / 2));
    put("referer", text(entry.header(&REFERER), LONGEST_VALUE));
    put("user_agent", text(entry.header(&USER_AGENT), LONGEST_VALUE));
    if let Some(cause) = &entry.cause {
        put("cause", text(cause.as_bytes(), LONGEST_VALUE / 2));
    }
    Value::Object(object)
}

/// What is empty is null. Counted as it will be written: a control character takes six bytes.
fn text(value: &[u8], longest: usize) -> Value {
    if value.is_empty() {
        return Value::Null;
    }
    let (mut kept, mut length) = (String::new(), 0);
    for character in String::from_utf8_lossy(value).chars() {
        length += if character.is_control() || matches!(character, '"' | '\\') { 6 } else { character.len_utf8() };
        if length > longest {
            kept.push('…');
            break;
        }
        kept.push(character);
    }
    kept.into()
}

fn seconds(span: Duration) -> String {
    format!("{:.3}", span.as_secs_f64())
}

/// Now, as every other line of the log has it.
fn rfc3339() -> String {
    let mut text = String::new();
    let _ = tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// `22/Nov/2026:21:30:00 +0000`, out of `Sun, 22 Nov 2026 21:30:00 GMT`.
fn clf(moment: SystemTime) -> String {
    let date = fmt_http_date(moment);
    let [day, month, year, time] = [5..7, 8..11, 12..16, 17..25].map(|part| date.get(part).unwrap_or_default());
    format!("{day}/{month}/{year}:{time} +0000")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn entry() -> Entry {
        let mut headers = HeaderMap::new();
        headers.insert("x-tag", HeaderValue::from_static("7"));
        let mut entry = Entry {
            ended: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)),
            client: Some("::ffff:192.0.2.1".parse().unwrap()),
            status: 200,
            bytes: 1234,
            duration: Duration::from_millis(1500),
            pool: "web".into(),
            headers,
            ..Entry::default()
        };
        entry.line(b"GET /a?b=c HTTP/1.1");
        entry
    }

    #[test]
    fn the_combined_format_is_apaches() {
        let mut entry = entry();
        entry.headers.insert(USER_AGENT, HeaderValue::from_static("curl/8"));
        let line = "combined".parse::<Form>().unwrap().line(&entry);
        let wanted = "192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b=c HTTP/1.1\" 200 1234 \"-\" \"curl/8\"\n";
        assert_eq!(line, wanted);
    }

    #[test]
    fn a_template_says_what_it_names_and_nothing_can_leave_its_field() {
        let form: Form =
            "{{{pool}}} {status} {duration}s {header.x-tag} {header.none} {cause} [{user_agent}]".parse().unwrap();
        let mut entry = entry();
        let bytes = b"a\"b\\c\xff d";
        entry.headers.insert(USER_AGENT, HeaderValue::from_bytes(bytes).unwrap());
        assert_eq!(form.line(&entry), "{web} 200 1.500s 7 - - [a\\x22b\\x5Cc\\xFF d]\n");
        entry.target = b"/\r\n\x1b[31m".to_vec();
        assert_eq!("{target}".parse::<Form>().unwrap().line(&entry), "/\\x0D\\x0A\\x1B[31m\n");
    }

    #[test]
    fn what_is_no_template_is_told_why() {
        for (text, why) in [
            ("on", "neither \"off\", \"combined\" nor \"json\""),
            ("{ip}", "there is no field {ip}: there are client, time"),
            ("{client", "a \"{\" stands alone"),
            ("{status} }", "a \"}\" stands alone"),
            ("{header.a b}", "is not the name of a header"),
            ("{status}\n", "one line of text"),
        ] {
            let said = text.parse::<Form>().unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn no_line_is_longer_than_a_pipe_takes_whole_whatever_a_client_sends() {
        for hostile in ["\u{1}".repeat(60_000), "é".repeat(60_000), "\"".repeat(60_000), "x".repeat(60_000)] {
            let mut entry = entry();
            entry.target = hostile.clone().into_bytes();
            entry.cause = Some(hostile.clone());
            let value = HeaderValue::from_bytes(hostile.replace('\u{1}', "\t").as_bytes()).unwrap();
            for name in [HOST, REFERER, USER_AGENT] {
                entry.headers.insert(name, value.clone());
            }
            for form in ["combined", "json", "{target}{referer}{host}{user_agent}{cause}{target}{target}{target}"] {
                let line = form.parse::<Form>().unwrap().line(&entry);
                assert!(line.len() <= LONGEST && line.matches('\n').count() == 1, "{form}: {}", line.len());
                assert!(form != "json" || serde_json::from_str::<Value>(&line).is_ok(), "{line}");
            }
        }
    }
}
