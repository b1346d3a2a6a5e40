//! Shares as people write them: `"25%"`.
//!
//! Owns the arithmetic of a share and what is said about one that is none. Never accepts a number without its sign.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

use super::error::quoted;
use super::form::Form;

/// So many hundredths of a whole; displayed as it is written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);

impl Percent {
    /// This share of `whole`, rounded up: any share above zero of anything is something.
    pub fn of(self, whole: u64) -> u64 {
        let share = (u128::from(whole) * u128::from(self.0)).div_ceil(100);
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// `whole` less a part of this share of it: nothing less at a `chance` of 0, the whole share less at 1. What lies
    /// outside 0 to 1 counts as the nearer of the two. At least 1, so that a limit stays a limit.
    pub fn shorten(self, whole: u64, chance: f64) -> u64 {
        let less = self.of(whole) as f64 * chance.clamp(0.0, 1.0);
        whole.saturating_sub(less as u64).max(1)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// For `#[serde(with)]`: a [`Percent`] from `MIN` to `MAX`.
pub(super) struct Share<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Form for Share<MIN, MAX> {
    type Value = Percent;

    fn serialize<S: Serializer>(share: &Percent, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(share)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Percent, D::Error> {
        deserializer.deserialize_any(Share::<MIN, MAX>)
    }
}

impl<const MIN: u32, const MAX: u32> Visitor<'_> for Share<MIN, MAX> {
    type Value = Percent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a percentage such as "25%""#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Percent, E> {
        let Some(number) = parsed(text) else {
            let bare: String = text.split_whitespace().collect();
            let right = parsed(&format!("{}%", bare.trim_end_matches('%')));
            let right = right.map_or_else(|| r#"for example "25%""#.to_owned(), |number| format!("\"{number}%\""));
            return Err(E::custom(format!("{} is not a percentage: write {right}", quoted(text))));
        };
        if number < MIN {
            return Err(E::custom(format!("\"{text}\" is too small: at least \"{MIN}%\"")));
        }
        if number > MAX {
            return Err(E::custom(format!("\"{text}\" is too large: at most \"{MAX}%\"")));
        }
        Ok(Percent(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Percent, E> {
        Err(match u32::try_from(number) {
            Ok(number) => E::custom(format!("{number} has no sign: write \"{number}%\"")),
            Err(_) => E::invalid_type(serde::de::Unexpected::Signed(number), &self),
        })
    }
}

/// The percentage `text` says: a whole number with its sign.
fn parsed(text: &str) -> Option<u32> {
    let digits = text.strip_suffix('%')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_a_whole_number_with_its_sign() {
        for (text, number) in [("0%", 0), ("10%", 10), ("100%", 100)] {
            assert_eq!(parsed(text), Some(number));
            assert_eq!(Percent(number).to_string(), text);
        }
        for text in ["", "%", "10", "10 %", "+10%", "-10%", "2.5%", "99999999999%"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_share_of_something_is_rounded_up() {
        for (share, whole, part) in [(25, 8, 2), (25, 9, 3), (25, 1, 1), (1, 4, 1), (100, 7, 7), (0, 7, 0), (25, 0, 0)]
        {
            assert_eq!(Percent(share).of(whole), part, "{share}% of {whole}");
        }
        assert_eq!(Percent(100).of(u64::MAX), u64::MAX);
    }

    #[test]
    fn what_is_shortened_stays_between_the_share_less_and_the_whole() {
        assert_eq!(Percent(10).shorten(1000, 0.0), 1000);
        assert_eq!(Percent(10).shorten(1000, 0.5), 950);
        assert_eq!(Percent(10).shorten(1000, 1.0), 900);
        assert_eq!(Percent(10).shorten(1000, 7.0), 900);
        assert_eq!(Percent(100).shorten(5, 1.0), 1);
        assert_eq!(Percent(10).shorten(1, 1.0), 1);
    }
}
