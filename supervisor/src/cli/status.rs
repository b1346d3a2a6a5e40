//! `ratoon status`: how the running supervisor is, for a person or as the document itself.
//!
//! Exit statuses: 0 answered, 2 nobody could be asked, 1 the answer cannot be written.

use std::path::Path;
use std::process::ExitCode;

use super::call::{AT_ONCE, Call};
use super::plain::{json, plain};
use super::table::table;
use super::{complain, deliver};
use crate::control::{Answer, Ask, Status};

/// Asks and shows.
pub(super) fn main(place: &Path, as_json: bool) -> ExitCode {
    let status = match ask(place) {
        Ok(status) => status,
        Err(reason) => return complain(&plain(&reason)),
    };
    let text = match as_json {
        true => serde_json::to_string_pretty(&status).map(|text| json(&text)),
        false => Ok(table(&status)),
    };
    match text {
        Ok(text) => deliver(&text),
        Err(error) => complain(&error),
    }
}

/// Asks.
///
/// # Errors
/// Why there is no answer, in a sentence.
pub(super) fn ask(place: &Path) -> Result<Box<Status>, String> {
    match Call::ask(place, &Ask::Status, Some(AT_ONCE)).and_then(|mut call| call.next()) {
        Ok(Answer::Status(status)) => Ok(status),
        Ok(Answer::Refused(reason) | Answer::Failed(reason)) => Err(reason),
        Ok(Answer::Progress(_) | Answer::Done(_)) => Err("the supervisor answers what it was not asked".into()),
        Err(error) => Err(error.to_string()),
    }
}
