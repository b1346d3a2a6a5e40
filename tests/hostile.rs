//! Promised: "a hostile worker does not move the supervisor": garbage and floods on its sockets, forged pids and
//! generations, a scribbled scoreboard, descriptors that bite. It has no more memory than before, it answers, and
//! everybody else is served.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::harness::{CONTROL, Client, Door, Ratoon, SOON, Traffic, eventually, example, fixture, get, process};

/// So much more memory may the supervisor have, in KiB.
const MORE: u64 = 1024;

/// A status takes no longer, on a machine that is busy with other tests, and with what is hostile, in a build for debugging.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

fn hostile() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| example("hostile"));
    &PROGRAM
}

/// A pool of the hostile application beside one of honest workers.
fn config(lines: &str) -> String {
    let program = hostile();
    let bad = format!("[pool.bad]\nlisten = [\"127.0.0.1:0\"]\nprogram = [{program:?}]\n{lines}\n");
    CONTROL.to_owned() + &bad + &fixture::pool("web", "workers = 2")
}

/// The anonymous memory of the supervisor, in KiB, once it has done everything that it will do.
fn memory(ratoon: &Ratoon) -> u64 {
    ratoon.status();
    process::status(ratoon.pid(), "RssAnon")
}

/// Has the hostile pool do this while honest clients are served and the supervisor is asked, and checks what was promised.
#[track_caller]
fn withstands(ratoon: &Ratoon, words: &[&str]) {
    let traffic = Traffic::begin(&[Door::Tcp(ratoon.address())], 1, &["ok"]);
    traffic.goes_on(50);
    let descriptors = process::descriptors(ratoon.pid());
    let before = memory(ratoon);
    let mut slowest = Duration::ZERO;
    for word in words {
        let mut client = Client::connect(ratoon.address_of("bad"));
        client.send(format!("GET /{word} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes());
        let deed = std::thread::spawn(move || client.rest());
        while !deed.is_finished() {
            let asked = Instant::now();
            let status = ratoon.status();
            slowest = slowest.max(asked.elapsed());
            assert_eq!(status["pid"], ratoon.pid().as_raw(), "{word}");
            std::thread::sleep(Duration::from_millis(20));
        }
        traffic.goes_on(20);
    }
    assert!(slowest < ANSWERS_WITHIN, "the slowest status took {slowest:?}");
    traffic.ends_without_a_loss();
    let after = eventually("its memory is what it was, and a little", SOON, || {
        Some(memory(ratoon)).filter(|after| *after <= before + MORE)
    });
    eprintln!("{words:?}: {before} KiB before, {after} KiB after, the slowest status took {slowest:?}");
    eventually("no descriptor is left over", SOON, || {
        (process::descriptors(ratoon.pid()) <= descriptors + 2).then_some(())
    });
    // What siblings find in their inbox is theirs to complain of.
    let lines = ratoon.lines();
    let lines = lines.iter().filter(|line| line["message"] != "connections were lost on their way from another worker");
    assert!(lines.clone().count() < 200, "{} lines in the log", lines.count());
    assert_eq!(ratoon.status_of("web")["deaths"], serde_json::json!({}), "honest workers died");
}

#[test]
fn garbage_on_every_socket_is_not_listened_to() {
    let ratoon = Ratoon::serving(&config("workers = 2\nrequest_timeout = \"100s\""));
    withstands(&ratoon, &["garbage:16", "garbage:16"]);
    assert!(!ratoon.all_logged("a worker does not make sense: hanging up", &[]).is_empty());
}

#[test]
fn a_flood_of_lies_that_parse_is_not_listened_to() {
    let ratoon = Ratoon::serving(&config("workers = 2\nrequest_timeout = \"100s\""));
    let honest = ratoon.ready_workers("web", 2);
    withstands(&ratoon, &["words:4", "words:4"]);
    assert_eq!(ratoon.workers("web"), honest);
    assert!(ratoon.all_logged("last words", &[]).is_empty(), "somebody spoke who was not asked");
}

#[test]
fn a_scribbled_scoreboard_is_believed_in_nothing_that_matters() {
    let ratoon = Ratoon::serving(&config("workers = 2\nrequest_timeout = \"100s\""));
    withstands(&ratoon, &["scribble:1500", "scribble:1500"]);
}

/// Deadlines that are made up anew all the time are asked about, now and then.
#[test]
fn made_up_deadlines_do_not_keep_the_supervisor_busy() {
    let ratoon = Ratoon::serving(&config("workers = 1\nrequest_timeout = \"100s\""));
    withstands(&ratoon, &["press:3000"]);
    let asked = ratoon.all_logged("overdue: asking where it is stuck", &[]).len();
    assert!((1..40).contains(&asked), "it was asked {asked} times");
    let said = ratoon.all_logged("last words", &[]).len();
    assert!(said <= asked, "it was asked {asked} times and has answered {said} times");
}

/// "A worker cannot make the supervisor wait."
#[test]
fn connections_that_linger_are_not_waited_for() {
    let ratoon = Ratoon::serving(&config("workers = 1\nrequest_timeout = \"100s\""));
    withstands(&ratoon, &["linger"]);
}

#[test]
fn thousands_of_orphans_are_buried_in_between() {
    let ratoon = Ratoon::serving(&config("workers = 1\nrequest_timeout = \"100s\""));
    withstands(&ratoon, &["orphans:3000"]);
    eventually("all of them are buried", SOON, || process::zombies(ratoon.pid()).is_empty().then_some(()));
}

/// A template is believed as little: one that lies is killed, and only its own pool misses it.
#[test]
fn a_hostile_template_is_killed_and_only_its_own_pool_misses_it() {
    for word in ["words:1", "garbage:1"] {
        let ratoon = Ratoon::start(&config(&format!("workers = 2\nsettings = {{ load = {word:?} }}")));
        let honest = ratoon.ready_workers("web", 2);
        let killed = || {
            let lines = ratoon.all_logged("the template does not make sense: it is killed", &[("pool", "bad".into())]);
            (lines.len() >= 3).then_some(())
        };
        eventually("it was killed, and another tried", SOON, killed);
        let traffic = Traffic::begin(&[Door::Tcp(ratoon.address())], 1, &["ok"]);
        traffic.goes_on(50);
        let before = memory(&ratoon);
        traffic.goes_on(100);
        assert!(memory(&ratoon) <= before + MORE);
        traffic.ends_without_a_loss();
        assert_eq!(ratoon.workers("web"), honest);
        assert_eq!(ratoon.status_of("web")["deaths"], serde_json::json!({}), "honest workers died");
        assert!(get(ratoon.address(), "/ok").status == 200);
    }
}

/// A gigabyte of each: too long for every run.
#[test]
#[ignore = "takes minutes"]
fn a_gigabyte_of_each_moves_nothing() {
    let ratoon = Ratoon::serving(&config("workers = 4\nrequest_timeout = \"1000s\""));
    withstands(&ratoon, &["garbage:1024", "words:1024", "scribble:20000", "linger", "orphans:20000"]);
}
