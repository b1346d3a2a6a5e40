//! What is wrong with a configuration, as lines a person can act on.
//!
//! Owns the form of a complaint: file, line, key path, what is wrong and what would be right, always in one line.
//! Never decides whether something is wrong.

use std::fmt;

/// One complaint; displayed as `config.toml:12: pool.web.workers: 0 is out of range: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The file as the operator named it; empty where no file could be found.
    pub file: String,
    /// The line, counted from 1; `None` where the complaint is about the whole file.
    pub line: Option<usize>,
    /// The character in the line, counted from 1; only syntax errors have one.
    pub column: Option<usize>,
    /// The path of the key, such as `pool.web.listen[1]`; empty where there is none.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Complaint {
    /// A complaint about a file as a whole.
    pub(super) fn about_file(file: impl Into<String>, message: impl Into<String>) -> Complaint {
        Complaint { file: file.into(), line: None, column: None, key: String::new(), message: message.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = [Some(self.file.clone()), self.line.map(|n| n.to_string()), self.column.map(|n| n.to_string())];
        let place = place.into_iter().flatten().collect::<Vec<_>>().join(":");
        for part in [&place, &self.key] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong, in the order of the file; displayed as one line each, without a newline at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(Vec<Complaint>);

impl Errors {
    /// The complaints, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Complaint> {
        self.0.iter()
    }
}

impl FromIterator<Complaint> for Errors {
    fn from_iter<I: IntoIterator<Item = Complaint>>(complaints: I) -> Errors {
        let mut complaints: Vec<Complaint> = complaints.into_iter().collect();
        complaints.sort_by_key(|complaint| complaint.line);
        Errors(complaints)
    }
}

impl From<Complaint> for Errors {
    fn from(complaint: Complaint) -> Errors {
        Errors(vec![complaint])
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{complaint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// `text` in quotes, on one line, cut where it gets long; of a URL that may have a password in it only the beginning.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 100;
    if let Some((scheme, rest)) = text.split_once("://")
        && (rest.contains('@') || rest.contains("password"))
    {
        return format!("{:?}…", format!("{scheme}://"));
    }
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The first syntax error: what follows it is the parser's guess, and would only distract.
pub(super) fn syntax(wrong: &toml::de::Error, text: &str, file: &str) -> Errors {
    let mut start = wrong.span().map_or(text.len(), |span| span.start).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let before = &text[..start];
    let (line, column) = match before.rsplit_once('\n') {
        Some((lines, rest)) => (lines.matches('\n').count() + 2, rest.chars().count() + 1),
        None => (1, before.chars().count() + 1),
    };

    let word = word_around(text, start);
    let said = wrong.message().replace('\n', " ");
    let message = match said.split(',').next().unwrap_or_default() {
        "string values must be quoted" | "unexpected leading zero" | "invalid float" if is_secret(text, start) => {
            "text needs quotes".to_owned()
        }
        "duplicate key" => format!("{} is already set above: keep one of the two", quoted(word)),
        "string values must be quoted" if word.is_empty() => "a value is missing after \"=\"".to_owned(),
        "string values must be quoted" => format!("text needs quotes: write {}", quoted(word)),
        "unexpected leading zero" | "invalid float" => {
            format!("not a number; text, also a mode or an address, needs quotes: write {}", quoted(word))
        }
        _ => said,
    };
    Complaint { line: Some(line), column: Some(column), ..Complaint::about_file(file, message) }.into()
}

/// Whether the line around `position` may hold a password.
fn is_secret(text: &str, position: usize) -> bool {
    let start = text[..position].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    ["://", "url", "password", "secret", "token"].iter().any(|sign| line.contains(sign))
}

/// The run of characters around `position` that a person would take for one word.
fn word_around(text: &str, position: usize) -> &str {
    let apart = |c: char| c.is_whitespace() || "=,#[]{}\"'".contains(c);
    let start =
        text[..position].rfind(apart).map_or(0, |index| index + text[index..].chars().next().map_or(1, char::len_utf8));
    let end = text[position..].find(apart).map_or(text.len(), |length| position + length);
    &text[start..end]
}
