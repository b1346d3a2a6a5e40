//! Durations as people write them: `"500ms"`, `"30s"`, `"1h30m"`.
//!
//! Owns the units and what is said about a duration that is none. Never accepts a number without its unit.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

use super::error::quoted;
use super::form::Form;

/// The units and their milliseconds, from the longest.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest duration any key takes, in milliseconds: 365 days, far from any overflow of a deadline.
const LONGEST: u64 = 365 * 86_400_000;

/// A bound on something that takes time: above zero, since nothing is done in no time.
pub(super) type Timeout = Span<1>;

/// A patience that may be zero: "at once".
pub(super) type Patience = Span<0>;

/// For `#[serde(with)]`: a [`Duration`] of at least `MIN` milliseconds, at most a year.
pub(super) struct Span<const MIN: u64>;

impl<const MIN: u64> Form for Span<MIN> {
    type Value = Duration;

    fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&written(*span))
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Span::<MIN>)
    }
}

impl<const MIN: u64> Visitor<'_> for Span<MIN> {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a duration such as "500ms", "30s" or "2m""#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        let span = match (parsed(text), corrected(text)) {
            (Some(span), _) => span,
            (None, Some(right)) => {
                return Err(E::custom(format!("{} is not a duration: write \"{right}\"", quoted(text))));
            }
            (None, None) => {
                return Err(E::custom(format!(
                    r#"{} is not a duration: write for example "500ms", "30s" or "2m""#,
                    quoted(text)
                )));
            }
        };
        let (least, most) = (Duration::from_millis(MIN), Duration::from_millis(LONGEST));
        if span < least {
            return Err(E::custom(format!("\"{text}\" is too short: at least \"{}\"", written(least))));
        }
        if span > most {
            return Err(E::custom(format!("\"{text}\" is too long: at most \"{}\"", written(most))));
        }
        Ok(span)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Duration, E> {
        Err(match u64::try_from(number) {
            Ok(number) => E::custom(format!("{number} has no unit: write \"{number}s\"")),
            Err(_) => E::invalid_type(serde::de::Unexpected::Signed(number), &self),
        })
    }
}

/// The duration `text` says: whole numbers with units, the longest first and each once.
fn parsed(text: &str) -> Option<Duration> {
    let mut units = UNITS.iter();
    let mut millis: u64 = 0;
    let mut rest = text;
    loop {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let (_, worth) = units.find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(*worth)?)?;
        rest = tail;
        if rest.is_empty() {
            return Some(Duration::from_millis(millis));
        }
    }
}

/// What a person who wrote `text` probably meant: `30 sec` is `30s`.
fn corrected(text: &str) -> Option<String> {
    let text: String = text.to_lowercase().split_whitespace().collect();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" | "sec" | "secs" | "second" | "seconds" => "s",
        "msec" | "msecs" | "millisecond" | "milliseconds" => "ms",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "day" | "days" => "d",
        other => other,
    };
    let right = format!("{number}{unit}");
    parsed(&right).map(|_| right)
}

/// `span` in the longest unit that says it with one whole number.
pub fn written(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    match UNITS.iter().find(|(_, worth)| millis.is_multiple_of(*worth)) {
        Some((unit, worth)) if millis > 0 => format!("{}{unit}", millis / worth),
        _ => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_units_the_longest_first() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("0s", 0),
            ("90s", 90_000),
        ] {
            assert_eq!(parsed(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30", "s", "30 s", "-1s", "+1s", "1.5s", "30m1h", "1s1s", "1w", "99999999999999999999s", "９s"]
        {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_as_it_would_be_read() {
        for (millis, text) in
            [(0, "0s"), (1, "1ms"), (1_500, "1500ms"), (75_000, "75s"), (60_000, "1m"), (5_400_000, "90m")]
        {
            let span = Duration::from_millis(millis);
            assert_eq!(written(span), text);
            assert_eq!(parsed(text), Some(span));
        }
    }

    #[test]
    fn a_near_miss_is_corrected() {
        for (text, right) in
            [("30", "30s"), ("30 s", "30s"), ("30S", "30s"), ("5 minutes", "5m"), ("1 H", "1h"), ("250msec", "250ms")]
        {
            assert_eq!(corrected(text).as_deref(), Some(right));
        }
        assert_eq!(corrected("30 parsecs"), None);
        assert_eq!(corrected(""), None);
    }
}
