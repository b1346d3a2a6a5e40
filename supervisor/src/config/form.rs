//! How a value is written in the file, apart from what it is in the program.
//!
//! Owns the bridge between the two for serde, for keys with a default and for keys that may be left out. Never knows
//! a unit or a range: each kind of value brings its own.

use std::marker::PhantomData;

use serde::de::Deserializer;
use serde::ser::Serializer;

/// For `#[serde(with)]`: one way to write a value.
pub(super) trait Form {
    /// What it is in the program.
    type Value;

    fn serialize<S: Serializer>(value: &Self::Value, serializer: S) -> Result<S::Ok, S::Error>;

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self::Value, D::Error>;
}

/// For `#[serde(with)]`: a value that may be left out, and is then `None`.
pub(super) struct Given<F>(PhantomData<F>);

impl<F: Form> Form for Given<F> {
    type Value = Option<F::Value>;

    fn serialize<S: Serializer>(value: &Option<F::Value>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => F::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<F::Value>, D::Error> {
        F::deserialize(deserializer).map(Some)
    }
}
