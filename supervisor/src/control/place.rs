//! Where the control socket is: on one side where it is opened, on the other where it is looked for.
//!
//! Owns the order of the places, and is where the environment's words about it are read. Never touches the file system.

use std::env;
use std::path::PathBuf;

use crate::config::{Config, Control, Errors};

/// Where an operator's command looks when nobody says anything: where the shipped unit puts it.
const USUAL: &str = "/run/ratoon/control.sock";

/// Names the socket to ask, for an operator's shell.
const SOCKET: &str = "RATOON_SOCKET";

/// Set by systemd for a unit with `RuntimeDirectory=`: one directory, or several with colons between them.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// Where a supervisor with this configuration opens its socket; `None` means that it has none.
pub fn to_open(config: &Config) -> Option<PathBuf> {
    config.control.place(env::var_os(RUNTIME_DIRECTORY).as_deref())
}

/// Where a command asks: where it is told to, else where `RATOON_SOCKET` says, else where a supervisor with this
/// configuration and environment opens it, else where the shipped unit does. Without a readable configuration only
/// the environment can say.
///
/// # Errors
/// What is wrong with the configuration, and how to do without it.
pub fn to_ask(named: Option<PathBuf>, config: impl FnOnce() -> Result<Control, Errors>) -> Result<PathBuf, String> {
    let told = named.or_else(|| env::var_os(SOCKET).filter(|path| !path.is_empty()).map(PathBuf::from));
    if let Some(place) = told {
        return Ok(place);
    }
    let directory = env::var_os(RUNTIME_DIRECTORY);
    match config() {
        Ok(control) => Ok(control.place(directory.as_deref()).unwrap_or_else(|| PathBuf::from(USUAL))),
        Err(errors) => Control::default().place(directory.as_deref()).ok_or_else(|| {
            format!("{errors}\nso where the supervisor answers is not known: say it with --socket PATH")
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_a_command_is_told_goes_before_everything_else() {
        assert_eq!(to_ask(Some("/b".into()), || unreachable!()).as_deref(), Ok(Path::new("/b")));
    }
}
