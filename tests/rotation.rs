//! Promised: "USR1 opens the log anew, here and in every process, if standard error is a file".

use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::harness::{self, CONTROL, Client, Ratoon, fixture, says, wrap};

/// A supervisor that writes its log into the file `log` of its directory.
fn into_a_file(config: &str) -> Ratoon {
    Ratoon::start_with(config, |command| {
        wrap(command, &["/bin/sh", "-c", "exec \"$@\" >>log 2>&1", "sh"]);
        command.stderr(Stdio::piped());
    })
}

#[test]
fn a_log_that_was_moved_away_is_opened_anew_by_the_supervisor_its_templates_and_its_workers() {
    let config = fixture::pool("web", "workers = 2").replace("127.0.0.1:0", "unix:DIR/web");
    let ratoon = into_a_file(&config);
    let (log, old) = (ratoon.directory().join("log"), ratoon.directory().join("log.1"));
    says(&log, &["serving: every pool has a ready worker"]);
    for round in 0..2 {
        let _ = std::fs::remove_file(&old);
        std::fs::rename(&log, &old).unwrap();
        ratoon.signal(Signal::SIGUSR1);
        says(&log, &["the log is opened anew"]);
        let before = std::fs::read_to_string(&old).unwrap();
        let mut client = Client::connect_unix(&ratoon.directory().join("web")).unwrap();
        assert_eq!(client.get(&format!("/sleep:{round}")).status, 200);
        says(&log, &["begins", &format!("sleep:{round}")]);
        // A worker that is forked after it writes there, too: it has what its template has.
        assert_eq!(client.get("/abort").status, 500);
        says(&log, &["last words", "signal SIGABRT"]);
        says(&log, &["\"ready\""]);
        assert_eq!(std::fs::read_to_string(&old).unwrap(), before, "somebody still writes to the old file");
    }
}

/// "`ratoon logs reopen`": back when it is done.
#[test]
fn a_command_opens_the_log_anew_and_says_where() {
    let config = CONTROL.to_owned() + &fixture::pool("web", "workers = 1");
    let ratoon = into_a_file(&config);
    let (log, old) = (ratoon.directory().join("log"), ratoon.directory().join("log.1"));
    says(&log, &["serving: every pool has a ready worker"]);
    std::fs::rename(&log, &old).unwrap();
    let socket = ratoon.directory().join("control.sock");
    let output = harness::ratoon(&["logs", "reopen", "--socket", socket.to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.ends_with("/log is opened anew\n"), "{said}");
    says(&log, &["the log is opened anew"]);
}

#[test]
fn without_a_file_there_is_nothing_to_open_anew_and_that_is_said() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1"));
    ratoon.signal(Signal::SIGUSR1);
    ratoon.logged("standard error is no file: there is nothing to open anew", &[]);
}
