//! The environment of a pool's processes: made anew, of what the configuration says and little else.
//!
//! Nothing of ours reaches a program that is not named there, so that one pool's secrets are not another's.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::config::{self, ALWAYS, ALWAYS_BELOW, Account};

/// Who the supervisor's user is: of no use to another.
const OF_THE_USER: [&str; 3] = ["HOME", "USER", "LOGNAME"];

/// Gives a command the environment of this pool. `ours` is our own, without what no program may have.
pub(super) fn furnish(
    command: &mut Command,
    config: &config::Pool,
    account: Option<&Account>,
    ours: impl Iterator<Item = (OsString, OsString)>,
) {
    command.env_clear();
    let is_passed = |name: &OsStr| {
        name.as_bytes().starts_with(ALWAYS_BELOW.as_bytes())
            || ALWAYS.iter().any(|always| name == *always)
            || (account.is_none() && OF_THE_USER.iter().any(|each| name == *each))
            || config.pass_env.iter().any(|wanted| name == wanted.as_str())
    };
    command.envs(ours.filter(|(name, _)| is_passed(name)));
    if let Some((name, home)) = account.and_then(|account| account.known.as_ref()) {
        command.env("HOME", home).env("USER", name).env("LOGNAME", name);
    }
    command.envs(&config.env);
}
