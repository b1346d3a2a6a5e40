//! Numbers, times and foreign text as a person reads them.

use std::time::Duration;

use maud::{Markup, html};

use crate::span::span;

/// A number of the document: the text is for people, the value exact, the name its field's.
pub(super) fn number(field: &str, value: u64) -> Markup {
    html! { data data-field=(field) value=(value) { (grouped(value)) } }
}

/// `12 345`, with spaces that do not break.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A rate: few digits, as many as say something.
pub(super) fn rate(value: f64) -> String {
    match value {
        value if value >= 100.0 => grouped(value.round() as u64),
        value if value >= 9.95 => format!("{value:.0}"),
        value if value > 0.0 => format!("{value:.1}"),
        _ => "0".into(),
    }
}

/// A time in seconds, to two digits.
pub(super) fn seconds(value: f64) -> String {
    match value {
        value if value >= 99.5 => format!("{}\u{202f}s", grouped(value.round() as u64)),
        value if value >= 0.995 => format!("{}\u{202f}s", two_digits(value)),
        value if value >= 0.000_995 => format!("{}\u{202f}ms", two_digits(value * 1e3)),
        value if value > 0.0 => format!("{}\u{202f}µs", two_digits(value * 1e6)),
        _ => "0".into(),
    }
}

fn two_digits(value: f64) -> String {
    if value >= 9.95 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// A number of milliseconds, for people.
pub(super) fn millis(value: u64) -> String {
    span(Duration::from_millis(value))
}

/// A moment as RFC 3339 has it, of milliseconds since 1970, in UTC.
pub(super) fn moment(millis: u64) -> String {
    let (seconds, rest) = (millis / 1000, millis % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{rest:03}Z")
}

/// The date, so many days after the first of January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    let mut left = days;
    loop {
        let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let long = 365 + u64::from(is_leap);
        if left < long {
            let lengths = [31, 28 + u64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, length) in (1..).zip(lengths) {
                if left < length {
                    return (year, month, left + 1);
                }
                left -= length;
            }
        }
        left = left.saturating_sub(long);
        year += 1;
    }
}

/// Text that others have chosen, on one line: what cannot be seen, or turns what follows around, is made visible.
pub(super) fn foreign(text: &str) -> String {
    let is_hidden = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|letter| if is_hidden(letter) { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short_and_say_their_unit() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
        assert_eq!([0.0, 0.24, 9.96, 12.3, 1234.4].map(rate), ["0", "0.2", "10", "12", "1\u{202f}234"]);
        let times = [0.0, 12.3e-6, 0.0014, 0.0999, 2.34, 61.0].map(seconds);
        assert_eq!(times, ["0", "12\u{202f}µs", "1.4\u{202f}ms", "100\u{202f}ms", "2.3\u{202f}s", "61\u{202f}s"]);
    }

    #[test]
    fn a_moment_is_a_date() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(moment(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(moment(1_795_382_144_123), "2026-11-22T21:15:44.123Z");
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(foreign("GET /\u{202e}txt.\u{7}\u{1b}[31m ü"), "GET /\u{fffd}txt.\u{fffd}\u{fffd}[31m ü");
    }
}
