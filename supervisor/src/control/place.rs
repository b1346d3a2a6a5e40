//! Where the control socket is: on one side where it is opened, on the other where it is looked for.
//!
//! Owns the order of the places, and is where the environment's words about it are read. Never touches the file system.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;

use crate::config::Config;

/// Where an operator's command looks when nobody says anything: where the shipped unit puts it.
const USUAL: &str = "/run/ratoon/control.sock";

/// Names the socket to ask, for an operator's shell.
const SOCKET: &str = "RATOON_SOCKET";

/// Set by systemd for a unit with `RuntimeDirectory=`: one directory, or several with colons between them.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// Where a supervisor with this configuration opens its socket; `None` means that it has none.
pub fn to_open(config: &Config) -> Option<PathBuf> {
    given(config, env::var_os(RUNTIME_DIRECTORY).as_deref())
}

/// Where a command asks: where it is told to, else where `RATOON_SOCKET` says, else where a supervisor with this
/// configuration and environment opens it, else where the shipped unit does.
pub fn to_ask(named: Option<PathBuf>, config: impl FnOnce() -> Config) -> PathBuf {
    named
        .or_else(|| env::var_os(SOCKET).filter(|path| !path.is_empty()).map(PathBuf::from))
        .or_else(|| to_open(&config()))
        .unwrap_or_else(|| PathBuf::from(USUAL))
}

/// In the first runtime directory.
fn given(_: &Config, directories: Option<&OsStr>) -> Option<PathBuf> {
    let first = env::split_paths(directories?).next()?;
    first.is_absolute().then(|| first.join("control.sock"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_socket_stands_in_the_first_runtime_directory() {
        let place = |directories: &str| given(&Config::default(), Some(directories.as_ref()));
        assert_eq!(place("/run/ratoon"), Some("/run/ratoon/control.sock".into()));
        assert_eq!(place("/run/a:/run/b"), Some("/run/a/control.sock".into()));
        assert_eq!([place(""), place("run"), given(&Config::default(), None)], [None, None, None]);
    }

    #[test]
    fn what_a_command_is_told_goes_before_everything_else() {
        assert_eq!(to_ask(Some("/b".into()), || unreachable!()), Path::new("/b"));
    }
}
