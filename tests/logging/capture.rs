//! "Workers' stdout and stderr are captured by default and carry pool, slot and pid, lines up to 64 KiB."

use std::fs::OpenOptions;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};

use crate::harness::{CONTROL, Client, Ratoon, SOON, eventually, fixture, get, install_script, process, wrap};

/// The log process of a supervisor.
#[track_caller]
fn log_process(ratoon: &Ratoon) -> Pid {
    eventually("there is a log process", SOON, || process::children(ratoon.pid(), "ratoon: log").into_iter().next())
}

#[test]
fn what_a_worker_prints_is_a_line_that_says_whose_it_is() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 2"));
    let workers = ratoon.ready_workers("web", 2);
    let served_by = get(ratoon.address(), "/print:stdout:hello").text();
    let line = ratoon.logged("hello", &[("stream", "stdout".into())]);
    let pid: i32 = served_by.parse().unwrap();
    let slot = workers.iter().position(|worker| worker.as_raw() == pid).unwrap();
    assert_eq!(
        [&line["pool"], &line["worker"], &line["gen"], &line["pid"], &line["level"]],
        [&json!("web"), &json!(slot), &json!(1), &json!(pid), &json!("INFO")]
    );
    get(ratoon.address(), "/print:stderr:there");
    ratoon.logged("there", &[("stream", "stderr".into())]);
    // What a line of the library says is not said twice.
    get(ratoon.address(), "/sleep:0");
    ratoon.logged("begins", &[("word", "sleep:0".into())]);
    assert_eq!(
        ratoon.all_logged("begins", &[("word", "sleep:0".into()), ("stream", "stderr".into())]),
        [] as [Value; 0]
    );
}

#[test]
fn what_a_template_and_the_command_that_prepares_it_print_says_whose_it_is_too() {
    let prepare = "prepare = [\"DIR/prepare\"]\nsettings = { load = \"print:stdout:loading\" }";
    let config = fixture::pool("web", "workers = 1");
    let mut ratoon = Ratoon::serving(&config);
    let path = ratoon.directory().join("prepare");
    install_script("#!/bin/sh\necho preparing; echo beware >&2; printf unfinished\n", &path);
    ratoon.configure(&(fixture::pool("web", &format!("workers = 1\nsettle = \"0s\"\n{prepare}"))));
    ratoon.signal(Signal::SIGHUP);
    for (line, stream) in [("preparing", "stdout"), ("beware", "stderr"), ("unfinished", "stdout")] {
        let line = ratoon.logged(line, &[("pool", "web".into()), ("stream", stream.into())]);
        assert_eq!([&line["worker"], &line["gen"]], [&Value::Null, &Value::Null]);
    }
    let line = ratoon.logged("loading", &[("pool", "web".into()), ("gen", 2.into())]);
    assert_eq!(line["worker"], Value::Null);
    ratoon.logged("reloaded", &[]);
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
}

#[test]
fn a_line_of_64_kib_is_whole_and_a_longer_one_comes_in_marked_parts() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1"));
    let xs = |length: usize| "x".repeat(length);
    get(ratoon.address(), "/flood:65536");
    let whole = ratoon.logged(&xs(65536), &[]);
    assert_eq!(whole["part"], Value::Null);
    get(ratoon.address(), "/flood:140000");
    ratoon.logged(&xs(65536), &[("part", 1.into()), ("more", true.into())]);
    ratoon.logged(&xs(65536), &[("part", 2.into()), ("more", true.into())]);
    let last = ratoon.logged(&xs(140_000 - 2 * 65536), &[("part", 3.into())]);
    assert_eq!(last["more"], Value::Null);
}

#[test]
fn what_is_printed_last_is_there_however_it_ended() {
    let mut ratoon =
        Ratoon::serving(&fixture::pool("web", "workers = 1\nsettings = { stop = \"print:stdout:farewell\" }"));
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    ratoon.logged("farewell", &[("pool", "web".into()), ("worker", 0.into())]);
}

#[test]
fn a_worker_of_a_pool_that_is_not_captured_prints_where_the_supervisor_does() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1\ncapture = false"));
    get(ratoon.address(), "/print:stderr:as-it-is");
    // No JSON, so no field.
    assert_eq!(ratoon.logged("as-it-is", &[])["pool"], Value::Null);
}

/// "… never blocking the worker for ever": the reader always drains, whoever reads the log; and what finds no room is counted.
#[test]
fn a_worker_that_prints_much_waits_for_nobody_who_does_not_read_the_log() {
    let mut unread = None;
    let config = CONTROL.to_owned() + &fixture::pool("web", "workers = 1").replace("127.0.0.1:0", "unix:DIR/web");
    let ratoon = Ratoon::start_with(&config, |command| {
        let pipe = command.get_current_dir().unwrap().join("pipe");
        mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        unread = Some(OpenOptions::new().read(true).write(true).open(pipe).unwrap());
        wrap(command, &["/bin/sh", "-c", "exec \"$@\" 2>pipe", "sh"]);
    });
    let connect = || Client::connect_unix(&ratoon.directory().join("web")).ok();
    let mut client = eventually("it listens", SOON, connect);
    client.set_patience(SOON);
    for _ in 0..20 {
        assert_eq!(client.get("/flood:1000000").status, 200);
    }
    eventually("what found no room is counted", SOON, || {
        (ratoon.status_of("web")["log_lines_lost"].as_u64().unwrap() > 0).then_some(())
    });
    drop(unread);
}

#[test]
fn a_log_process_that_is_killed_is_another_one_at_once_and_nobody_who_prints_dies_of_it() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 2"));
    let workers = ratoon.ready_workers("web", 2);
    for round in 0..3 {
        let victim = log_process(&ratoon);
        kill(victim, Signal::SIGKILL).unwrap();
        // Printed while nobody reads, perhaps: it is read later.
        assert_eq!(get(ratoon.address(), &format!("/print:stdout:round-{round}")).status, 200);
        ratoon.logged(&format!("round-{round}"), &[("pool", "web".into()), ("stream", "stdout".into())]);
        ratoon.logged("the log process died", &[("pid", victim.as_raw().into())]);
        assert_ne!(log_process(&ratoon), victim);
    }
    assert_eq!(ratoon.ready_workers("web", 2), workers);
}

/// Without a log process nobody who prints waits for ever: what finds no reader is dropped, and counted.
#[test]
fn a_worker_that_prints_much_while_there_is_no_log_process_goes_on() {
    let config = crate::harness::CONTROL.to_owned() + &fixture::pool("web", "workers = 1");
    let ratoon = Ratoon::serving(&config);
    let begun = Instant::now();
    let flood = std::thread::spawn({
        let address = ratoon.address();
        move || get(address, "/flood:600000").status
    });
    // Each one is gone before it has read much, and with each the pause before the next is longer.
    let mut victims = 0;
    while !flood.is_finished() && begun.elapsed() < SOON {
        for victim in process::children(ratoon.pid(), "ratoon: log") {
            victims += u32::from(kill(victim, Signal::SIGKILL).is_ok());
        }
        std::thread::yield_now();
    }
    assert_eq!(flood.join().unwrap(), 200);
    assert!(victims > 0);
    // The pauses are longer by now than what is printed may wait for a reader.
    eventually("what nobody reads is dropped, and counted", SOON, || {
        for victim in process::children(ratoon.pid(), "ratoon: log") {
            let _ = kill(victim, Signal::SIGKILL);
        }
        assert_eq!(get(ratoon.address(), "/print:stdout:unheard").status, 200);
        (ratoon.status_of("web")["log_lines_lost"].as_u64().unwrap() > 0).then_some(())
    });
}

#[test]
fn an_upgrade_keeps_the_log_process_and_what_it_reads() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1"));
    let before = log_process(&ratoon);
    ratoon.signal(Signal::SIGUSR2);
    ratoon.logged("upgraded: this program has taken over", &[]);
    assert_eq!(log_process(&ratoon), before);
    get(ratoon.address(), "/print:stdout:still-here");
    ratoon.logged("still-here", &[("worker", 0.into())]);
    // And what it reads outlives it under the new program, too.
    kill(before, Signal::SIGKILL).unwrap();
    get(ratoon.address(), "/print:stdout:and-still");
    ratoon.logged("and-still", &[("worker", 0.into())]);
}
