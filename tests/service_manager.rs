//! Promised: "the service manager is told the truth": when it serves, reloads or stops, how things stand, and that the
//! supervisor lives.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};

use crate::harness::{Ratoon, SOON, fixture, get};

/// A manager's socket, and what has been read from it.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn at(address: &SocketAddr) -> Manager {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        Manager { socket, heard: Vec::new() }
    }

    /// One with a name of its own among the abstract ones, and that name.
    fn named(name: &str) -> (Manager, String) {
        let name = format!("ratoon-test-{}-{name}", std::process::id());
        (Manager::at(&SocketAddr::from_abstract_name(&name).unwrap()), format!("@{name}"))
    }

    /// Waits until a message has a line that begins so; the line.
    #[track_caller]
    fn hears(&mut self, start: &str) -> String {
        let begun = Instant::now();
        loop {
            let patience = SOON.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(patience)).unwrap();
            let mut word = [0; 4096];
            let length = self.socket.recv(&mut word);
            let length = length.unwrap_or_else(|error| panic!("no {start:?}: {error}; heard: {:?}", self.heard));
            let text = String::from_utf8_lossy(&word[..length]).into_owned();
            let found = text.lines().find(|line| line.starts_with(start)).map(str::to_owned);
            self.heard.push(text);
            if let Some(line) = found {
                return line;
            }
        }
    }

    /// Reads what is there.
    fn listen(&mut self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut word = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut word) {
            self.heard.push(String::from_utf8_lossy(&word[..length]).into_owned());
        }
        self.socket.set_nonblocking(false).unwrap();
    }

    /// What was said of the daemon's own state so far, in its order.
    fn states(&mut self) -> Vec<String> {
        self.listen();
        let states = ["READY=1", "RELOADING=1", "STOPPING=1"];
        self.heard
            .iter()
            .flat_map(|text| text.lines())
            .filter(|line| states.contains(line))
            .map(str::to_owned)
            .collect()
    }
}

fn start(config: &str, name: &str) -> Ratoon {
    Ratoon::start_with(config, |command| {
        command.env("NOTIFY_SOCKET", name);
    })
}

/// One life of a daemon with two pools, as its manager sees it through `name`.
fn live(mut manager: Manager, name: &str) {
    let config = fixture::pool("quick", "workers = 2")
        + &fixture::pool("slow", "workers = 2\nsettings = { start = \"await:go\" }");
    let mut ratoon = start(&config, name);
    let workers = ratoon.ready_workers("quick", 2);
    ratoon.logged("template loaded", &[("pool", "slow".into())]);
    assert_eq!(get(ratoon.address_of("quick"), "/environment:NOTIFY_SOCKET").text(), "unset");
    assert_eq!(manager.states(), [""; 0]);

    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    manager.hears("READY=1");
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let order: Vec<_> =
        ratoon.lines().into_iter().map(|line| (line["pool"].clone(), line["message"].clone())).collect();
    let place = |pool: Option<&str>, message: &str| {
        order.iter().position(|(its, said)| its.as_str() == pool && said == message).unwrap()
    };
    let serving = place(None, "serving: every pool has a ready worker");
    assert!(place(Some("slow"), "ready") < serving && place(Some("quick"), "ready") < serving);

    kill(workers[0], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[]);
    ratoon.ready_workers("quick", 2);
    assert_eq!(manager.states(), ["READY=1"]);

    ratoon.signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    ratoon.leaves_in_peace();
    assert_eq!(manager.states(), ["READY=1", "STOPPING=1"]);
}

/// "READY=1 comes once, when every pool has had its first ready worker; no child inherits the way to the manager."
#[test]
fn the_manager_hears_ready_once_when_every_pool_serves_and_stopping_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    live(Manager::at(&SocketAddr::from_pathname(&path).unwrap()), path.to_str().unwrap());
}

#[test]
fn an_abstract_socket_is_a_manager_as_well() {
    let (manager, name) = Manager::named("abstract");
    live(manager, &name);
}

/// "A manager that has gone away costs a line in the log."
#[test]
fn without_anybody_at_the_socket_it_serves_all_the_same() {
    let ratoon = start(&fixture::pool("web", "workers = 1"), "/nonexistent/notify");
    ratoon.logged("serving: every pool has a ready worker", &[]);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    assert_eq!(ratoon.all_logged("the service manager does not listen", &[]).len(), 1);
}

/// "What it must know arrives even if it does not read for a while."
#[test]
fn a_manager_that_reads_late_still_hears_that_it_is_ready() {
    let (mut manager, name) = Manager::named("late");
    let flood = UnixDatagram::unbound().unwrap();
    flood.set_nonblocking(true).unwrap();
    let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
    while flood.send_to_addr(b"X_FLOOD=1", &address).is_ok() {}
    let ratoon = start(&fixture::pool("web", "workers = 1"), &name);
    ratoon.logged("serving: every pool has a ready worker", &[]);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    manager.hears("READY=1");
}

/// "What it must know arrives", though the program that owes it has become another in between.
#[test]
fn a_manager_that_reads_late_hears_of_a_reload_that_was_over_before_an_upgrade() {
    let (mut manager, name) = Manager::named("successor");
    let ratoon = start(&fixture::pool("web", "workers = 1\nsettle = \"0s\""), &name);
    manager.hears("READY=1");
    let flood = UnixDatagram::unbound().unwrap();
    flood.set_nonblocking(true).unwrap();
    let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
    while flood.send_to_addr(b"X_FLOOD=1", &address).is_ok() {}
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    ratoon.signal(Signal::SIGUSR2);
    ratoon.logged("upgraded: this program has taken over", &[]);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    assert_eq!(manager.states(), ["READY=1", "RELOADING=1", "READY=1"]);
}

fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into()
}

#[test]
fn a_reload_is_announced_with_its_moment_and_ends_with_ready_however_it_ends() {
    let (mut manager, name) = Manager::named("reload");
    let ratoon = start(&fixture::pool("web", "workers = 1\nsettle = \"0s\""), &name);
    manager.hears("READY=1");
    let before = now();
    for lines in ["settings = { load = \"error:broken\" }", "settle = \"0s\""] {
        ratoon.configure(&fixture::pool("web", &format!("workers = 1\n{lines}")));
        ratoon.signal(Signal::SIGHUP);
        manager.hears("RELOADING=1");
        let said = manager.heard.last().unwrap().lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        let said = Duration::from_micros(said.parse().unwrap());
        assert!(before.as_micros() <= said.as_micros() && said <= now(), "{before:?} {said:?}");
        manager.hears("READY=1");
    }
    assert_eq!(manager.states(), ["READY=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1"]);
    assert!(manager.heard.iter().any(|text| text.contains("RELOADING=1") && text.contains("EXTEND_TIMEOUT_USEC=")));
    ratoon.logged("reloaded", &[]);
    assert_eq!(ratoon.all_logged("reloaded", &[]).len(), 1);
}

#[test]
fn a_stop_asks_for_the_time_it_may_take() {
    let (mut manager, name) = Manager::named("stop");
    let lines = "workers = 1\ndrain_delay = \"1ms\"\nstop_timeout = \"70s\"";
    let mut ratoon = start(&fixture::pool("web", lines), &name);
    manager.hears("READY=1");
    ratoon.signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    assert_eq!(manager.heard.last().unwrap(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=75001000");
    ratoon.leaves_in_peace();
}

#[test]
fn how_things_stand_is_told_in_one_line_and_again_only_when_it_differs() {
    let (mut manager, name) = Manager::named("status");
    let failing = fixture::pool("jobs", "workers = 1\nboot_timeout = \"5s\"\nsettings = { start = \"await:go\" }");
    let ratoon = start(&(fixture::pool("web", "workers = 2") + &failing), &name);
    manager.hears("STATUS=starting: web: 0/2 busy, 0 waiting, gen 1; jobs: 0/0 busy, 0 waiting, gen 1, 1 starting");
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    manager.hears("STATUS=web: 0/2 busy, 0 waiting, gen 1; jobs: 0/1 busy, 0 waiting, gen 1");
    let _held = ratoon.engage(ratoon.address(), "await:end");
    manager.hears("STATUS=web: 1/2 busy, 0 waiting, gen 1; jobs: 0/1 busy");
    // Longer than the pause between two looks.
    std::thread::sleep(Duration::from_secs(7));
    manager.listen();
    let lines: Vec<&str> = manager.heard.iter().filter_map(|text| text.strip_prefix("STATUS=")).collect();
    let repeated = lines.windows(2).any(|pair| pair[0] == pair[1]);
    assert!(!repeated, "{lines:?}");
    std::fs::write(ratoon.directory().join("end"), "").unwrap();
}

/// The supervisor with a watchdog of this patience.
fn watched(name: &str, patience: Duration, whose: impl ToString) -> Ratoon {
    Ratoon::start_with(&fixture::pool("web", "workers = 1"), |command| {
        command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", patience.as_micros().to_string());
        command.env("WATCHDOG_PID", whose.to_string());
    })
}

#[test]
fn the_loop_shows_that_it_lives_and_one_that_hangs_does_not() {
    let (mut manager, name) = Manager::named("watchdog");
    let shell = "export WATCHDOG_PID=$$; exec \"$0\" \"$@\"";
    let ratoon = Ratoon::start_with(&fixture::pool("web", "workers = 1"), |command| {
        crate::harness::wrap(command, &["sh", "-c", shell]);
        command.env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "400000");
    });
    manager.hears("READY=1");
    for _ in 0..5 {
        manager.hears("WATCHDOG=1");
    }
    assert_eq!(get(ratoon.address(), "/environment:WATCHDOG_USEC").text(), "unset");
    ratoon.signal(Signal::SIGSTOP);
    manager.socket.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
    let mut word = [0; 4096];
    // What was on its way when it stopped.
    let mut beats = 0;
    while manager.socket.recv(&mut word).is_ok() {
        beats += 1;
    }
    assert!(beats < 4, "a stopped supervisor said {beats} things");
    ratoon.signal(Signal::SIGCONT);
    manager.hears("WATCHDOG=1");
}

#[test]
fn a_watchdog_that_waits_for_another_process_is_told_nothing() {
    let (mut manager, name) = Manager::named("others");
    let ratoon = watched(&name, Duration::from_millis(2), 1);
    manager.hears("READY=1");
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    manager.hears("STATUS=");
    assert!(!manager.heard.iter().any(|text| text.contains("WATCHDOG")), "{:?}", manager.heard);
}
