//! Servers of the tests' own that refuse to run as root: started as another user, and gone with whoever started them.
//!
//! Owns which user that is. A server ends with the *thread* that started it, so it belongs to one test and to no other.

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};
use tempfile::TempDir;

use super::memory;

/// The user; `None` where the tests run as an ordinary user themselves.
fn user() -> Option<User> {
    let known = |name: &str| User::from_name(name).unwrap();
    geteuid().is_root().then(|| known("postgres").or_else(|| known("nobody")).expect("there is a user but root"))
}

/// The user as a number.
pub fn uid() -> u32 {
    user().map_or_else(geteuid, |user| user.uid).as_raw()
}

/// `program`, to be run in `directory` as that user, and to be sent `signal` when the calling thread ends.
pub fn command(program: &Path, directory: &Path, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(user) = user() {
        command.args([format!("--reuid={}", user.uid), format!("--regid={}", user.gid), "--clear-groups".into()]);
    }
    command.arg(format!("--pdeathsig={signal}")).arg("--").arg(program);
    command.current_dir(directory).env("LC_ALL", "C").env_remove("PGDATA").stdin(Stdio::null());
    command
}

/// A directory that is that user's, and that everybody can look into.
pub fn directory() -> TempDir {
    let directory = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir();
    owned(directory.unwrap())
}

/// The same in memory, where there is some: see [`memory`].
pub fn directory_in_memory() -> TempDir {
    owned(memory::directory())
}

fn owned(directory: TempDir) -> TempDir {
    own(directory.path());
    directory
}

/// Makes a file that user's.
pub fn own(path: &Path) {
    if let Some(user) = user() {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}
