//! Promised: "on USR2 the supervisor becomes a newer program in place": same pid, same workers, nothing lost.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{CONTROL, Client, Door, RATOON, Ratoon, SOON, Traffic, eventually, fixture, get, process};

const TAKEN_OVER: &str = "upgraded: this program has taken over";
const FAILED: &str = "upgrade failed: the old program goes on";
const CHECKS: &str = "upgrade: the new program checks the state it would be handed";

/// A supervisor that was started from a program of the test's own, which the test replaces.
struct Upgradable {
    ratoon: Ratoon,
    place: TempDir,
}

impl std::ops::Deref for Upgradable {
    type Target = Ratoon;

    fn deref(&self) -> &Ratoon {
        &self.ratoon
    }
}

impl Upgradable {
    #[track_caller]
    fn serving(config: &str) -> Upgradable {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("ratoon");
        install(Path::new(RATOON), &program, "0755");
        let ratoon = Ratoon::start_with(config, |command| {
            let mut ours = Command::new(&program);
            ours.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
            ours.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
            *command = ours;
        });
        ratoon.logged("serving: every pool has a ready worker", &[]);
        Upgradable { ratoon, place }
    }

    fn program(&self) -> PathBuf {
        self.place.path().join("ratoon")
    }

    /// Puts another copy of the same program in the place of the one that runs.
    fn install(&self) {
        install(Path::new(RATOON), &self.program(), "0755");
    }

    /// Puts a script there; in it, `@ratoon@` stands for the real program.
    fn install_script(&self, text: &str) {
        let script = self.place.path().join("script");
        std::fs::write(&script, format!("#!/bin/sh\n{}\n", text.replace("@ratoon@", RATOON))).unwrap();
        install(&script, &self.program(), "0755");
    }

    /// Asks for an upgrade, and waits until there has been one.
    #[track_caller]
    fn upgrade(&self) {
        let before = self.ratoon.all_logged(TAKEN_OVER, &[]).len();
        self.ratoon.signal(Signal::SIGUSR2);
        eventually(&format!("an upgrade; the log:\n{}", self.ratoon.text()), SOON, || {
            (self.ratoon.all_logged(TAKEN_OVER, &[]).len() > before).then_some(())
        });
    }

    /// Which file it executes.
    fn executes(&self) -> (u64, u64) {
        let file = std::fs::metadata(format!("/proc/{}/exe", self.ratoon.pid())).unwrap();
        (file.dev(), file.ino())
    }

    fn installed(&self) -> (u64, u64) {
        let file = std::fs::metadata(self.program()).unwrap();
        (file.dev(), file.ino())
    }
}

/// By another process: a descriptor of ours that is open for writing may be inherited by whatever another test executes
/// at this moment, and would keep the program from being executed.
#[track_caller]
fn install(from: &Path, to: &Path, mode: &str) {
    let new = to.with_extension("new");
    let status = Command::new("install").args(["-m", mode]).arg(from).arg(&new).status().unwrap();
    assert!(status.success());
    std::fs::rename(new, to).unwrap();
}

fn two_doors(ratoon: &Ratoon) -> [Door; 2] {
    [Door::Tcp(ratoon.address()), Door::Unix(ratoon.directory().join("web"))]
}

/// A pool of the fixture over TCP and over a Unix socket, and a control socket.
fn config(lines: &str) -> String {
    let listen = r#"listen = ["127.0.0.1:0", "unix:DIR/web"]"#;
    CONTROL.to_owned() + &fixture::pool("web", lines).replace(r#"listen = ["127.0.0.1:0"]"#, listen)
}

/// "USR2 under load: same pid, same worker pids, 0 lost; then a HUP and a crash are handled by the new binary."
#[test]
fn an_upgrade_under_load_keeps_pid_and_workers_and_loses_nothing() {
    let mut ratoon = Upgradable::serving(&config("workers = 4\nsettle = \"100ms\""));
    let workers = ratoon.ready_workers("web", 4);
    let traffic = Traffic::begin(&two_doors(&ratoon), 8, &["ok", "sleep:5", "sleep:30"]);
    traffic.goes_on(200);
    for _ in 0..3 {
        let before = ratoon.executes();
        ratoon.install();
        ratoon.upgrade();
        assert_eq!(ratoon.executes(), ratoon.installed());
        assert_ne!(ratoon.executes(), before);
        traffic.goes_on(200);
        assert_eq!(ratoon.ready_workers("web", 4), workers);
    }
    assert_eq!(ratoon.status()["state"], "serving");
    assert_eq!(ratoon.status()["pid"], ratoon.pid().as_raw());

    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    let renewed = ratoon.ready_workers("web", 4);
    assert!(renewed.iter().all(|pid| !workers.contains(pid)), "{renewed:?} after {workers:?}");
    traffic.goes_on(200);
    traffic.ends_without_a_loss();

    kill(renewed[1], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[("pid", renewed[1].as_raw().into()), ("gen", 2.into())]);
    ratoon.ready_workers("web", 4);
    assert_eq!(ratoon.status_of("web")["generations"], serde_json::json!([2]));
    assert_eq!(process::threads(ratoon.pid()), 1);

    ratoon.signal(Signal::SIGTERM);
    ratoon.ratoon.leaves_in_peace();
    for file in ["web", "control.sock"] {
        assert!(!ratoon.directory().join(file).exists(), "{file} was left behind");
    }
}

/// "What we have is handed over, and nothing else": no descriptor and no variable is left over from it.
#[test]
fn ten_upgrades_leave_nothing_behind() {
    let ratoon = Upgradable::serving(&config("workers = 2\nsettle = \"0s\""));
    ratoon.ready_workers("web", 2);
    ratoon.upgrade();
    let descriptors = process::descriptors(ratoon.pid());
    for _ in 0..9 {
        ratoon.upgrade();
    }
    assert_eq!(process::descriptors(ratoon.pid()), descriptors);
    let open = std::fs::read_dir(format!("/proc/{}/fd", ratoon.pid())).unwrap();
    let open: Vec<PathBuf> = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(!open.iter().any(|file| file.to_string_lossy().contains("estate")), "{open:?}");
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    assert_eq!(get(ratoon.address(), "/environment:RATOON_ESTATE").text(), "unset");
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
}

/// "A binary that fails its check changes nothing", and the log says why.
#[test]
fn a_program_that_fails_its_check_changes_nothing() {
    let ratoon = Upgradable::serving(&config("workers = 2"));
    let workers = ratoon.ready_workers("web", 2);
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/ok").status, 200);
    let another_version = "sed 's/\"version\":[0-9]*/\"version\":99/g' < /proc/self/fd/$RATOON_ESTATE > \"$0.estate\"\n\
                           exec 9< \"$0.estate\"; RATOON_ESTATE=9 exec @ratoon@ \"$@\"";
    for (script, reason) in [
        ("exit 1", "ratoon exited 1"),
        ("kill -9 $$", "ratoon signal SIGKILL"),
        ("echo 'no such library' >&2; exit 127", "no such library"),
        (another_version, "hands over version 99 of its state"),
        ("exec 9< /dev/null; RATOON_ESTATE=9 exec @ratoon@ \"$@\"", "is not one of a supervisor"),
        // With a child that holds on to everything it was given.
        ("sleep 3600 & sleep 3600; exit 1", "the new program took longer than 10s to check the state"),
    ] {
        ratoon.install_script(script);
        assert_stays(&ratoon, reason);
    }
    install(Path::new(RATOON), &ratoon.program(), "0644");
    assert_stays(&ratoon, "Permission denied");
    std::fs::remove_file(ratoon.program()).unwrap();
    assert_stays(&ratoon, "No such file or directory");

    assert_eq!(client.get("/ok").status, 200);
    assert_eq!(ratoon.ready_workers("web", 2), workers);
    assert_eq!(ratoon.status()["state"], "serving");
    eventually("what the check started is gone", SOON, || {
        process::children(ratoon.pid(), "").iter().all(|pid| process::title(*pid).starts_with("ratoon: ")).then_some(())
    });
    ratoon.install();
    ratoon.upgrade();
    assert_eq!(client.get("/ok").status, 200);
    assert_eq!(ratoon.ready_workers("web", 2), workers);
}

/// Asks for an upgrade that fails for this reason.
#[track_caller]
fn assert_stays(ratoon: &Upgradable, reason: &str) {
    let (failed, program) = (ratoon.all_logged(FAILED, &[]).len(), ratoon.executes());
    ratoon.signal(Signal::SIGUSR2);
    let line = eventually("the upgrade fails", SOON, || ratoon.all_logged(FAILED, &[]).into_iter().nth(failed));
    assert!(line["reason"].as_str().unwrap().contains(reason), "{line} is not for {reason:?}");
    assert_eq!(ratoon.executes(), program);
    assert_eq!(ratoon.all_logged(TAKEN_OVER, &[]), [] as [Value; 0]);
}

/// "Comes back only if that fails": even what goes wrong at the last moment costs nothing.
#[test]
fn a_program_that_is_gone_after_its_check_changes_nothing() {
    let ratoon = Upgradable::serving(&config("workers = 2\nsettle = \"0s\""));
    let workers = ratoon.ready_workers("web", 2);
    ratoon.install_script("rm \"$0\"; exec @ratoon@ \"$@\"");
    assert_stays(&ratoon, "No such file or directory");
    kill(workers[0], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[("pid", workers[0].as_raw().into())]);
    ratoon.ready_workers("web", 2);
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    ratoon.install();
    ratoon.upgrade();
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}

/// "USR2 during a reload waits for its end."
#[test]
fn an_upgrade_during_a_reload_waits_for_its_end() {
    let ratoon = Upgradable::serving(&config("workers = 2\nsettle = \"1s\""));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("the new generation serves alone: it is watched for settle", &[]);
    ratoon.upgrade();
    let messages: Vec<Value> = ratoon.lines().into_iter().map(|line| line["message"].clone()).collect();
    let place = |message: &str| messages.iter().position(|each| each == message).unwrap();
    assert!(place("reloaded") < place(CHECKS), "{}", ratoon.text());
    assert_eq!(ratoon.status()["last_reload"]["outcome"], "done");
}

/// A reload that begins while the new program looks at the state makes that an old one: it looks again.
#[test]
fn a_reload_during_the_check_is_finished_first_and_the_check_repeated() {
    let ratoon = Upgradable::serving(&config("workers = 2\nsettle = \"300ms\""));
    let (began, go) = (ratoon.directory().join("began"), ratoon.directory().join("go"));
    ratoon.install_script(&format!(
        "[ $1 = check ] && touch {began:?} && until [ -e {go:?} ]; do sleep 0.01; done\nexec @ratoon@ \"$@\""
    ));
    ratoon.signal(Signal::SIGUSR2);
    eventually("the check begins", SOON, || began.exists().then_some(()));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloading", &[]);
    std::fs::write(go, "").unwrap();
    ratoon.logged(TAKEN_OVER, &[]);
    assert_eq!(ratoon.all_logged("reloaded", &[]).len(), 1);
    assert_eq!(ratoon.all_logged(CHECKS, &[]).len(), 2);
    assert_eq!(ratoon.status_of("web")["generations"], serde_json::json!([2]));
}

/// An upgrade changes nothing about how pools are scaled, not even for one that has no worker at the time.
#[test]
fn pools_of_every_scaling_go_on_after_an_upgrade() {
    let lines = "scaling = \"dynamic\"\nmin_workers = 1\nmax_workers = 3\nmin_spare = 1\nmax_spare = 2\nworkers = 1";
    let jobs = fixture::pool("jobs", "scaling = \"ondemand\"\nmax_workers = 2\nidle_timeout = \"1s\"");
    let mut ratoon = Upgradable::serving(&(config(lines) + &jobs.replace("127.0.0.1:0", "unix:DIR/jobs")));
    let door = Door::Unix(ratoon.directory().join("jobs"));
    assert_eq!(ratoon.workers("jobs"), []);
    ratoon.signal(Signal::SIGTTIN);
    ratoon.logged("size changed by the operator", &[("pool", "web".into())]);
    ratoon.ready_workers("web", 2);
    ratoon.upgrade();
    eventually("the one more that jobs did not need is gone", SOON, || ratoon.workers("jobs").is_empty().then_some(()));

    ratoon.upgrade();
    assert_eq!(door.connect().unwrap().get("/ok").status, 200);
    ratoon.upgrade();
    eventually("the ondemand pool is empty again", SOON, || ratoon.workers("jobs").is_empty().then_some(()));
    assert_eq!(door.connect().unwrap().get("/ok").status, 200);

    let go = ratoon.directory().join("go");
    let word = format!("await:{}", go.to_str().unwrap().replace('/', "~"));
    let mut busy: Vec<Client> = (0..4).map(|_| ratoon.engage(ratoon.address(), &word).0).collect();
    // The operator's one more than the configured three.
    ratoon.ready_workers("web", 4);
    ratoon.upgrade();
    std::fs::write(go, "").unwrap();
    busy.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    ratoon.signal(Signal::SIGTERM);
    ratoon.ratoon.leaves_in_peace();
    for file in ["web", "jobs", "control.sock"] {
        assert!(!ratoon.directory().join(file).exists(), "{file} was left behind");
    }
}

/// "After exec a sweep finds what died meanwhile": here everybody dies while another program stands in our place.
#[test]
fn who_dies_while_the_program_is_being_executed_is_buried_and_replaced() {
    let ratoon = Upgradable::serving(&config("workers = 3"));
    for _ in 0..3 {
        let workers = ratoon.ready_workers("web", 3);
        let template = process::children(ratoon.pid(), "ratoon: web template")[0];
        ratoon.install_script(&format!("[ $1 = check ] || kill -9 {} {template}\nexec @ratoon@ \"$@\"", workers[0]));
        ratoon.upgrade();
        ratoon.logged("died", &[("pid", workers[0].as_raw().into())]);
        let after = ratoon.ready_workers("web", 3);
        assert!(!after.contains(&workers[0]) && after.contains(&workers[1]) && after.contains(&workers[2]));
        assert_eq!(process::zombies(ratoon.pid()), []);
        // The script is what runs now, by its path: the next upgrade executes whatever stands there.
        assert_eq!(get(ratoon.address(), "/ok").status, 200);
    }
}

/// The same without a script: workers die all the time while it upgrades again and again.
#[test]
fn workers_that_die_during_upgrades_are_all_buried() {
    let ratoon = Upgradable::serving(&config("workers = 6"));
    let mut killed: Vec<Pid> = Vec::new();
    for round in 0..12 {
        let victim =
            eventually("a worker", SOON, || ratoon.workers("web").into_iter().find(|pid| !killed.contains(pid)));
        let before = ratoon.all_logged(TAKEN_OVER, &[]).len();
        ratoon.signal(Signal::SIGUSR2);
        if round % 3 > 0 {
            let becoming = "upgrade: becoming the new program";
            eventually("the new program is executed", SOON, || {
                ratoon.all_logged(becoming, &[]).into_iter().nth(before)
            });
            std::thread::sleep(Duration::from_micros(700) * (round as u32 / 3));
        }
        kill(victim, Signal::SIGKILL).unwrap();
        killed.push(victim);
        eventually("the upgrade", SOON, || ratoon.all_logged(TAKEN_OVER, &[]).into_iter().nth(before));
    }
    for pid in &killed {
        ratoon.logged("died", &[("pid", pid.as_raw().into())]);
    }
    eventually("nobody is left unburied", SOON, || process::zombies(ratoon.pid()).is_empty().then_some(()));
    ratoon.ready_workers("web", 6);
}

/// "State handed over": every key that can be written, as the next reload finds by comparing.
#[test]
fn the_configuration_survives_an_upgrade_to_the_last_key() {
    let keys = r#"
        listen = [{ address = "127.0.0.1:0", backlog = 64 }, { address = "unix:DIR/web", mode = "0600", owner = "0" }]
        prepare = ["/bin/true", "twice"]
        scaling = "dynamic"
        workers = 2
        min_workers = 2
        max_workers = 5
        min_spare = 1
        max_spare = 3
        spawn_rate = 7
        max_requests = 100000
        max_requests_jitter = "3%"
        max_age = "1h30m"
        max_age_jitter = "4%"
        max_memory = "256MiB"
        max_memory_hard = "1GiB"
        surge = "50%"
        settle = "100ms"
        on_failure = "exit"
        boot_timeout = "33s"
        request_timeout = "11s"
        kill_grace = "0s"
        stop_timeout = "12s"
        queue_timeout = "20s"
        half_close = "gone"
        max_body = "0B"
        body_dir = "DIR"
        nice = 3
        oom_score_adj = 150
        rlimits = { nofile = 500, core = "unlimited", cpu = "1m" }
        settings = { load = "ok", start = "sleep:1" }
    "#;
    let program = fixture::program();
    let log = "[log]\nlevel = \"debug\"\nformat = \"json\"";
    let config = format!("{log}\n{CONTROL}[pool.web]\nprogram = [{program:?}, \"--verbose\"]\n{keys}\n");
    let ratoon = Upgradable::serving(&config);
    ratoon.ready_workers("web", 2);
    ratoon.upgrade();
    ratoon.upgrade();
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    ratoon.logged("configuration: nothing changed", &[]);
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
}

/// "Signals are blocked until the new program listens to them": none is lost, and none does what it does to others.
#[test]
fn a_signal_that_comes_while_the_program_is_being_executed_is_heard_by_the_new_one() {
    let mut ratoon = Upgradable::serving(&config("workers = 2"));
    let (mut client, _) = ratoon.engage(ratoon.address(), "await:go");
    ratoon.install_script("[ $1 = check ] || kill -TERM $$\nexec @ratoon@ \"$@\"");
    ratoon.upgrade();
    ratoon.logged("stopping: what was accepted or queued is served", &[]);
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    assert_eq!(client.response().status, 200);
    ratoon.ratoon.leaves_in_peace();
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
}
