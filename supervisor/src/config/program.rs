//! A command as a list: the program first, then its arguments.
//!
//! Owns what is said about a list that is none. Never looks whether the program exists.

use std::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::error::quoted;

/// The value of `program`.
pub(super) fn program<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let arguments = Arguments {
        example: r#"["/srv/shop/bin/shop", "--verbose"]"#,
        otherwise: "no list at all for the sample application",
    };
    deserializer.deserialize_any(arguments).map(Some)
}

/// The value of `prepare`.
pub(super) fn prepare<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let arguments =
        Arguments { example: r#"["/srv/shop/bin/shop", "migrate"]"#, otherwise: "no list at all to run nothing" };
    deserializer.deserialize_any(arguments).map(Some)
}

/// Accepts a list with a program in it.
struct Arguments {
    example: &'static str,
    /// What to write where no program is meant.
    otherwise: &'static str,
}

impl<'de> Visitor<'de> for Arguments {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list: write for example {}", self.example)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        let words: Vec<String> = text.split_whitespace().map(quoted).collect();
        Err(E::custom(format!("found {}, wanted a list: write [{}]", quoted(text), words.join(", "))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
        let mut arguments = Vec::new();
        while let Some(argument) = items.next_element::<String>()? {
            if argument.contains('\0') {
                return Err(A::Error::custom("an argument cannot hold a zero byte: remove it"));
            }
            arguments.push(argument);
        }
        if arguments.first().is_none_or(String::is_empty) {
            let otherwise = self.otherwise;
            return Err(A::Error::custom(format!("names no program: write one first in the list, or {otherwise}")));
        }
        Ok(arguments)
    }
}
