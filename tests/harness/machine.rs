//! A machine of a test's own with a real systemd: `tests/systemd/box.sh` has it boot, and takes it down with the test.
//!
//! Owns the way in: its files, its commands, its network. Where this machine cannot have another inside it, the test
//! fails and says so.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use super::{RATOON, SOON, eventually, fixture, root};

/// How long a command inside may take: longer than whatever systemd waits for in these tests.
const COMMAND: &str = "60";

/// Where the shipped unit finds its configuration.
pub const CONFIG: &str = "/etc/ratoon/config.toml";

/// See the module's header.
pub struct Machine {
    script: Child,
    /// Open for as long as it is to live.
    leash: Option<ChildStdin>,
    /// Its process 1, as it is seen from here.
    first: Pid,
}

impl Machine {
    /// One with `ratoon` and the fixture in /usr/local/bin, and the shipped units where `systemctl` finds them.
    #[track_caller]
    pub fn boot() -> Machine {
        Machine::boot_with(|_| {})
    }

    /// One whose boot `change` has had its way with.
    #[track_caller]
    pub fn boot_with(change: impl FnOnce(&mut Command)) -> Machine {
        let fixture = fixture::program().display().to_string();
        let mut command = Command::new(root().join("tests/systemd/box.sh"));
        command.args([format!("{RATOON}:/usr/local/bin/ratoon"), format!("{fixture}:/usr/local/bin/fixture")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        change(&mut command);
        let mut script = command.spawn().unwrap();
        let leash = script.stdin.take();
        let mut line = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(first) = line.trim().parse() else {
            let mut why = String::new();
            script.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            panic!(
                "no systemd for this test, so nothing is proven: {why}where that cannot be helped: cargo test -- --skip systemd::"
            );
        };
        let machine = Machine { script, leash, first: Pid::from_raw(first) };
        for unit in std::fs::read_dir(root().join("systemd")).unwrap().flatten() {
            let name = unit.file_name().into_string().unwrap();
            if unit.path().is_file() {
                machine.write(&format!("/etc/systemd/system/{name}"), &std::fs::read_to_string(unit.path()).unwrap());
            }
        }
        machine
    }

    /// One in which `ratoon.service` runs with this configuration, and serves.
    #[track_caller]
    pub fn serving(config: &str) -> Machine {
        let machine = Machine::boot();
        machine.write(CONFIG, config);
        machine.succeeds(&["systemctl", "daemon-reload"]);
        machine.succeeds(&["systemctl", "start", "ratoon"]);
        machine
    }

    /// A path inside, as it is reached from here.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.first))
    }

    /// Writes a file inside, everybody may read it.
    #[track_caller]
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A drop-in of a unit; to be followed by a `daemon-reload`, which this does.
    #[track_caller]
    pub fn drop_in(&self, unit: &str, text: &str) {
        self.write(&format!("/etc/systemd/system/{unit}.d/test.conf"), text);
        self.succeeds(&["systemctl", "daemon-reload"]);
    }

    /// A command, to be run inside.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.first.to_string(), "-m", "-u", "-i", "-n", "-p", "-C", "--"]);
        command.args(["timeout", COMMAND]).args(words).stdin(Stdio::null());
        command.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("SYSTEMD_COLORS", "0");
        command
    }

    /// Runs a command inside, to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs a command inside that must succeed; what it says.
    #[track_caller]
    pub fn succeeds(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(
            output.status.success(),
            "{words:?}: {}: {}{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.journal("ratoon")
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What a unit has said.
    pub fn journal(&self, unit: &str) -> String {
        let output = self.run(&["journalctl", "-u", unit, "-o", "cat", "--no-pager"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until a unit has said this.
    #[track_caller]
    pub fn said(&self, unit: &str, words: &str) {
        let begun = Instant::now();
        while !self.journal(unit).contains(words) {
            assert!(begun.elapsed() < SOON, "{unit} never said {words:?}:\n{}", self.journal(unit));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.succeeds(&["systemctl", "show", "--value", "-p", name, unit])
    }

    /// The unit's main process, as it is seen from here.
    #[track_caller]
    pub fn main_process(&self, unit: &str) -> Pid {
        let inside = self.property(unit, "MainPID");
        let is_it = |pid: &Pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default().to_owned();
            let numbers: Vec<&str> = line.split_whitespace().collect();
            numbers.len() > 1 && numbers.last() == Some(&inside.as_str()) && self.is_inside(*pid)
        };
        eventually(&format!("the main process of {unit}"), SOON, || super::process::all().find(is_it))
    }

    /// Whether a process is one of this machine's.
    fn is_inside(&self, pid: Pid) -> bool {
        let space = |pid: Pid| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        space(pid).is_some_and(|its| Some(its) == space(self.first))
    }

    /// What the supervisor says of itself.
    #[track_caller]
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.succeeds(&["ratoon", "status", "--json"])).unwrap()
    }

    /// Does something in this machine's network.
    #[track_caller]
    pub fn in_its_network<T: Send>(&self, deed: impl FnOnce() -> T + Send) -> T {
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.first)).unwrap();
        std::thread::scope(|scope| {
            let there = scope.spawn(move || {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                deed()
            });
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// One GET on a connection of its own, in its network.
    #[track_caller]
    pub fn get(&self, address: &str, target: &str) -> super::Response {
        let address = address.parse().unwrap();
        self.in_its_network(|| super::get(address, target))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the journal of ratoon.service:\n{}", self.journal("ratoon"));
        }
        drop(self.leash.take());
        let begun = Instant::now();
        while self.script.try_wait().unwrap().is_none() {
            if begun.elapsed() > SOON {
                let _ = kill(Pid::from_raw(self.script.id() as i32), Signal::SIGTERM);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let is_left = Path::new(&format!("/proc/{}/root/etc", self.first)).exists() && self.is_inside(self.first);
        if !std::thread::panicking() {
            assert!(!is_left, "the box was left behind");
        }
    }
}
