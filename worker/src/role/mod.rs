//! What a program linked with this library turns out to be: a template under a supervisor, a worker forked from one, or
//! a single process without either.

mod alone;
mod by_hand;
mod template;
mod worker;

use std::process::ExitCode;

pub use self::alone::alone;
use crate::app::App;
use crate::protocol::CHANNEL;

/// Whether this program was executed by a supervisor, as a template.
pub fn is_template() -> bool {
    std::env::var_os(CHANNEL).is_some()
}

/// Runs the application `A`: to be called first thing in `main`, its result returned from there.
///
/// Under a supervisor the program becomes a template. By hand it serves `A` on `127.0.0.1:8080`, or on the address in
/// `RATOON_LISTEN`, with the settings in `RATOON_SETTINGS` (a JSON object) and the
/// database in `RATOON_DATABASE_URL`, until it is sent TERM or INT.
pub fn main<A: App>() -> ExitCode {
    if is_template() { template::main::<A>() } else { by_hand::main::<A>() }
}
