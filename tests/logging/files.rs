//! "Files with reopen on USR1": the log's own file, and a disk that is full.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use crate::harness::{CONTROL, Client, Ratoon, SOON, eventually, fixture, says, wrap};

const FILE: &str = "[log]\nfile = \"DIR/log/ratoon.log\"\n";

/// A supervisor whose log is `log/ratoon.log` in its directory, with a pool `web` and one that is not captured, at unix
/// sockets of these names.
fn start(change: impl FnOnce(&mut Command)) -> (Ratoon, PathBuf) {
    let pool = |name: &str, lines: &str| fixture::pool(name, lines).replace("127.0.0.1:0", &format!("unix:DIR/{name}"));
    let pools = pool("web", "workers = 1") + &pool("raw", "workers = 1\ncapture = false");
    let ratoon = Ratoon::start_with(&(FILE.to_owned() + CONTROL + &pools), |command| {
        std::fs::create_dir(command.get_current_dir().unwrap().join("log")).unwrap();
        change(command);
    });
    let file = ratoon.directory().join("log/ratoon.log");
    (ratoon, file)
}

fn ask(ratoon: &Ratoon, pool: &str, word: &str) -> u16 {
    let mut client = Client::connect_unix(&ratoon.directory().join(pool)).unwrap();
    client.set_patience(SOON);
    client.get(&format!("/{word}")).status
}

#[test]
fn everything_goes_into_the_file_that_is_named_and_after_usr1_into_the_one_that_has_taken_its_place() {
    let (mut ratoon, file) = start(|_| {});
    let old = ratoon.directory().join("log/ratoon.log.1");
    says(&file, &["serving: every pool has a ready worker"]);
    for round in 0..3 {
        let _ = std::fs::remove_file(&old);
        std::fs::rename(&file, &old).unwrap();
        ratoon.signal(Signal::SIGUSR1);
        says(&file, &["the log is opened anew"]);
        let before = std::fs::read_to_string(&old).unwrap();
        assert_eq!(ask(&ratoon, "web", &format!("sleep:{round}")), 200);
        says(&file, &["begins", &format!("sleep:{round}")]);
        assert_eq!(ask(&ratoon, "web", &format!("print:stdout:captured{round}")), 200);
        says(&file, &[&format!("captured{round}"), "\"worker\":0", "stdout"]);
        assert_eq!(ask(&ratoon, "raw", &format!("print:stdout:raw{round}")), 200);
        says(&file, &[&format!("raw{round}")]);
        assert_eq!(std::fs::read_to_string(&old).unwrap(), before, "somebody still writes to the old file");
    }
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    says(&file, &["stopping: what was accepted or queued is served"]);
    assert_eq!(ratoon.text(), "", "something was said on standard error");
}

/// Every line printed while the file is moved away again and again is in one of the files, once and whole.
#[test]
fn a_rotation_loses_no_line() {
    let (mut ratoon, file) = start(|_| {});
    says(&file, &["serving: every pool has a ready worker"]);
    let rotated = |round: u32| ratoon.directory().join(format!("log/ratoon.log.{round}"));
    let olds: Vec<PathBuf> = (0..20).map(rotated).collect();
    for (round, old) in olds.iter().enumerate() {
        for line in 0..20 {
            assert_eq!(ask(&ratoon, "web", &format!("print:stdout:line-{round}-{line}-")), 200);
        }
        std::fs::rename(&file, old).unwrap();
        ratoon.signal(Signal::SIGUSR1);
        says(&file, &["the log is opened anew"]);
    }
    ratoon.signal(Signal::SIGTERM);
    let text = || olds.iter().chain([&file]).map(|file| std::fs::read_to_string(file).unwrap()).collect::<String>();
    ratoon.leaves_in_peace();
    let text = text();
    for line in (0..20).flat_map(|round| (0..20).map(move |line| format!("\"line-{round}-{line}-\""))) {
        assert_eq!(text.matches(&line).count(), 1, "{line}");
    }
    assert!(text.lines().all(|line| line.starts_with('{') && line.ends_with('}')));
}

/// "A full disk under the log file: serving goes on, lost lines are counted."
#[test]
fn a_full_disk_costs_lines_and_no_request_and_what_was_lost_is_said_when_there_is_room_again() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can mount a small disk");
        return;
    }
    let (ratoon, _) = start(|command| {
        let script = "mount -t tmpfs -o size=256k small log && exec \"$@\"";
        wrap(command, &["unshare", "--mount", "/bin/sh", "-c", script, "sh"]);
    });
    // As the supervisor's mount namespace has it.
    let inside = PathBuf::from(format!("/proc/{}/cwd/log", ratoon.pid()));
    let file = inside.join("ratoon.log");
    says(&file, &["serving: every pool has a ready worker"]);
    std::fs::write(inside.join("ballast"), vec![0; 200 << 10]).unwrap();
    for _ in 0..50 {
        assert_eq!(ask(&ratoon, "web", "flood:10000"), 200);
    }
    ratoon.logged("cannot write to the file: what it should hold is lost", &[]);
    let lost = eventually("what was lost is counted", SOON, || {
        Some(ratoon.status()["log_lines_lost"].as_u64().unwrap()).filter(|lost| *lost > 0)
    });
    std::fs::remove_file(inside.join("ballast")).unwrap();
    eventually("lines are written again", SOON, || {
        assert_eq!(ask(&ratoon, "web", "print:stdout:again"), 200);
        std::fs::read_to_string(&file).unwrap().contains("\"again\"").then_some(())
    });
    says(&file, &["log lines lost: the file could not be written", "\"lost\":"]);
    assert!(ratoon.status()["log_lines_lost"].as_u64().unwrap() >= lost);
    let text = std::fs::read_to_string(&file).unwrap();
    let whole = text.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count();
    assert!(whole + 1 >= text.lines().count(), "only the last line that had room may be cut");
}

/// A terminal that changes nothing of what is written there, and its other end.
#[allow(unsafe_code)]
fn raw_terminal() -> (OwnedFd, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: two places for two numbers, and a structure that is plain numbers.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        libc::cfmakeraw(&mut settings);
        assert_eq!(libc::openpty(&mut master, &mut slave, std::ptr::null_mut(), &settings, std::ptr::null()), 0);
        (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    }
}

/// "… full or slow": a terminal that nobody reads is the slowest disk there is, for whoever writes there waits.
#[test]
fn a_disk_that_stalls_costs_lines_and_no_request_and_nobody_else_s_lines() {
    let pool = |name: &str| {
        let lines = format!("workers = 1\naccess = \"{{target}}\"\naccess_file = \"DIR/log/{name}.access\"");
        fixture::pool(name, &lines).replace("127.0.0.1:0", &format!("unix:DIR/{name}"))
    };
    let (master, slave) = raw_terminal();
    let mut ratoon = Ratoon::start_with(&(CONTROL.to_owned() + &pool("web") + &pool("other")), |command| {
        let log = command.get_current_dir().unwrap().join("log");
        std::fs::create_dir(&log).unwrap();
        let terminal = std::fs::read_link(format!("/proc/self/fd/{}", slave.as_raw_fd())).unwrap();
        symlink(terminal, log.join("web.access")).unwrap();
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let lost = |pool: &str| ratoon.status_of(pool)["log_lines_lost"].as_u64().unwrap();
    let long = "x".repeat(1000);
    let mut answers = 0;
    eventually("lines are lost, and counted", SOON * 3, || {
        for _ in 0..100 {
            assert_eq!(ask(&ratoon, "web", &format!("ok?{answers:06}-{long}")), 200);
            answers += 1;
        }
        (lost("web") > 0).then_some(())
    });
    assert_eq!(ask(&ratoon, "other", "ok?other"), 200);
    says(&ratoon.directory().join("log/other.access"), &["/ok?other"]);
    assert_eq!(lost("other"), 0);

    // What has waited is there, whole, and in its order; then what comes next. The loss is said in the log.
    let reader = std::thread::spawn(move || {
        let (mut master, mut text) = (File::from(master), Vec::new());
        // It ends with an error, as terminals do.
        let _ = master.read_to_end(&mut text);
        String::from_utf8(text).unwrap()
    });
    drop(slave);
    assert_eq!(ask(&ratoon, "web", "print:stdout:again"), 200);
    let said = ratoon.logged("log lines lost: nobody took them", &[("pool", "web".into())]);
    let lost = lost("web");
    assert_eq!(said["lost"], lost);
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    let text = reader.join().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (last, waited) = lines.split_last().unwrap();
    assert_eq!(*last, "/print:stdout:again");
    assert_eq!(waited.len() as u64 + lost, answers);
    for (line, number) in waited.iter().zip(0..) {
        assert_eq!(*line, format!("/ok?{number:06}-{long}"));
    }
}

/// A pipe would be waited for without end, at the start and whenever it is opened anew.
#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_waited_for_by_nobody() {
    let lines = "workers = 1\naccess = \"json\"\naccess_file = \"DIR/log/web.access\"";
    let pool = fixture::pool("web", lines).replace("127.0.0.1:0", "unix:DIR/web");
    let ratoon = Ratoon::start_with(&(FILE.to_owned() + CONTROL + &pool), |command| {
        std::fs::create_dir(command.get_current_dir().unwrap().join("log")).unwrap();
    });
    let (log, path) = (ratoon.directory().join("log/ratoon.log"), ratoon.directory().join("log/web.access"));
    says(&log, &["serving: every pool has a ready worker"]);
    assert_eq!(ask(&ratoon, "web", "ok"), 200);
    says(&path, &["/ok"]);
    for file in [&log, &path] {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o640, "{}", file.display());
    }
    let asks = |what: &[&str]| {
        let mut command = Command::new("timeout");
        command.arg("60").arg(crate::harness::supervisor()).args(what);
        command.current_dir(ratoon.directory()).stdin(Stdio::null()).output().unwrap()
    };
    let socket = ratoon.directory().join("control.sock");
    let reopen = ["logs", "reopen", "--socket", socket.to_str().unwrap()];
    std::fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let refused = asks(&reopen);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("log/web.access"), "{said}");
    let checked = asks(&["check", "--config", "config.toml"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success() && said.contains("is neither a file nor a device"), "{said}");

    // A failure that is over is no reason to fail.
    std::fs::remove_file(&path).unwrap();
    let done = asks(&reopen);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(ask(&ratoon, "web", "ok"), 200);
    says(&path, &["/ok"]);
}

/// "Lost lines are counted": for the pool whose file it is, for the daemon, and where people look.
#[test]
fn what_a_full_disk_costs_an_access_log_is_counted_for_its_pool_and_told_to_people() {
    let pool = |name: &str| {
        let lines = format!("workers = 1\naccess = \"json\"\naccess_file = \"DIR/log/{name}.access\"");
        fixture::pool(name, &lines).replace("127.0.0.1:0", &format!("unix:DIR/{name}"))
    };
    let ratoon = Ratoon::start_with(&(CONTROL.to_owned() + &pool("web") + &pool("other")), |command| {
        let log = command.get_current_dir().unwrap().join("log");
        std::fs::create_dir(&log).unwrap();
        symlink("/dev/full", log.join("web.access")).unwrap();
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    for _ in 0..5 {
        assert_eq!(ask(&ratoon, "web", "ok"), 200);
        assert_eq!(ask(&ratoon, "other", "ok"), 200);
    }
    eventually("every line is counted", SOON, || {
        let status = ratoon.status();
        let lost = |pool: &str| ratoon.status_of(pool)["log_lines_lost"].clone();
        (status["log_lines_lost"] == 5 && lost("web") == 5 && lost("other") == 0).then_some(())
    });
    let mut command = Command::new(crate::harness::supervisor());
    command.args(["status", "--socket"]).arg(ratoon.directory().join("control.sock"));
    let told = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(told.contains("\nlog lines lost: 5\n"), "{told}");
}
