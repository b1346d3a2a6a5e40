//! Where in the file each key stands.
//!
//! Owns the line of every key and list element of one parsed file, so that a complaint made long after the parsing
//! still names its line. Never holds a value: it cannot give a secret away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::de::DeValue;

use super::document::below;
use super::error::Complaint;

/// The lines of one configuration file, by key path (`pool.web.listen[1]`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Origin {
    file: String,
    lines: BTreeMap<String, usize>,
}

impl Origin {
    /// The places of everything in `document`, which was parsed from `text`.
    pub(super) fn new(file: &str, text: &str, document: &DeValue<'_>) -> Origin {
        let newlines: Vec<usize> = text.match_indices('\n').map(|(offset, _)| offset).collect();
        let line_at = |offset| newlines.partition_point(|newline| *newline < offset) + 1;
        let mut lines = BTreeMap::new();
        note(document, "", &mut |path, offset| {
            lines.insert(path.to_owned(), line_at(offset));
        });
        Origin { file: file.to_owned(), lines }
    }

    /// The file, as the operator named it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line on which the key at `path` is written, counted from 1; `None` where the file does not have it and
    /// the default holds.
    pub fn line(&self, path: &str) -> Option<usize> {
        self.lines.get(path).copied()
    }

    /// A complaint about the key at `path`, on its line or on that of the nearest table the file does have.
    pub(crate) fn complaint(&self, path: &str, message: impl Into<String>) -> Complaint {
        let mut nearest = path;
        while self.line(nearest).is_none() && !nearest.is_empty() {
            nearest = &nearest[..nearest.rfind(['.', '[']).unwrap_or(0)];
        }
        Complaint {
            line: self.line(nearest),
            key: path.to_owned(),
            ..Complaint::about_file(self.file.as_str(), message)
        }
    }
}

/// Tells `tell` the path and the offset of every key and list element in `value`.
fn note(value: &DeValue<'_>, path: &str, tell: &mut impl FnMut(&str, usize)) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                let path = below(path, key.get_ref());
                tell(&path, key.span().start);
                note(value.get_ref(), &path, tell);
            }
        }
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                tell(&path, item.span().start);
                note(item.get_ref(), &path, tell);
            }
        }
        _ => {}
    }
}
