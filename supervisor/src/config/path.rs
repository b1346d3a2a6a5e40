//! Paths: absolute, since a daemon's working directory is nobody's concern.
//!
//! Owns what is said about a text that is none. Never looks whether anything is there.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::error::quoted;

/// A file by its absolute path.
pub(super) fn to_a_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    absolute(deserializer, "/var/log/ratoon/ratoon.log").and_then(|path| {
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(D::Error::custom(format!(
                "{} is a directory: name a file in it",
                quoted(&path.to_string_lossy())
            )));
        }
        Ok(Some(path))
    })
}

/// A directory by its absolute path.
pub(super) fn to_a_directory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    absolute(deserializer, "/var/tmp")
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D, example: &str) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    if !Path::new(&text).is_absolute() || text.contains('\0') {
        return Err(D::Error::custom(format!(
            "{} is not an absolute path: write for example {example:?}",
            quoted(&text)
        )));
    }
    Ok(PathBuf::from(text))
}
