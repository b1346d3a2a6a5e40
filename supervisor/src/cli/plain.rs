//! Text for a terminal that somebody else has written: applications, clients, another `ratoon`.
//!
//! Owns what of it a terminal is given: characters that stand where they are put, one column each. Nothing of it can move
//! the cursor, hide anything, or change what is written to its left.

/// The text with `?` in the place of every character that is not plain; lines stay lines.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|char| if char == '\n' || is_plain(char) { char } else { '?' }).collect()
}

/// The first line's beginning, so many columns of it.
pub(super) fn cut(text: &str, width: usize) -> String {
    let mut chars = text.chars().map(|char| if is_plain(char) { char } else { '?' });
    let mut line: String = chars.by_ref().take(width).collect();
    if chars.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
}

/// A document for programs, whatever it is shown on: what JSON may leave as it is, and a terminal acts upon, is escaped.
pub(super) fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => escaped.push(char),
            _ if char.is_control() => escaped.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => escaped.push(char),
        }
    }
    escaped
}

/// Whether every terminal shows it in one column, and in the direction of what surrounds it: Latin letters and our own
/// signs.
fn is_plain(char: char) -> bool {
    matches!(char, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{24f}' | '…' | '→' | '—' | '–')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_upon_passes() {
        assert_eq!(plain("Größe\x1b[2J\r\n\u{9b}5m\u{202e}x\u{ad}\u{7f}"), "Größe?[2J?\n?5m?x??");
        assert_eq!(cut("漢字 and\x07more", 8), "?? and?…");
        assert_eq!(cut("fits", 4), "fits");
    }

    #[test]
    fn a_document_stays_the_same_document() {
        let value = serde_json::json!({ "line": "a\u{9b}2J\u{7f}\u{1b}é" });
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        let escaped = json(&text);
        assert!(!escaped.contains(|char: char| char.is_control() && char != '\n'), "{escaped:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).ok(), Some(value));
    }
}
