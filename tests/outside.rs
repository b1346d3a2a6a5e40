//! The README says: this is a whole program. It stands there as `<!-- example -->` and a block of Rust, and is built
//! here as a reader would: in a crate of their own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::harness::{RATOON, Ratoon, SOON, eventually, get, install, process, root};

/// More than this is no short example.
const LONGEST: usize = 20;

#[test]
fn the_readmes_example_is_a_whole_program_that_runs_by_hand_and_supervised() {
    let example = example();
    assert!((1..=LONGEST).contains(&example.lines().count()), "{} lines:\n{example}", example.lines().count());
    let directory = tempfile::tempdir().unwrap();
    let program = build(&directory, &example);
    runs_by_hand(&program);
    runs_supervised(&program);
}

/// The block of Rust that follows the mark.
#[track_caller]
fn example() -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let block = readme.split_once("<!-- example -->").map(|(_, rest)| rest.trim_start());
    let block = block.and_then(|rest| rest.strip_prefix("```rust\n")?.split_once("\n```"));
    block.expect("README.md has <!-- example --> and a block of rust after it").0.to_owned()
}

/// Builds the program in a crate of its own that depends on the library here. What it depends on is at hand, for this
/// was built with it; so no network is needed, and the target directory here saves the time.
#[track_caller]
fn build(directory: &TempDir, example: &str) -> PathBuf {
    let worker = root().join("worker");
    let manifest = format!(
        "[package]\nname = \"outside\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nratoon-worker = {{ path = {worker:?} }}\n\n[workspace]\n"
    );
    let place = directory.path();
    std::fs::write(place.join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(root().join("Cargo.lock"), place.join("Cargo.lock")).unwrap();
    std::fs::create_dir(place.join("src")).unwrap();
    std::fs::write(place.join("src/main.rs"), example).unwrap();
    let target = Path::new(RATOON).ancestors().nth(2).unwrap();
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments).args(["--quiet", "--offline", "--target-dir"]).arg(target).current_dir(place);
        let output = cargo.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(said, "", "not a warning");
    };
    cargo(&["build"]);
    let program = place.join("program");
    install(&target.join("debug/outside"), &program, "0755");
    // The next run's crate is another one to Cargo: this one's leavings would only pile up.
    cargo(&["clean", "-p", "outside"]);
    program
}

#[track_caller]
fn runs_by_hand(program: &Path) {
    let mut command = Command::new(program);
    command.env("RATOON_LISTEN", "127.0.0.1:0").stdin(Stdio::null()).stderr(Stdio::piped());
    let mut process = Killed(command.spawn().unwrap());
    let address = address_said(&mut process.0);
    answers(address);
    let pid = Pid::from_raw(process.0.id() as i32);
    assert_eq!(process::threads(pid), 1, "no thread but its own");
    kill(pid, Signal::SIGTERM).unwrap();
    let status = eventually("TERM ends it", SOON, || process.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[track_caller]
fn answers(address: SocketAddr) {
    let answer = get(address, "/");
    assert_eq!(answer.status, 200);
    assert!(!answer.body.is_empty());
}

/// The address in the program's first words.
#[track_caller]
fn address_said(process: &mut Child) -> SocketAddr {
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("http://")?;
        rest.split(|c: char| !(c.is_ascii_digit() || ".:".contains(c))).next()?.parse().ok()
    });
    // What else it says is read, or it would have nowhere to say it.
    std::thread::spawn(move || lines.for_each(drop));
    address.expect("the program says where it listens")
}

#[track_caller]
fn runs_supervised(program: &Path) {
    let mut ratoon =
        Ratoon::serving(&format!("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\nprogram = [{program:?}]\n"));
    let workers = ratoon.ready_workers("web", 2);
    answers(ratoon.address());
    for pid in ratoon.family() {
        assert_eq!(process::threads(pid), 1, "{} has no thread but its own", process::title(pid));
    }
    assert_eq!(ratoon.workers("web"), workers);
    ratoon.signal(Signal::SIGTERM);
    assert_eq!(ratoon.wait_exit(SOON).code(), Some(0));
}

/// A process that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
