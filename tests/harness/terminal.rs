//! `ratoon` with a terminal of its own: `script` (of Debian's bsdutils) is the terminal.

use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{RATOON, process};

/// See the module's header.
pub struct Terminal {
    process: Child,
    output: ChildStdout,
    shown: String,
}

impl Terminal {
    /// Runs `ratoon` with these arguments.
    pub fn open(arguments: &str) -> Terminal {
        // What follows on Ctrl-C is ratoon's to say, and no shell's that waits for it.
        let line = format!("exec {RATOON} {arguments}");
        let mut script = Command::new("script");
        script.args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]);
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/");
        script.envs([("LC_ALL", "C.UTF-8"), ("SHELL", "/bin/sh")]);
        let mut process = script.spawn().unwrap();
        let output = process.stdout.take().unwrap();
        Terminal { process, output, shown: String::new() }
    }

    /// Waits until this has been shown since the last time, and yields what was.
    #[track_caller]
    pub fn shows(&mut self, what: &str) -> String {
        let mut piece = [0; 4096];
        loop {
            if let Some(at) = self.shown.find(what) {
                let rest = self.shown.split_off(at + what.len());
                return std::mem::replace(&mut self.shown, rest);
            }
            let length = self.output.read(&mut piece).unwrap();
            assert!(length > 0, "it ended without {what:?}: {:?}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    }

    pub fn types(&mut self, keys: &str) {
        self.process.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// The rest, and the exit status.
    pub fn end(mut self) -> (String, Option<i32>) {
        self.output.read_to_string(&mut self.shown).unwrap();
        (std::mem::take(&mut self.shown), self.process.wait().unwrap().code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A supervisor does not end with its terminal.
        let script = Pid::from_raw(self.process.id() as i32);
        for pid in process::children(script, "") {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
