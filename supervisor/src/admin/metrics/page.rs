//! An exposition as it is written: families, each with its head and its samples, in either format.
//!
//! Owns the syntax. A family without a sample is left out.

use std::fmt::{self, Write};

use super::format::Format;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Page {
    format: Format,
    text: String,
}

/// What a family is; a counter's name ends in `_total`, an info's in `_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Its value is 1, what it tells stands in its labels.
    Info,
}

/// The value of a sample.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Number {
        Number::Whole(number)
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Number {
        Number::Whole(number.into())
    }
}

impl From<bool> for Number {
    fn from(is_so: bool) -> Number {
        Number::Whole(is_so.into())
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Number {
        Number::Real(number)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(number) => write!(f, "{number}"),
            Number::Real(number) => {
                let text = number.to_string();
                let is_whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
                write!(f, "{text}{}", if is_whole { ".0" } else { "" })
            }
        }
    }
}

/// Labels with their values.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

impl Page {
    pub(super) fn new(format: Format) -> Page {
        Page { format, text: String::new() }
    }

    /// A family, whose samples `fill` adds.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str, fill: impl FnOnce(&mut Samples<'_>)) {
        let before = self.text.len();
        self.head(name, kind, help);
        let head = self.text.len();
        fill(&mut Samples { name, text: &mut self.text });
        if self.text.len() == head {
            self.text.truncate(before);
        }
    }

    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let text = &mut self.text;
        let _ = match self.format {
            Format::Text => {
                let kind = match kind {
                    Kind::Counter => "counter",
                    Kind::Gauge | Kind::Info => "gauge",
                    Kind::Histogram => "histogram",
                };
                writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
            }
            Format::OpenMetrics => {
                let (kind, suffix) = match kind {
                    Kind::Counter => ("counter", "_total"),
                    Kind::Gauge => ("gauge", ""),
                    Kind::Histogram => ("histogram", ""),
                    Kind::Info => ("info", "_info"),
                };
                let name = name.strip_suffix(suffix).unwrap_or(name);
                let help = help.replace('"', "\\\"");
                let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
                let unit = unit.map(|unit| format!("# UNIT {name} {unit}\n")).unwrap_or_default();
                write!(text, "# TYPE {name} {kind}\n{unit}# HELP {name} {help}\n")
            }
        };
    }

    /// All of it.
    pub(super) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// The samples of one family.
pub(super) struct Samples<'a> {
    name: &'a str,
    text: &'a mut String,
}

impl Samples<'_> {
    /// One sample.
    pub(super) fn add(&mut self, labels: &Labels<'_>, value: impl Into<Number>) {
        self.line("", labels, None, value.into());
    }

    /// A histogram's samples: how many fell into each bucket, by its upper bound, the last without one; and the sum of all.
    pub(super) fn histogram(
        &mut self,
        labels: &Labels<'_>,
        buckets: impl IntoIterator<Item = (Option<f64>, u64)>,
        sum: f64,
    ) {
        let mut count: u64 = 0;
        for (bound, more) in buckets {
            count = count.wrapping_add(more);
            let bound = bound.map_or_else(|| "+Inf".into(), |bound| Number::Real(bound).to_string());
            self.line("_bucket", labels, Some(&bound), count.into());
        }
        self.line("_sum", labels, None, sum.into());
        self.line("_count", labels, None, count.into());
    }

    fn line(&mut self, suffix: &str, labels: &Labels<'_>, bound: Option<&str>, value: Number) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let bound = bound.map(|bound| ("le", bound));
        let mut opening = '{';
        for (label, value) in labels.iter().copied().chain(bound) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{opening}{label}=\"{value}\"");
            opening = ',';
        }
        let closing = if opening == ',' { "}" } else { "" };
        let _ = writeln!(self.text, "{closing} {value}");
    }
}
