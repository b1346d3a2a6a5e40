//! What is asked of the supervisor and takes its time: `ratoon reload`, `scale`, `restart`, `stop`, `upgrade` and
//! `logs reopen`. All of them wait for the outcome, however long that takes, and say so when nobody is at work on it.
//!
//! Exit statuses: 0 done, 1 failed, 2 nobody could be asked, or it was not even tried. The last line says why.

use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::call::{AT_ONCE, Call, CannotAsk};
use super::plain::plain;
use super::progress::Progress;
use super::{complain, hint, say};
use crate::control::{Answer, Ask};

/// How often it is looked whether a process is gone that is about to be.
const GLANCE: Duration = Duration::from_millis(5);

/// Has this done, and waits for the outcome.
pub(super) fn main(place: &Path, ask: &Ask) -> ExitCode {
    let progress = Progress::new();
    let outcome = Call::ask(place, ask, Some(AT_ONCE)).and_then(|mut call| {
        let answer = wait(&mut call, place, &progress)?;
        Ok((answer, call.supervisor()))
    });
    progress.end();
    match outcome {
        Ok((Answer::Done(what), supervisor)) => {
            say(&plain(&what));
            match (ask, supervisor) {
                (Ask::Stop { .. }, Some(pid)) => wait_for_the_end_of(pid),
                _ => ExitCode::SUCCESS,
            }
        }
        Ok((Answer::Failed(reason), _)) => {
            complain(&plain(&reason));
            ExitCode::FAILURE
        }
        Ok((Answer::Refused(reason), _)) => complain(&plain(&reason)),
        Ok((Answer::Progress(_) | Answer::Status(_), _)) => complain(&"the supervisor answers what it was not asked"),
        Err(error) => complain(&error),
    }
}

/// The last answer. When a while has passed without a word, somebody else's question shows whether the supervisor is at
/// work at all.
fn wait(call: &mut Call, place: &Path, progress: &Progress) -> Result<Answer, CannotAsk> {
    let mut is_stuck = false;
    loop {
        match call.listen()? {
            Some(Answer::Progress(step)) => progress.show(&step),
            Some(last) => return Ok(last),
            None => match Call::ask(place, &Ask::Status, Some(AT_ONCE)).and_then(|mut probe| probe.next()) {
                Ok(_) => is_stuck = false,
                Err(error) => {
                    if !std::mem::replace(&mut is_stuck, true) {
                        progress.end();
                        hint(&format!("{error}; still waiting for it (Ctrl-C ends the waiting, and nothing else)"));
                    }
                }
            },
        }
    }
}

/// It has said that it is about to leave: what remains is a moment's work of the kernel.
fn wait_for_the_end_of(pid: i32) -> ExitCode {
    let begun = Instant::now();
    while is_there(pid) {
        if begun.elapsed() > AT_ONCE {
            return complain(&format!("the supervisor has said that it stops, and process {pid} is still there"));
        }
        sleep(GLANCE);
    }
    ExitCode::SUCCESS
}

/// Whether there is such a process, and more of it than what its parent has not looked at yet.
fn is_there(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}
