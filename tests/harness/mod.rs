//! What the chapters stand on: a supervisor of one's own, a client that sees raw bytes, facts awaited with a deadline.
//!
//! Owns every process it starts: each supervisor leads a process group of its own, which is killed with the test.

pub mod admin;
pub mod browser;
pub mod certificates;
pub mod client;
pub mod door;
pub mod errand;
pub mod firewall;
pub mod fixture;
pub mod front;
pub mod install;
pub mod machine;
pub mod memory;
pub mod pgbouncer;
pub mod port;
pub mod postgres;
pub mod process;
pub mod relay;
pub mod sql;
pub mod status;
pub mod terminal;
pub mod traffic;
pub mod unprivileged;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

pub use admin::ADMIN;
pub use browser::Browser;
pub use client::{Client, Response, get};
pub use door::Door;
pub use firewall::Firewall;
pub use front::Front;
pub use install::{install, install_script};
pub use pgbouncer::PgBouncer;
pub use port::free_address;
pub use postgres::{Postgres, Stop};
pub use relay::{Cut, Relay};
pub use status::CONTROL;
pub use terminal::Terminal;
pub use traffic::Traffic;

/// The program under test.
pub const RATOON: &str = env!("CARGO_BIN_EXE_ratoon");

/// The supervisor that is started: the program under test, or another build of it that this variable names, as `make soak`
/// does, so that what is measured is what is shipped.
pub fn supervisor() -> PathBuf {
    std::env::var_os("RATOON_SUPERVISOR").map_or_else(|| RATOON.into(), |path| root().join(path))
}

/// Whether that is a release build: then its answers can be held to what was promised of their time.
pub fn is_optimised() -> bool {
    supervisor().parent().is_some_and(|place| place.ends_with("release"))
}

/// Long enough for anything that is to happen at once, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(60);

/// So long a stop may take, if nobody is to be killed at the default `stop_timeout`.
const IN_PEACE: Duration = Duration::from_secs(28);

/// Waits until `fact` yields something; fails, naming `what`, when `within` has passed.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut fact: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        rest(begun);
    }
}

/// Between two looks: a look at all processes takes longer than the shortest rest, from those who are waited for.
fn rest(begun: Instant) {
    std::thread::sleep((begun.elapsed() / 8).clamp(Duration::from_millis(2), Duration::from_millis(16)));
}

/// A running supervisor with its own directory, killed with everything it started when dropped.
pub struct Ratoon {
    directory: TempDir,
    process: Child,
    group: Pid,
    log: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Ratoon {
    /// Starts a supervisor and waits until it serves. In `config`, `DIR` stands for the test's own directory; a port
    /// of 0 becomes a free one.
    #[track_caller]
    pub fn serving(config: &str) -> Ratoon {
        let ratoon = Ratoon::start(config);
        ratoon.logged("serving: every pool has a ready worker", &[]);
        ratoon
    }

    /// Starts a supervisor.
    #[track_caller]
    pub fn start(config: &str) -> Ratoon {
        Ratoon::start_with(config, |_| {})
    }

    /// Starts a supervisor by a command that `change` has had its way with.
    #[track_caller]
    pub fn start_with(config: &str, change: impl FnOnce(&mut Command)) -> Ratoon {
        let directory = tempfile::tempdir().unwrap();
        let path = configure(directory.path(), config);
        let mut command = Command::new(supervisor());
        command.args(["run", "--config"]).arg(&path).current_dir(directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        change(&mut command);
        let mut process = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, pipe) = (log.clone(), process.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let group = Pid::from_raw(process.id() as i32);
        Ratoon { directory, process, group, log, reader }
    }

    /// Writes another configuration where this one was read; as in [`Ratoon::serving`], `DIR` stands for the directory.
    pub fn configure(&self, config: &str) {
        configure(self.directory(), config);
    }

    /// The test's own directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the first pool's first listener is.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.address_of("web")
    }

    /// Where a pool's first TCP listener is.
    #[track_caller]
    pub fn address_of(&self, pool: &str) -> SocketAddr {
        eventually("the log names the address", SOON, || {
            self.lines().iter().find_map(|line| {
                let message = line["message"].as_str()?.strip_prefix("listening on ")?.to_owned();
                (line["pool"] == pool).then(|| message.parse().ok())?
            })
        })
    }

    /// The supervisor's pid.
    pub fn pid(&self) -> Pid {
        self.group
    }

    /// The workers of a pool that are alive, by slot.
    pub fn workers(&self, pool: &str) -> Vec<Pid> {
        process::children(self.group, &format!("ratoon: {pool} worker "))
    }

    /// Waits until so many workers are *ready*: they have said so in the log and are alive.
    #[track_caller]
    pub fn ready_workers(&self, pool: &str, count: usize) -> Vec<Pid> {
        eventually(&format!("{count} ready workers in {pool}; log:\n{}", self.text()), SOON, || {
            let lines = self.lines();
            let is_ready =
                |pid: &Pid| lines.iter().any(|line| line["message"] == "ready" && line["pid"] == pid.as_raw());
            let ready: Vec<Pid> = self.workers(pool).into_iter().filter(is_ready).collect();
            (ready.len() == count).then_some(ready)
        })
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.group, signal).unwrap();
    }

    /// The log so far, line by line; a line that is no JSON is a line with that message.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.log.lock().unwrap();
        let read =
            |line: &String| serde_json::from_str(line).unwrap_or_else(|_| serde_json::json!({ "message": line }));
        lines.iter().map(read).collect()
    }

    /// The log so far, as it was written.
    pub fn text(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for a log line with this message and these fields.
    #[track_caller]
    pub fn logged(&self, message: &str, fields: &[(&str, Value)]) -> Value {
        let what = format!("a log line {message:?} with {fields:?}");
        let begun = Instant::now();
        loop {
            let found = self.all_logged(message, fields);
            if let Some(line) = found.into_iter().next() {
                return line;
            }
            assert!(begun.elapsed() < SOON, "no {what}; the log:\n{}", self.text());
            rest(begun);
        }
    }

    /// The log lines so far with this message and these fields.
    pub fn all_logged(&self, message: &str, fields: &[(&str, Value)]) -> Vec<Value> {
        let is_it = |line: &Value| line["message"] == message && fields.iter().all(|(key, value)| &line[*key] == value);
        self.lines().into_iter().filter(is_it).collect()
    }

    /// Waits for the supervisor's end.
    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(
                begun.elapsed() < within,
                "the supervisor is still there after {within:?}; its log:\n{}",
                self.text()
            );
            rest(begun);
        }
    }

    /// Waits until the supervisor has left with status 0, nobody is left, and all that any of them said has been read.
    #[track_caller]
    pub fn leaves_in_peace(&mut self) {
        let status = self.wait_exit(IN_PEACE);
        assert!(status.success(), "{status}");
        assert_eq!(self.family(), []);
        eventually("everybody has stopped writing to the log", SOON, || self.reader.is_finished().then_some(()));
        // It has said its last before the kernel is done with it.
        eventually("the log process is gone", SOON, || self.everybody().is_empty().then_some(()));
    }

    /// Whether the supervisor is still there.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// The processes of the supervisor's group that are alive, the log process aside, which every supervisor has.
    pub fn family(&self) -> Vec<Pid> {
        self.everybody().into_iter().filter(|pid| !is_log_process(*pid)).collect()
    }

    /// The same with the log process.
    pub fn everybody(&self) -> Vec<Pid> {
        process::group(self.group)
    }

    /// The supervisor's children that are alive, the log process aside.
    pub fn children(&self) -> Vec<Pid> {
        process::children(self.group, "").into_iter().filter(|pid| !is_log_process(*pid)).collect()
    }
}

impl Drop for Ratoon {
    fn drop(&mut self) {
        let _ = killpg(self.group, Signal::SIGKILL);
        let _ = self.process.wait();
        let begun = Instant::now();
        while !self.everybody().is_empty() && begun.elapsed() < SOON {
            let _ = killpg(self.group, Signal::SIGKILL);
            rest(begun);
        }
        if std::thread::panicking() {
            eprintln!("the supervisor's log:\n{}", self.text());
        } else {
            assert!(self.everybody().is_empty(), "processes were left behind: {:?}", self.everybody());
        }
    }
}

/// Also of one that is on its way out, and has a name, but no title any more.
fn is_log_process(pid: Pid) -> bool {
    [process::title(pid), process::name(pid)].iter().any(|its| its.starts_with("ratoon: log"))
}

fn configure(directory: &Path, config: &str) -> PathBuf {
    let path = directory.join("config.toml");
    std::fs::write(&path, config.replace("DIR", directory.to_str().unwrap())).unwrap();
    path
}

/// Lets this process have as many descriptors as it may: for tests with a thousand connections.
pub fn raise_descriptor_limit() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// Raises a flag when it goes, however it goes: the clients of a test that fails must not run on.
pub struct RaisedAtTheEnd<'a>(pub &'a AtomicBool);

impl Drop for RaisedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Has `outer` execute what `command` would have.
pub fn wrap(command: &mut Command, outer: &[&str]) {
    let mut wrapped = Command::new(outer[0]);
    wrapped.args(&outer[1..]).arg(command.get_program()).args(command.get_args());
    wrapped.current_dir(command.get_current_dir().unwrap());
    wrapped.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    *command = wrapped;
}

/// When a log line was written, since midnight.
#[track_caller]
pub fn time_of(line: &Value) -> Duration {
    let time = line["time"].as_str().and_then(|time| time.split_once('T')?.1.strip_suffix('Z')).unwrap();
    let seconds = time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap());
    Duration::from_secs_f64(seconds)
}

/// The path of one of the tests' programs, built if it was not.
#[track_caller]
pub fn example(name: &str) -> PathBuf {
    build(&["--workspace", "--example", name]).join("examples").join(name)
}

/// Waits for a line of a file that has all these words.
#[track_caller]
pub fn says(file: &Path, words: &[&str]) {
    eventually(&format!("{} has a line with {words:?}", file.display()), SOON, || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    });
}

/// The path of one of the examples that a reader can start from, built if it was not.
#[track_caller]
pub fn application(name: &str) -> PathBuf {
    build(&["--workspace", "--bin", name]).join(name)
}

/// Has cargo build something; yields where programs then are.
#[track_caller]
fn build(what: &[&str]) -> &'static Path {
    let built = Path::new(RATOON).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline"]).args(what).current_dir(root());
    cargo.arg("--target-dir").arg(built.parent().unwrap());
    // What cargo tells the tests of their own package would have crates built anew that look at it.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name.as_ref());
        }
    }
    if built.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    built
}

/// Runs `ratoon` to its end.
pub fn ratoon(arguments: &[&str]) -> Output {
    errand::run(Command::new(RATOON).args(arguments))
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
