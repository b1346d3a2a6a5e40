//! Which system calls a process makes, as strace sees them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::process;

/// How often which was made while `deed` was done; waiting for events is left out, for how often that is depends on who is
/// quicker.
#[track_caller]
pub(super) fn made_by(pid: Pid, deed: impl FnOnce()) -> BTreeMap<String, usize> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("strace");
    command.args(["-p", &pid.to_string(), "-o"]).arg(file.path()).stderr(Stdio::piped());
    let mut strace = Tracer(command.spawn().expect("strace is there: tests/deps.sh"));
    let mut said = BufReader::new(strace.0.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("attached"), "{line}");
    deed();
    kill(Pid::from_raw(strace.0.id() as i32), Signal::SIGINT).unwrap();
    let _ = strace.0.wait();
    assert!(process::is_alive(pid));
    let mut calls = BTreeMap::new();
    for line in std::fs::read_to_string(file.path()).unwrap().lines() {
        if let Some((name, _)) = line.split_once('(').filter(|(name, _)| !name.starts_with("epoll_")) {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

/// Ended with the test.
struct Tracer(Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
