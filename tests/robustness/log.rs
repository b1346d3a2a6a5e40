//! A log that nobody reads.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use nix::libc::O_NONBLOCK;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, Uid, mkfifo};
use serde_json::Value;

use crate::harness::{Client, RATOON, Ratoon, SOON, eventually, install, wrap};

const LOST: &str = "log lines lost: nobody took them";

/// Standard error of a supervisor: a pipe that only its owner may open.
struct Pipe(File);

impl Pipe {
    /// Fills it, with empty lines, until not one byte more has room.
    fn fill(&mut self) {
        for piece in [&[b'\n'; 4096][..], b"\n"] {
            while self.0.write(piece).is_ok() {}
        }
    }

    /// What is in it.
    fn empty(&mut self) -> String {
        let mut bytes = Vec::new();
        let stopped = self.0.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(stopped.kind(), ErrorKind::WouldBlock);
        String::from_utf8(bytes).unwrap()
    }
}

/// Has the supervisor write its log into a pipe, as the user it is or as nobody, who may not open that pipe anew.
fn into_a_pipe(command: &mut Command, as_nobody: bool) -> Pipe {
    let directory = command.get_current_dir().unwrap().to_owned();
    let path = directory.join("pipe");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let pipe = OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(path).unwrap();
    if as_nobody {
        std::fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        install(Path::new(RATOON), &directory.join("ratoon"), "0755");
        let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
        wrap(command, &["/bin/sh", "-c", &format!("shift; exec {nobody} ./ratoon \"$@\" 2>pipe"), "sh"]);
    } else {
        wrap(command, &["/bin/sh", "-c", "exec \"$@\" 2>pipe", "sh"]);
    }
    Pipe(pipe)
}

#[track_caller]
fn serves_on_though_nobody_reads_its_log(as_nobody: bool) {
    let mut pipe = None;
    let config = "[pool.web]\nlisten = [\"unix:DIR/web\"]\nworkers = 2\nsettings = { faults = true }\n";
    let mut ratoon = Ratoon::start_with(config, |command| pipe = Some(into_a_pipe(command, as_nobody)));
    let mut pipe = pipe.unwrap();
    let mut log = String::new();
    eventually("both workers are ready", SOON, || {
        log += &pipe.empty();
        (log.matches("\"ready\"").count() == 2).then_some(())
    });
    let workers = ratoon.workers("web");
    let status = |target| {
        let mut client = Client::connect_unix(&ratoon.directory().join("web")).unwrap();
        client.set_patience(SOON);
        client.get(target).status
    };

    pipe.fill();
    for victim in &workers {
        kill(*victim, Signal::SIGKILL).unwrap();
        eventually("a worker is replaced", SOON, || {
            let present = ratoon.workers("web");
            (present.len() == workers.len() && !present.contains(victim)).then_some(())
        });
        // What the workers have to say is lost as well.
        assert_eq!((status("/sleep?ms=soon"), status("/hello")), (400, 200));
    }
    let replaced: Vec<Pid> = ratoon.workers("web");

    let mut log = pipe.empty();
    ratoon.signal(Signal::SIGUSR1);
    let lost = eventually("it says how many lines were lost", SOON, || {
        log += &pipe.empty();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == LOST).find_map(|line| line["lost"].as_u64())
    });
    assert!(lost >= 2, "two deaths are two lines; the log:\n{log}");
    eventually("what comes then is there", SOON, || {
        log += &pipe.empty();
        log.contains("nothing to open anew").then_some(())
    });
    assert_eq!(ratoon.workers("web"), replaced);

    pipe.fill();
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
}

#[test]
fn a_supervisor_whose_log_nobody_reads_replaces_workers_and_says_afterwards_how_many_lines_were_lost() {
    serves_on_though_nobody_reads_its_log(false);
}

/// "… also when it may not open that pipe anew": who is not root is not somebody else either, and takes the plain one.
#[test]
fn a_supervisor_that_may_not_open_its_log_anew_does_not_wait_for_whoever_reads_it_either() {
    serves_on_though_nobody_reads_its_log(Uid::effective().is_root());
}
