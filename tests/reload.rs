//! Promised: "a reload is a transaction": the new generation serves, or everything is as it was; no request is lost.

mod broken;
mod handed_on;
mod keys;
mod listeners;
mod load;
mod pools;
mod release;
mod scaling;
mod signals;
mod stop;
mod template;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{RATOON, Ratoon, SOON, eventually, fixture};

/// A pool of two workers of the fixture that are watched for a moment only, with these further lines.
#[track_caller]
fn web(lines: &str) -> String {
    asked(&fixture::pool("web", &format!("workers = 2\nsettle = \"50ms\"\n{lines}")))
}

/// This configuration, with a place where the supervisor can be asked.
fn asked(config: &str) -> String {
    format!("[control]\nsocket = \"DIR/control.sock\"\n{config}")
}

/// How a reload ended.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: Option<i32>,
    /// The last line.
    reason: String,
}

impl Outcome {
    #[track_caller]
    fn of(output: &Output) -> Outcome {
        let said: String = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
        Outcome { status: output.status.code(), reason: said.lines().last().unwrap_or_default().to_owned() }
    }
}

/// `ratoon reload` of these pools, or all.
fn reloading(ratoon: &Ratoon, pools: &[&str]) -> Command {
    let mut command = Command::new(RATOON);
    command.arg("reload").args(pools).arg("--socket").arg(ratoon.directory().join("control.sock"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn reload(ratoon: &Ratoon, pools: &[&str]) -> Outcome {
    Outcome::of(&reloading(ratoon, pools).output().unwrap())
}

/// Reloads everything, which has to succeed.
#[track_caller]
fn reload_well(ratoon: &Ratoon) {
    let outcome = reload(ratoon, &[]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}; the log:\n{}", ratoon.text());
}

/// What `ratoon status --json` says.
#[track_caller]
fn status(ratoon: &Ratoon) -> Value {
    let mut command = Command::new(RATOON);
    command.args(["status", "--json", "--socket"]).arg(ratoon.directory().join("control.sock"));
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

/// Waits until so many workers of a pool are ready and nobody else of it is alive; their generations.
#[track_caller]
fn generations(ratoon: &Ratoon, pool: &str, count: usize) -> Vec<i64> {
    let workers = ratoon.ready_workers(pool, count);
    workers.into_iter().map(|pid| generation(ratoon, pid)).collect()
}

/// The generation of a worker that was ready once.
#[track_caller]
fn generation(ratoon: &Ratoon, pid: Pid) -> i64 {
    ratoon.logged("ready", &[("pid", pid.as_raw().into())])["gen"].as_i64().unwrap()
}

/// Waits until so many lines say this.
#[track_caller]
fn logged_times(ratoon: &Ratoon, message: &str, times: usize) -> Vec<Value> {
    let what = format!("{times} times {message:?}");
    eventually(&what, SOON, || Some(ratoon.all_logged(message, &[])).filter(|lines| lines.len() >= times))
}

/// A word that keeps whoever obeys it until `file` is there.
fn until(file: &Path) -> String {
    format!("await:{}", file.to_str().unwrap().replace('/', "~"))
}

const ROLLING: &str = "every pool has a ready worker of the new generation: the old ones are replaced";
const SETTLING: &str = "the new generation serves alone: it is watched for settle";
const FAILED: &str = "reload failed: everything is as it was";
