//! `[control]`: where the supervisor can be asked.
//!
//! Owns which place that is, by the file or by systemd. Never opens the socket, and never reads the environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use super::address::LONGEST_UNIX_PATH;
use super::error::quoted;

/// What the socket is called in the directory that systemd gives.
const NAME: &str = "control.sock";

/// The `[control]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// The path of the control socket, absolute, at most 107 bytes; `None`: see [`Control::place`].
    #[serde(deserialize_with = "socket")]
    pub socket: Option<PathBuf>,
}

impl Control {
    /// Where the control socket is: `control.socket`, else `control.sock` in the first directory of
    /// `runtime_directory`, which is the value of `$RUNTIME_DIRECTORY` (systemd.exec(5)); `None` where neither is
    /// given, and then nobody can ask.
    pub fn place(&self, runtime_directory: Option<&OsStr>) -> Option<PathBuf> {
        let given = || {
            let first = std::env::split_paths(runtime_directory?).next()?;
            first.is_absolute().then(|| first.join(NAME))
        };
        self.socket.clone().or_else(given)
    }
}

fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let shown = quoted(&text);
    if let Some(path) = text.strip_prefix("unix:") {
        return Err(D::Error::custom(format!("{shown} is an address, and a path is wanted: write {}", quoted(path))));
    }
    if !Path::new(&text).is_absolute() || text.ends_with('/') || text.contains('\0') {
        return Err(D::Error::custom(format!(
            "{shown} is not the absolute path of a socket: write for example \"/run/ratoon/{NAME}\""
        )));
    }
    if text.len() > LONGEST_UNIX_PATH {
        let given = text.len();
        return Err(D::Error::custom(format!(
            "{shown} has {given} bytes, and the kernel takes {LONGEST_UNIX_PATH}: choose a shorter path"
        )));
    }
    Ok(Some(PathBuf::from(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_socket_is_where_the_file_or_else_systemd_says() {
        let (silent, told) = (Control::default(), Control { socket: Some("/run/x.sock".into()) });
        for (directory, by_systemd) in [
            (None, None),
            (Some(""), None),
            (Some("run"), None),
            (Some("/run/ratoon"), Some("/run/ratoon/control.sock")),
            (Some("/run/a:/run/b"), Some("/run/a/control.sock")),
        ] {
            let directory = directory.map(OsStr::new);
            assert_eq!(silent.place(directory), by_systemd.map(PathBuf::from), "{directory:?}");
            assert_eq!(told.place(directory), Some(PathBuf::from("/run/x.sock")));
        }
    }
}
