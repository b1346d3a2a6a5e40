//! Promised: "a hostile worker does not move the supervisor": garbage and floods on its sockets, forged pids and
//! generations, a scribbled scoreboard, descriptors that bite. It has no more memory than before, it answers, and
//! everybody else is served.

mod deaf;
mod forged;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::harness::admin::ADMIN;
use crate::harness::{
    CONTROL, Client, Door, RaisedAtTheEnd, Ratoon, SOON, Traffic, eventually, example, fixture, get, install,
    is_optimised, process, says, wrap,
};

/// So much more memory may the supervisor have, in KiB.
const MORE: u64 = 1024;

/// So much more may the log process have, in KiB, however much is printed; it is reached with the first few MiB. What waits for
/// a slow destination is a MiB. What one read yields is 64 KiB. A line that has begun is at most that, with a read more before
/// it is cut, in a vector that doubles: for both streams of each of the two hostile workers that are 4 times 128 KiB. One line
/// that passes by is there as it was cut, as text, and twice as it is written, with room to grow: 6 times 64 KiB.
const QUEUED: u64 = 1024 + 64 + 4 * 128 + 6 * 64;

/// A status takes no longer, on a machine that is busy with other tests, and with what is hostile, in a build for debugging.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// What is promised: of a release build, on a machine that has little else to do, as in `make soak`.
const ANSWERS_AT_ONCE: Duration = Duration::from_millis(50);

/// A gigabyte takes no longer to offer.
const LONG_ENOUGH: Duration = Duration::from_secs(600);

fn hostile() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| example("hostile"));
    &PROGRAM
}

/// A pool of the hostile application beside one of honest workers.
fn config(lines: &str) -> String {
    let program = hostile();
    let bad = format!("[pool.bad]\nlisten = [\"127.0.0.1:0\"]\nprogram = [{program:?}]\n{lines}\n");
    CONTROL.to_owned() + &bad + &fixture::pool("web", "workers = 2\nsettle = \"0s\"")
}

/// The anonymous memory of the supervisor, in KiB, once it has done everything that it will do.
fn memory(ratoon: &Ratoon) -> u64 {
    ratoon.status();
    process::status(ratoon.pid(), "RssAnon")
}

/// Has the hostile pool do this while honest clients are served and the supervisor is asked, and checks what was promised.
/// Yields the longest time that a status took.
#[track_caller]
fn withstands(ratoon: &Ratoon, words: &[&str]) -> Duration {
    let traffic = Traffic::begin(&[Door::Tcp(ratoon.address())], 1, &["ok"]);
    traffic.goes_on(50);
    let descriptors = process::descriptors(ratoon.pid());
    let before = memory(ratoon);
    let mut times: Vec<Duration> = Vec::new();
    for word in words {
        let mut client = Client::connect(ratoon.address_of("bad"));
        client.send(format!("GET /{word} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes());
        client.set_patience(LONG_ENOUGH);
        let deed = std::thread::spawn(move || client.rest());
        while !deed.is_finished() {
            let asked = Instant::now();
            let status = ratoon.status();
            times.push(asked.elapsed());
            assert_eq!(status["pid"], ratoon.pid().as_raw(), "{word}");
            std::thread::sleep(Duration::from_millis(20));
        }
        traffic.goes_on(20);
        let answer = String::from_utf8(deed.join().unwrap()).unwrap();
        // Whoever writes into its own cell may be told 504, or killed for it.
        assert!(answer.starts_with("HTTP/1.1 ") || word.starts_with("scribble"), "{word} was not done: {answer:?}");
        eprintln!("{word}: {}", answer.lines().last().unwrap_or_default());
    }
    times.sort();
    let slowest = times.last().copied().unwrap_or_default();
    assert!(slowest < ANSWERS_WITHIN, "the slowest status took {slowest:?}");
    traffic.ends_without_a_loss();
    let after = eventually("its memory is what it was, and a little", SOON, || {
        Some(memory(ratoon)).filter(|after| *after <= before + MORE)
    });
    eprintln!(
        "{words:?}: {before} KiB before, {after} KiB after; of {} statuses half took up to {:?}, the slowest {slowest:?}",
        times.len(),
        times[times.len() / 2],
    );
    eventually("no descriptor is left over", SOON, || {
        (process::descriptors(ratoon.pid()) <= descriptors + 2).then_some(())
    });
    // What siblings find in their inbox is theirs to complain of, what is printed may be lost, and the honest are not meant.
    let lines = ratoon.lines();
    let expected = ["connections were lost on their way from another worker", "log lines lost: nobody took them"];
    let lines = lines
        .iter()
        .filter(|line| !expected.iter().any(|message| line["message"] == *message) && line["pool"] != "web");
    assert!(lines.clone().count() < 200, "{} lines in the log", lines.count());
    assert_eq!(ratoon.status_of("web")["deaths"], serde_json::json!({}), "honest workers died");
    slowest
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
    withstands(&ratoon, &["words:1", "words:1"]);
    assert_eq!(ratoon.workers("web"), honest);
    assert!(ratoon.all_logged("last words", &[]).is_empty(), "somebody spoke who was not asked");
}

/// What it says is right, but nobody has asked so often.
#[test]
fn a_flood_of_reports_that_a_worker_may_make_is_not_listened_to() {
    let ratoon = Ratoon::serving(&config("workers = 2\nrequest_timeout = \"100s\""));
    withstands(&ratoon, &["reports:1", "reports:1"]);
    let why = ("what", "it says more than it was asked".into());
    let hung_up = || ratoon.all_logged("a worker does not make sense: hanging up", std::slice::from_ref(&why)).len();
    eventually("both were hung up on", SOON, || (hung_up() == 2).then_some(()));
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
    let before = memory(&ratoon);
    let begun = Instant::now();
    withstands(&ratoon, &["press:3000"]);
    // Its client was told 504 when it was asked first, and it goes on. A supervisor that sleeps finds out nothing.
    eventually("it is done", SOON, || {
        ratoon.status();
        (!ratoon.all_logged("the handler has returned, too late: its client was told 504", &[]).is_empty())
            .then_some(())
    });
    let asked = ratoon.all_logged("overdue: asking where it is stuck", &[]).len();
    // Once in 250 ms.
    let most = begun.elapsed().as_millis() / 250 + 1;
    assert!((3..=most).contains(&(asked as u128)), "it was asked {asked} times in {:?}", begun.elapsed());
    let after = memory(&ratoon);
    assert!(after <= before + MORE, "{before} KiB before, {after} KiB after");
    let said = ratoon.all_logged("last words", &[]).len();
    assert!(said <= asked, "it was asked {asked} times and has answered {said} times");
}

/// "A worker cannot make the supervisor wait."
#[test]
fn connections_that_linger_are_not_waited_for() {
    let ratoon = Ratoon::serving(&config("workers = 1\nrequest_timeout = \"100s\""));
    withstands(&ratoon, &["linger"]);
}

/// What a worker leaves in its inbox on its way out lies there until somebody closes that: at a stop, and when a reload
/// removes the pool.
#[test]
fn connections_that_linger_in_an_inbox_hold_up_neither_a_removal_nor_a_stop() {
    // Their other end is here, and outlives the worker.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for deed in ["linger", "nest"] {
        let leaving = format!("workers = 1\nsettings = {{ stop = \"{deed}:{port}\" }}");
        let mut ratoon = Ratoon::serving(&config(&leaving));
        ratoon.configure(&(CONTROL.to_owned() + &fixture::pool("web", "workers = 2\nsettle = \"0s\"")));
        ratoon.signal(Signal::SIGHUP);
        let pools = || ratoon.status()["pools"].as_array().map(Vec::len);
        eventually("the pool is gone, and the supervisor answers", SOON, || (pools() == Some(1)).then_some(()));
        assert_eq!(get(ratoon.address(), "/ok").status, 200);
        ratoon.signal(Signal::SIGTERM);
        ratoon.leaves_in_peace();

        let mut ratoon = Ratoon::serving(&config(&leaving));
        ratoon.signal(Signal::SIGTERM);
        ratoon.leaves_in_peace();
    }
}

/// As in the inbox, so where connections to the database are leased: that closes when the pool has another.
#[test]
fn connections_that_linger_in_a_lobby_hold_up_no_change_of_the_database() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let bad = |database: &str| {
        let lines = format!("workers = 1\nsettle = \"0s\"\nsettings = {{ stop = \"nest:{port}\" }}");
        config(&format!("{lines}\n[pool.bad.database]\nurl = \"postgres://nobody@127.0.0.1:1/{database}\""))
    };
    let ratoon = Ratoon::serving(&bad("one"));
    let before = ratoon.workers("bad");
    ratoon.configure(&bad("two"));
    ratoon.signal(Signal::SIGHUP);
    eventually("the old worker is gone, and the supervisor answers", SOON, || {
        let workers: Vec<_> = ratoon.status_of("bad")["processes"].as_array()?.clone();
        let is_old = |worker: &Value| worker["pid"] == before[0].as_raw();
        (!workers.is_empty() && !workers.iter().any(is_old)).then_some(())
    });
    // Its template is the last that had the lobby of before, but for the supervisor.
    ratoon.logged("template gone", &[("pool", "bad".into())]);
    ratoon.status();
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}

/// "A worker can spoil its pool's statistics", and nothing else with them: not the sums over all pools, nor the page.
#[test]
fn the_greatest_numbers_in_two_scoreboards_overflow_in_no_process_of_ours() {
    let worse = format!("[pool.worse]\nlisten = [\"127.0.0.1:0\"]\nprogram = [{:?}]\nworkers = 2\n", hostile());
    let database = "[pool.bad.database]\nurl = \"postgres://nobody@127.0.0.1:1/nothing\"";
    let ratoon = Ratoon::serving(&(ADMIN.to_owned() + &config(&format!("workers = 2\n{database}")) + &worse));
    let admin = ratoon.admin_process();
    for pool in ["bad", "worse"] {
        assert_eq!(get(ratoon.address_of(pool), "/fill:300").status, 200);
    }
    for _ in 0..2 {
        assert_eq!(ratoon.status()["pid"], ratoon.pid().as_raw());
        for path in ["/", "/metrics", "/status.json"] {
            assert_eq!(get(ratoon.admin(), path).status, 200, "{path}");
        }
        // A second document: what has happened since the first.
        assert_eq!(get(ratoon.address_of("bad"), "/fill:300").status, 200);
    }
    assert_eq!(ratoon.admin_process(), admin);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}

#[test]
fn thousands_of_orphans_are_buried_in_between() {
    let ratoon = Ratoon::serving(&config("workers = 1\nrequest_timeout = \"100s\""));
    withstands(&ratoon, &["orphans:3000"]);
    eventually("all of them are buried", SOON, || process::zombies(ratoon.pid()).is_empty().then_some(()));
}

/// "A worker cannot make the supervisor wait": not by the flags of what it shares, either. It has a user of its own.
#[test]
fn a_worker_that_has_every_descriptor_wait_and_fills_every_pipe_stops_nobody_but_its_own() {
    assert!(nix::unistd::geteuid().is_root(), "only root can prove this: nothing was tested");
    let public = crate::harness::unprivileged::directory();
    let program = public.path().join("hostile");
    install(hostile(), &program, "0755");
    let lines = "workers = 1\nuser = \"daemon\"\nrequest_timeout = \"100s\"\naccess = \"json\"\naccess_file = \"DIR/bad.access\"";
    let config = "[log]\nfile = \"DIR/ratoon.log\"\n".to_owned() + &config(lines);
    let config = config.replace(hostile().to_str().unwrap(), program.to_str().unwrap());
    let config = config.replacen("127.0.0.1:0", "unix:DIR/bad.sock", 1).replacen("127.0.0.1:0", "unix:DIR/web.sock", 1);
    let ratoon = Ratoon::start(&config);
    says(&ratoon.directory().join("ratoon.log"), &["serving: every pool has a ready worker"]);
    let ask = |pool: &str, word: &str| {
        let mut client = Client::connect_unix(&ratoon.directory().join(format!("{pool}.sock"))).unwrap();
        client.set_patience(SOON);
        client.get(&format!("/{word}"))
    };
    let seized = ask("bad", "seize");
    assert_eq!(seized.status, 200);
    eprintln!("{}", seized.text());
    // Nobody reads the log any more: not at all, and then one after the other that is killed.
    for signal in [Signal::SIGSTOP, Signal::SIGKILL, Signal::SIGSTOP] {
        let logger = eventually("the log process", SOON, || process::children(ratoon.pid(), "ratoon: log").pop());
        kill(logger, signal).unwrap();
        let before = ratoon.workers("web");
        kill(before[0], Signal::SIGKILL).unwrap();
        eventually("the dead one is replaced", SOON * 2, || {
            let now = ratoon.workers("web");
            (now.len() == 2 && !now.contains(&before[0])).then_some(())
        });
        for _ in 0..10 {
            assert_eq!(ask("web", "ok").status, 200);
            assert_eq!(ratoon.status()["pid"], ratoon.pid().as_raw());
        }
        if signal == Signal::SIGSTOP {
            kill(logger, Signal::SIGCONT).unwrap();
        }
    }
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

/// What is printed by the hostile is not for us: only what else is in the log is kept.
fn beside_the_printed(command: &mut Command) {
    wrap(command, &["/bin/bash", "-c", "exec \"$@\" 2> >(exec grep --line-buffered -v xxxxxxxx >&2)", "bash"]);
}

/// Has the hostile print while honest workers do, and finds that neither the supervisor nor the log process has grown, and
/// that what the honest have printed has come, line by line.
#[track_caller]
fn withstands_what_is_printed(words: &[&str]) {
    let ratoon = Ratoon::start_with(&config("workers = 2\nrequest_timeout = \"1000s\""), beside_the_printed);
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let logger = eventually("the log process", SOON, || process::children(ratoon.pid(), "ratoon: log").pop());
    let (over, printed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (before, longest) = (process::status(logger, "RssAnon"), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _end = RaisedAtTheEnd(&over);
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let number = printed.fetch_add(1, Ordering::SeqCst);
                assert_eq!(get(ratoon.address(), &format!("/print:stdout:honest-{number}-")).status, 200);
                longest.fetch_max(process::status(logger, "RssAnon"), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        withstands(&ratoon, words);
    });
    let (printed, longest) = (printed.into_inner(), longest.into_inner());
    eprintln!("the log process had {before} KiB, and {longest} KiB at most; {printed} honest lines");
    assert!(longest <= before + QUEUED, "the log process had {before} KiB and then {longest} KiB");
    assert!(printed > 0);
    let missing = || (0..printed).find(|number| !ratoon.text().contains(&format!("\"honest-{number}-\"")));
    eventually("every honest line is in the log", SOON, || missing().is_none().then_some(()));
    assert_eq!(ratoon.status_of("web")["log_lines_lost"], 0);
    // What others write into the same pipe is not torn, and tears nothing.
    let torn: Vec<Value> = ratoon.lines().into_iter().filter(|line| line["time"].is_null()).collect();
    assert!(torn.is_empty(), "{torn:?}");
}

/// "Neither crowds out anybody": a worker that prints without end.
#[test]
fn what_the_hostile_prints_costs_nobody_a_line() {
    withstands_what_is_printed(&["print:8", "chatter:4"]);
}

#[test]
#[ignore = "takes minutes"]
fn a_gigabyte_that_is_printed_costs_nobody_a_line() {
    withstands_what_is_printed(&["print:256", "chatter:256"]);
}

/// A gigabyte of each: too long for every run.
#[test]
#[ignore = "takes minutes"]
fn a_gigabyte_of_each_moves_nothing() {
    let ratoon = Ratoon::serving(&config("workers = 4\nrequest_timeout = \"1000s\""));
    let slowest = withstands(&ratoon, &["garbage:1024", "words:1024", "linger", "orphans:20000", "scribble:20000"]);
    assert!(!is_optimised() || slowest < ANSWERS_AT_ONCE, "the slowest status took {slowest:?}");
}
