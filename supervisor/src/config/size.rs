//! Sizes as people write them: `"512B"`, `"16KiB"`, `"64MiB"`.
//!
//! Owns the units, which are powers of 1024 and called so, and what is said about a size that is none. Never accepts a
//! number without its unit.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

use super::error::quoted;
use super::form::Form;

/// The units and their bytes, from the largest.
const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A size that may be nothing, up to 1 PiB: what it bounds fits into file offsets and sums.
pub(super) type Amount = Size<0, { 1 << 50 }>;

/// For `#[serde(with)]`: a number of bytes from `MIN` to `MAX`.
pub(super) struct Size<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Form for Size<MIN, MAX> {
    type Value = u64;

    fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&written(*bytes))
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(Size::<MIN, MAX>)
    }
}

impl<const MIN: u64, const MAX: u64> Visitor<'_> for Size<MIN, MAX> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a size such as "512B", "16KiB" or "64MiB""#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        match (parsed(text), corrected(text)) {
            (Some(bytes), _) if bytes < MIN => {
                Err(E::custom(format!("\"{text}\" is too small: at least \"{}\"", written(MIN))))
            }
            (Some(bytes), _) if bytes > MAX => {
                Err(E::custom(format!("\"{text}\" is too large: at most \"{}\"", written(MAX))))
            }
            (Some(bytes), _) => Ok(bytes),
            (None, Some(right)) => Err(E::custom(format!("{} is not a size: write \"{right}\"", quoted(text)))),
            (None, None) => Err(E::custom(format!(
                r#"{} is not a size: write for example "512B", "16KiB" or "64MiB""#,
                quoted(text)
            ))),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        Err(match u64::try_from(number) {
            Ok(bytes) => E::custom(format!("{bytes} has no unit: write \"{}\"", written(bytes))),
            Err(_) => E::invalid_type(serde::de::Unexpected::Signed(number), &self),
        })
    }
}

/// The size `text` says: one whole number with one unit.
fn parsed(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, worth) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*worth)
}

/// What a person who wrote `text` probably meant: `64 MB` is `64MiB`.
fn corrected(text: &str) -> Option<String> {
    let text: String = text.to_lowercase().split_whitespace().collect();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" | "b" | "byte" | "bytes" => "B",
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        "t" | "tb" | "tib" => "TiB",
        _ => return None,
    };
    let right = format!("{number}{unit}");
    parsed(&right).map(|_| right)
}

/// `bytes` in the largest unit that says it with one whole number.
pub(super) fn written(bytes: u64) -> String {
    match UNITS.iter().find(|(_, worth)| bytes.is_multiple_of(*worth)) {
        Some((unit, worth)) if bytes > 0 => format!("{}{unit}", bytes / worth),
        _ => "0B".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_with_one_unit_of_1024() {
        for (text, bytes) in [("0B", 0), ("512B", 512), ("16KiB", 16_384), ("64MiB", 1 << 26), ("1GiB", 1 << 30)] {
            assert_eq!(parsed(text), Some(bytes), "{text}");
        }
        for text in ["", "64", "MiB", "64 MiB", "64MB", "64mib", "-1B", "1.5GiB", "1GiB512MiB", "99999999999TiB"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_written_as_it_would_be_read() {
        for (bytes, text) in [(0, "0B"), (1, "1B"), (1_000, "1000B"), (65_536, "64KiB"), (3 << 29, "1536MiB")] {
            assert_eq!(written(bytes), text);
            assert_eq!(parsed(text), Some(bytes));
        }
    }

    #[test]
    fn a_near_miss_is_corrected() {
        for (text, right) in
            [("64MB", "64MiB"), ("64m", "64MiB"), ("64 MiB", "64MiB"), ("512", "512B"), ("1 gb", "1GiB")]
        {
            assert_eq!(corrected(text).as_deref(), Some(right));
        }
        assert_eq!(corrected("a lot"), None);
        assert_eq!(corrected("MB"), None);
    }
}
