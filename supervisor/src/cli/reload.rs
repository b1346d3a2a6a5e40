//! `ratoon reload`: has everything loaded anew, and waits for the outcome, however long that takes.
//!
//! Exit statuses: 0 done, 1 failed (the old generation serves on), 2 nobody could be asked. The last line says why.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;

use super::call::Call;
use super::{complain, say};
use crate::control::{Answer, Ask};

/// Reloads these pools, or all.
pub(super) fn main(place: &Path, pools: Vec<String>) -> ExitCode {
    let mut call = match Call::ask(place, &Ask::Reload { pools }, None) {
        Ok(call) => call,
        Err(error) => return complain(&error),
    };
    loop {
        match call.next() {
            Ok(Answer::Progress(step)) if stdout().is_terminal() => say(&step),
            Ok(Answer::Progress(_)) => {}
            Ok(Answer::Done(what)) => {
                say(&what);
                return ExitCode::SUCCESS;
            }
            Ok(Answer::Failed(reason)) => {
                complain(&reason);
                return ExitCode::FAILURE;
            }
            Ok(Answer::Refused(reason)) => return complain(&reason),
            Ok(Answer::Status(_)) => return complain(&"the supervisor answers what it was not asked"),
            Err(error) => return complain(&error),
        }
    }
}
