//! The configuration as a whole: the exact line for every kind of mistake, what a right file becomes, and the shipped
//! file held to the code.

#![allow(clippy::unwrap_used)]

mod database;
mod difference;
mod life;
mod messages;
mod reference;
mod shipped;
mod values;

use super::parse;

/// What is said about `text`; empty if it is right.
fn complaints(text: &str) -> String {
    parse(text, "config.toml").map_or_else(|errors| errors.to_string(), |_| String::new())
}
