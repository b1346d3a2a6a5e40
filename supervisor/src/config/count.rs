//! Whole numbers in a range.
//!
//! Owns what is said about a number outside it. Never rounds, never clamps.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

use super::form::Form;

/// For `#[serde(with)]`: a number from `MIN` to `MAX`.
pub(super) struct Count<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Form for Count<MIN, MAX> {
    type Value = u32;

    fn serialize<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(*number)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        deserializer.deserialize_any(Range { min: MIN, max: MAX })
    }
}

/// For `#[serde(with)]`: a number from `MIN` to `MAX`, which may be below zero.
pub(super) struct Offset<const MIN: i32, const MAX: i32>;

impl<const MIN: i32, const MAX: i32> Form for Offset<MIN, MAX> {
    type Value = i32;

    fn serialize<S: Serializer>(number: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(*number)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        deserializer.deserialize_any(Range { min: MIN, max: MAX })
    }
}

/// Accepts the whole numbers from `min` to `max`.
struct Range<N> {
    min: N,
    max: N,
}

impl<N: TryFrom<i64> + PartialOrd + fmt::Display> Visitor<'_> for Range<N> {
    type Value = N;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.min, self.max)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<N, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<N, E> {
        let Range { min, max } = self;
        N::try_from(number)
            .ok()
            .filter(|number| (&min..=&max).contains(&number))
            .ok_or_else(|| E::custom(format!("{number} is out of range: write a whole number from {min} to {max}")))
    }
}
