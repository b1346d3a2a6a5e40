//! Programs that a test puts somewhere, to be executed there.
//!
//! Written by another process: a descriptor of ours that is open for writing may be inherited by whatever another test
//! executes at this moment, and would keep the program from being executed.

use std::path::Path;
use std::process::Command;

/// Puts a copy of a program there, with this mode, in the place of what was there before.
#[track_caller]
pub fn install(from: &Path, to: &Path, mode: &str) {
    let new = to.with_extension("new");
    let status = Command::new("install").args(["-m", mode]).arg(from).arg(&new).status().unwrap();
    assert!(status.success());
    std::fs::rename(new, to).unwrap();
}

/// The same with a script, whose text this is.
#[track_caller]
pub fn install_script(text: &str, to: &Path) {
    let script = to.with_extension("script");
    std::fs::write(&script, text).unwrap();
    install(&script, to, "0755");
}
