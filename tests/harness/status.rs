//! What a supervisor says of itself: `ratoon status --json`.

use std::process::Command;

use serde_json::Value;

use super::{Ratoon, errand, supervisor};

/// For a configuration: a control socket in the test's own directory.
pub const CONTROL: &str = "[control]\nsocket = \"DIR/control.sock\"\n";

impl Ratoon {
    /// The whole document, of a supervisor with [`CONTROL`].
    #[track_caller]
    pub fn status(&self) -> Value {
        let mut command = Command::new(supervisor());
        command.args(["status", "--json", "--socket"]).arg(self.directory().join("control.sock"));
        let output = errand::run(command.current_dir("/"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it says of one pool.
    #[track_caller]
    pub fn status_of(&self, pool: &str) -> Value {
        let status = self.status();
        let found = status["pools"].as_array().unwrap().iter().find(|each| each["pool"] == pool);
        found.unwrap_or_else(|| panic!("no pool {pool}: {status}")).clone()
    }
}
