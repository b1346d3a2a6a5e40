//! The admin process: the status page, and what programs ask of it, over HTTP and read-only.
//!
//! Executed by the supervisor with two descriptors: the socket on which operators knock, and the line on which it asks the
//! supervisor. Owns nothing else, may do nothing else, and nobody is hurt when it dies. It serves with the worker
//! library's own loop: one thread, strict about heads, and a slow or silent client costs a descriptor.

mod asker;
mod confine;
mod history;
mod metrics;
mod page;
mod readiness;
mod site;
#[cfg(test)]
mod specimen;

use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use ratoon_worker::log::{Form, Level};
use ratoon_worker::protocol::Limits;
use serde::{Deserialize, Serialize};

use self::asker::Asker;
pub use self::asker::FRESH;
use self::site::Site;
use crate::sys::inherited;

/// The environment variable that makes a `ratoon` the admin process: its [`Commission`].
pub const ROLE: &str = "RATOON_ADMIN";

/// All that it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commission {
    /// Where operators knock.
    pub door: RawFd,
    /// Where it asks.
    pub line: RawFd,
    /// Whom it asks: without that process it leaves.
    pub supervisor: u32,
    /// The least important log lines.
    pub level: Level,
    /// How log lines look.
    pub form: Form,
}

/// What this process was executed for, if it is to be the admin process.
pub fn commission() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Serves until told to leave, or until the supervisor is gone.
pub fn main(commission: &str) -> ExitCode {
    match serve(commission) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(commission: &str) -> ratoon_worker::Result<i32> {
    let commission: Commission = serde_json::from_str(commission)?;
    ratoon_worker::log::install(commission.level, commission.form, ratoon_worker::log::Sink::standard_error());
    confine::confine(commission.supervisor)?;
    let (door, line) = (inherited::adopt(commission.door)?, inherited::adopt(commission.line)?);
    inherited::withhold()?;
    let site = Site::new(Asker::new(UnixStream::from(line)));
    ratoon_worker::alone("admin", site, door, limits())
}

/// What bounds its clients: they are few, ask little, and are no reason to have many descriptors.
fn limits() -> Limits {
    Limits {
        header_timeout: 5_000,
        body_timeout: 5_000,
        send_timeout: 10_000,
        max_header: 8 * 1024,
        max_body: 0,
        max_connections: confine::MOST_CONNECTIONS,
        ..Limits::default()
    }
}
