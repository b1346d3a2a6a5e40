//! The file that standard error is, if it is one: whoever rotates logs moves it away and has it opened anew.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{dup2_stderr, dup2_stdout};

/// The file that standard error was when this process began, if it was a regular one.
pub fn find() -> Option<PathBuf> {
    let is_file = std::fs::metadata(STDERR).is_ok_and(|file| file.is_file());
    is_file.then(|| std::fs::read_link(STDERR).ok()).flatten()
}

/// Opens it anew, as standard error of this process.
///
/// # Errors
/// What open says; then everything is as it was.
pub fn reopen(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    become_standard_error(&file)?;
    Ok(file)
}

/// What somebody else has opened anew is our standard error, too.
pub(crate) fn adopt(descriptors: Vec<OwnedFd>) {
    for file in descriptors {
        if let Err(error) = become_standard_error(&file) {
            tracing::error!(%error, "cannot write to the log that was opened anew");
        }
    }
}

const STDOUT: &str = "/proc/self/fd/1";
const STDERR: &str = "/proc/self/fd/2";

/// Standard output goes with it, if it is the same file.
fn become_standard_error(file: &impl AsFd) -> io::Result<()> {
    let identity = |path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let both = identity(STDOUT).is_some() && identity(STDOUT) == identity(STDERR);
    dup2_stderr(file)?;
    if both {
        dup2_stdout(file)?;
    }
    Ok(())
}
