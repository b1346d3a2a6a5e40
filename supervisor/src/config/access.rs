//! `access`: what is written down of a pool's requests.
//!
//! Owns what is said about a form that is none, and a path that is none. What the forms are is the log's own.

use ratoon_worker::access::Form;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serializer};

use super::error::quoted;

/// The word for no access log.
const OFF: &str = "off";

/// The value of `access`.
pub(super) fn form<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == OFF {
        return Ok(None);
    }
    text.parse::<Form>().map_err(D::Error::custom)?;
    Ok(Some(text))
}

/// The same, written again.
pub(super) fn written<S: Serializer>(form: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(form.as_deref().unwrap_or(OFF))
}

/// The value of `access_skip`.
pub(super) fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let paths = Vec::<String>::deserialize(deserializer)?;
    let is_one = |path: &String| {
        let inner = path.strip_suffix('*').unwrap_or(path);
        path.starts_with('/') && !inner.contains(['*', '?', ' '])
    };
    match paths.iter().find(|path| !is_one(path)) {
        Some(path) => Err(D::Error::custom(format!(
            "{} is not a path: write for example [\"/healthz\", \"/static/*\"], a \"*\" only at the end",
            quoted(path)
        ))),
        None => Ok(paths),
    }
}
