//! One series that an application declares, as it travels to the supervisor, and what makes it a good one.
//!
//! Checked on both sides by the same rules: what the library lets pass a supervisor takes, and what a program sends that
//! is not linked with it is held to them all the same.

use serde::{Deserialize, Serialize};

/// How many words of a worker's row a generation may use: a counter or a gauge takes one, a histogram one for each bound
/// and two more.
pub const MOST_WORDS: usize = 256;
/// How many bytes all names, helps and labels of a generation may have together.
pub const MOST_TEXT: usize = 32 * 1024;

const LONGEST_NAME: usize = 128;
const LONGEST_HELP: usize = 512;
const LONGEST_LABEL: usize = 64;
const LONGEST_VALUE: usize = 128;
const MOST_LABELS: usize = 8;
const MOST_BOUNDS: usize = 30;

/// What the exposition makes of other names, so that none may end so.
const SUFFIXES: [&str; 6] = ["_total", "_sum", "_count", "_bucket", "_created", "_info"];
/// Labels that the exposition sets.
const OURS: [&str; 5] = ["pool", "le", "quantile", "slot", "instance"];

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declaration {
    /// What it counts in.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What it means, in a sentence.
    pub help: String,
    /// Its labels with their values, in the order of their names.
    pub labels: Vec<(String, String)>,
    /// Of a histogram, the bounds of its buckets.
    pub bounds: Vec<f64>,
}

/// What a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// How many observations there were, by their size.
    Histogram,
}

impl Kind {
    /// Its name in messages and in the exposition.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

impl Declaration {
    /// Whether it can be exposed.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right, in a sentence.
    pub fn check(&self) -> Result<(), String> {
        let name = &self.name;
        self.check_name().map_err(|what| format!("the metric {name:?} {what}"))?;
        if self.help.is_empty() || self.help.len() > LONGEST_HELP || self.help.contains(char::is_control) {
            return Err(format!("the help of {name} must be a line of 1 to {LONGEST_HELP} bytes"));
        }
        self.check_labels().map_err(|what| format!("the metric {name} {what}"))?;
        self.check_bounds().map_err(|what| format!("the metric {name} {what}"))
    }

    fn check_name(&self) -> Result<(), String> {
        let name = &self.name;
        if !is_identifier(name) || name.len() > LONGEST_NAME {
            return Err(format!(
                "must have a name of letters, digits and underscores that begins with no digit, of at most \
                 {LONGEST_NAME} bytes"
            ));
        }
        if name.starts_with("ratoon_") {
            return Err("must not be called like Ratoon's own, ratoon_...".into());
        }
        let bare = match self.kind {
            Kind::Counter => name.strip_suffix("_total").ok_or("is a counter, whose name must end in _total")?,
            Kind::Gauge | Kind::Histogram => name,
        };
        match SUFFIXES.iter().find(|suffix| bare.ends_with(**suffix)) {
            Some(suffix) => Err(format!("is a {}, whose name must not end in {suffix}", self.kind.name())),
            None => Ok(()),
        }
    }

    fn check_labels(&self) -> Result<(), String> {
        if self.labels.len() > MOST_LABELS {
            return Err(format!("has {} labels, and may have {MOST_LABELS}", self.labels.len()));
        }
        if !self.labels.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err("has the same label twice".into());
        }
        for (label, value) in &self.labels {
            if !is_identifier(label) || label.len() > LONGEST_LABEL || label.starts_with("__") {
                return Err(format!(
                    "has a label {label:?}: it must be of letters, digits and underscores, begin with no digit and \
                     with one underscore at the most, and have at most {LONGEST_LABEL} bytes"
                ));
            }
            if OURS.contains(&label.as_str()) {
                return Err(format!("has a label {label}, which is not the application's to set"));
            }
            if value.len() > LONGEST_VALUE || value.contains(char::is_control) {
                return Err(format!("has a label {label} whose value must be a line of at most {LONGEST_VALUE} bytes"));
            }
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), String> {
        let rises =
            self.bounds.iter().all(|bound| bound.is_finite()) && self.bounds.is_sorted_by(|one, next| one < next);
        match self.kind {
            Kind::Histogram if self.bounds.is_empty() || self.bounds.len() > MOST_BOUNDS || !rises => {
                Err(format!("needs 1 to {MOST_BOUNDS} bounds, each greater than the one before"))
            }
            Kind::Counter | Kind::Gauge if !self.bounds.is_empty() => {
                Err(format!("is a {}, and has no bounds", self.kind.name()))
            }
            _ => Ok(()),
        }
    }

    /// How many words it takes.
    pub fn words(&self) -> usize {
        match self.kind {
            Kind::Counter | Kind::Gauge => 1,
            Kind::Histogram => self.bounds.len() + 2,
        }
    }

    /// How many bytes of text it has.
    pub fn text(&self) -> usize {
        let labels = self.labels.iter().map(|(label, value)| label.len() + value.len());
        self.name.len() + self.help.len() + labels.sum::<usize>()
    }

    /// The name of its family where a counter goes without its `_total`.
    pub fn family(&self) -> &str {
        self.name.strip_suffix("_total").unwrap_or(&self.name)
    }

    /// Whether it is the same series, whatever is said of it.
    pub fn is_same(&self, other: &Declaration) -> bool {
        self.name == other.name && self.labels == other.labels && self.is_alike(other)
    }

    /// Whether both can be of one family.
    pub fn is_alike(&self, other: &Declaration) -> bool {
        self.kind == other.kind && self.bounds == other.bounds
    }
}

fn is_identifier(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}
