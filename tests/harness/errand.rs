//! Commands that are run to their end, which has to come: one that waits for ever fails its test, and does not hang it.

use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than any of them takes, on a machine that is busy with other things.
const LONG_ENOUGH: Duration = Duration::from_secs(120);

/// What a command has said when it has ended.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let (ended, end) = mpsc::channel();
    let waiting = thread::spawn(move || ended.send(child.wait_with_output()));
    let output = end.recv_timeout(LONG_ENOUGH).unwrap_or_else(|_| {
        // Nobody has reaped it: as long as it is waited for, the pid is its own.
        let _ = kill(pid, Signal::SIGKILL);
        let _ = waiting.join();
        panic!("not ended within {LONG_ENOUGH:?}: {command:?}")
    });
    output.unwrap()
}
