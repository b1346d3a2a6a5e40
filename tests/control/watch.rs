//! Promised: "`ratoon status --watch` redraws like top", and progress is one line on a terminal.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{command, serving, socket, until};
use crate::harness::{Ratoon, Terminal, fixture};

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// `ratoon` with a terminal of its own, which asks this supervisor.
fn terminal(ratoon: &Ratoon, arguments: &str) -> Terminal {
    Terminal::open(&format!("{arguments} --socket {}", socket(ratoon).display()))
}

/// "Redraws once a second", in place, and Ctrl-C leaves the terminal as it was.
#[test]
fn on_a_terminal_the_table_is_redrawn_in_place_until_somebody_presses_ctrl_c() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let mut terminal = terminal(&ratoon, "status --watch");
    terminal.shows(ENTER);
    terminal.shows("\x1b[H");
    let first = terminal.shows("\x1b[J");
    assert!(first.contains("web  static  0/1 busy, 0 waiting, gen 1"), "{first:?}");
    let file = ratoon.directory().join("go");
    let (mut client, _) = ratoon.engage(ratoon.address(), &until(&file));
    terminal.shows("web  static  1/1 busy, 0 waiting, gen 1");
    terminal.shows("GET /await:");
    std::fs::write(file, "").unwrap();
    assert_eq!(client.response().status, 200);
    terminal.shows("web  static  0/1 busy, 0 waiting, gen 1");
    terminal.types("\x03");
    let (rest, status) = terminal.end();
    assert!(rest.ends_with(LEAVE), "{rest:?}");
    assert_eq!(status, Some(0));
}

/// A supervisor that is away for a while is not the end of it.
#[test]
fn a_supervisor_that_does_not_answer_is_said_and_asked_on() {
    let mut ratoon = serving(&fixture::pool("web", "workers = 1"));
    let mut terminal = terminal(&ratoon, "status --watch");
    terminal.shows("0/1 busy");
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    terminal.shows("no supervisor answers at");
    terminal.types("\x03");
    assert_eq!(terminal.end().1, Some(0));
}

#[test]
fn in_a_pipe_one_table_follows_the_other_until_nobody_reads() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let start = || {
        let mut command = command(&["status", "--watch", "--socket"]);
        command.arg(socket(&ratoon)).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut watching = start();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    for _ in 0..2 {
        assert!(lines.next().unwrap().starts_with("ratoon "));
        let table: Vec<String> = lines.by_ref().take(4).collect();
        assert!(table[3].trim_start().starts_with("0 ") && !table.concat().contains('\x1b'), "{table:?}");
        assert_eq!(lines.next().unwrap(), "");
    }
    drop(lines);
    assert!(watching.wait().unwrap().success(), "nobody reads: that is no failure");

    let mut watching = start();
    BufReader::new(watching.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    kill(Pid::from_raw(watching.id() as i32), Signal::SIGINT).unwrap();
    assert!(watching.wait().unwrap().success());
}

#[test]
fn on_a_terminal_the_progress_of_a_reload_is_one_line_that_is_redrawn() {
    let ratoon = serving(&fixture::pool("web", "workers = 2\nsettle = \"0s\""));
    ratoon.ready_workers("web", 2);
    let (shown, status) = terminal(&ratoon, "reload").end();
    assert_eq!(status, Some(0), "{shown:?}");
    let steps: Vec<&str> = shown.split("\r\x1b[K").collect();
    assert!(steps.contains(&"reading the configuration"), "{steps:?}");
    assert!(steps.contains(&"web: 1 of 2 workers are replaced"), "{steps:?}");
    assert_eq!(steps.last(), Some(&"reloaded: the new generation serves\r\n"));
    assert_eq!(shown.matches('\n').count(), 1, "{shown:?}");
}
