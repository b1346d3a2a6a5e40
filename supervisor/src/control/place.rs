//! Where the control socket is: on one side where it is opened, on the other where it is looked for.
//!
//! Owns the order of the places. Never touches the file system; the environment's words are read here and nowhere else.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where an operator's command looks when nobody says anything: where the shipped unit puts it.
const USUAL: &str = "/run/ratoon/control.sock";

/// Names the socket to ask, for an operator's shell.
const SOCKET: &str = "RATOON_SOCKET";

/// Set by systemd for a unit with `RuntimeDirectory=`: one directory, or several with colons between them.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// Where a supervisor opens its socket: where the configuration says, else in systemd's runtime directory; `None`
/// means that it has none.
pub fn to_open(configured: Option<&Path>) -> Option<PathBuf> {
    configured.map(Path::to_owned).or_else(|| in_directory(env::var_os(RUNTIME_DIRECTORY)))
}

/// Where a command asks: where it is told to, else where `RATOON_SOCKET` says, else where a supervisor of this
/// configuration and environment opens it, else where the shipped unit does.
pub fn to_ask(named: Option<PathBuf>, configured: impl FnOnce() -> Option<PathBuf>) -> PathBuf {
    named
        .or_else(|| env::var_os(SOCKET).filter(|path| !path.is_empty()).map(PathBuf::from))
        .or_else(|| to_open(configured().as_deref()))
        .unwrap_or_else(|| PathBuf::from(USUAL))
}

fn in_directory(directories: Option<OsString>) -> Option<PathBuf> {
    let directories = directories?;
    let first = directories.as_bytes().split(|byte| *byte == b':').next().filter(|first| !first.is_empty())?;
    Some(Path::new(std::ffi::OsStr::from_bytes(first)).join("control.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_stands_in_the_first_runtime_directory() {
        let place = |directories: &str| in_directory(Some(directories.into()));
        assert_eq!(place("/run/ratoon"), Some("/run/ratoon/control.sock".into()));
        assert_eq!(place("/run/a:/run/b"), Some("/run/a/control.sock".into()));
        assert_eq!(place(""), None);
        assert_eq!(in_directory(None), None);
    }

    #[test]
    fn what_is_said_goes_before_what_is_configured() {
        assert_eq!(to_open(Some(Path::new("/a"))), Some("/a".into()));
        assert_eq!(to_ask(Some("/b".into()), || Some("/a".into())), Path::new("/b"));
    }
}
