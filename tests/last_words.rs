//! What a worker says when its request is overdue or when it crashes: to its client, and to the log.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{CONTROL, Client, Ratoon, SOON, eventually, fixture, get, process, time_of, wrap};

/// Time enough for the soft step before the hard one, however busy the machine is.
const PATIENT: &str = "workers = 1\nrequest_timeout = \"300ms\"\nkill_grace = \"60s\"";

fn serving(lines: &str) -> Ratoon {
    Ratoon::serving(&fixture::pool("web", lines))
}

/// Asks for a word over a connection that stays open; all that comes back until it is closed, and who it was.
#[track_caller]
fn told(ratoon: &Ratoon, word: &str) -> (String, Pid) {
    let (mut client, pid) = ratoon.engage(ratoon.address(), word);
    let told = client.until_closed().expect("an end");
    (String::from_utf8_lossy(&told).into_owned(), pid)
}

#[track_caller]
fn is_one_answer(told: &str, status: u16) {
    assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told:?}");
    assert_eq!(told.matches("HTTP/1.").count(), 1, "{told:?}");
    let (head, body) = told.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.contains("\r\nconnection: close"), "{told:?}");
    assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{told:?}");
}

#[track_caller]
fn last_words(ratoon: &Ratoon, pid: Pid) -> Value {
    ratoon.logged("last words", &[("pid", pid.as_raw().into())])
}

#[track_caller]
fn backtrace(words: &Value) -> &str {
    words["backtrace"].as_str().unwrap_or_else(|| panic!("no backtrace in {words}"))
}

/// The application's function that took the request is named, and nobody who called it.
#[track_caller]
fn names_the_handler(words: &Value) {
    let trace = backtrace(words);
    assert!(trace.contains("handle") && trace.contains("fixture.rs:"), "{trace}");
    assert!(!trace.contains("serve::"), "{trace}");
}

#[test]
fn the_client_of_an_overdue_request_is_told_504_once_and_the_log_says_where_it_stood() {
    for (word, function) in [("spin", "spin_for_ever"), ("hang", "sleep")] {
        let ratoon = serving(PATIENT);
        let (told, pid) = told(&ratoon, word);
        is_one_answer(&told, 504);
        let words = last_words(&ratoon, pid);
        assert_eq!(words["level"], "ERROR");
        assert_eq!((&words["pool"], &words["worker"], &words["gen"]), (&"web".into(), &0.into(), &1.into()));
        assert_eq!(words["why"], "request timeout");
        assert_eq!(words["request"], format!("GET /{word} HTTP/1.1"));
        assert!(words["running"].as_str().is_some_and(|time| time.ends_with('s')), "{words}");
        assert!(backtrace(&words).contains(function), "{words}");
        names_the_handler(&words);
    }
}

#[test]
fn a_worker_whose_handler_returns_within_the_grace_lives_on_and_says_nothing_more_to_that_client() {
    let ratoon = serving(PATIENT);
    let quiet = idle(&ratoon, ratoon.ready_workers("web", 1)[0]);
    for target in ["GET /sleep:900", "HEAD /sleep:900"] {
        let begun = ratoon.all_logged("begins", &[]).len();
        let mut client = Client::connect(ratoon.address());
        // The second request is not the answered one's: it is lost with the connection, and never run.
        client.send(format!("{target} HTTP/1.1\r\nHost: a\r\n\r\nGET /sleep:1 HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let told = String::from_utf8(client.until_closed().expect("an end")).unwrap();
        assert!(told.starts_with("HTTP/1.1 504 ") && told.matches("HTTP/1.").count() == 1, "{told:?}");
        assert_eq!(told.ends_with("\r\n\r\n"), target.starts_with("HEAD"), "{told:?}");
        let late = ratoon.logged(
            "the handler has returned, too late: its client was told 504",
            &[("request", format!("{target} HTTP/1.1").into())],
        );
        let pid = Pid::from_raw(late["pid"].as_i64().unwrap() as i32);
        ratoon.logged("last words", &[("request", format!("{target} HTTP/1.1").into())]);
        let answer = get(ratoon.address(), "/ok");
        assert_eq!((answer.status, answer.text()), (200, pid.to_string()));
        assert_eq!(ratoon.all_logged("begins", &[]).len(), begun + 1);
        eventually("the connection is let go", SOON, || (idle(&ratoon, pid) == quiet).then_some(()));
    }
    assert!(ratoon.all_logged("died", &[]).is_empty() && ratoon.all_logged("killing", &[]).is_empty());
}

/// How many descriptors a worker has that serves one client, who asks.
fn idle(ratoon: &Ratoon, pid: Pid) -> usize {
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/ok").status, 200);
    process::descriptors(pid)
}

#[test]
fn the_client_of_a_worker_that_crashes_is_told_500_and_the_log_says_of_what_and_where() {
    let crashes = [
        ("segfault", "signal SIGSEGV", Some("0x10"), "follow_a_wild_pointer"),
        ("overflow", "signal SIGSEGV", Some("stack overflow"), "exhaust_the_stack"),
        ("abort", "signal SIGABRT", None, "abort"),
    ];
    let ratoon = serving("workers = 1");
    for (word, why, fault, function) in crashes {
        ratoon.ready_workers("web", 1);
        let (told, pid) = told(&ratoon, word);
        is_one_answer(&told, 500);
        let words = last_words(&ratoon, pid);
        assert_eq!((&words["why"], words["fault"].as_str()), (&why.into(), fault));
        assert_eq!(words["request"], format!("GET /{word} HTTP/1.1"));
        assert!(backtrace(&words).contains(function), "{words}");
        names_the_handler(&words);
        let died = ratoon.logged("died", &[("pid", pid.as_raw().into())]);
        assert!(died["cause"].as_str().unwrap().starts_with(why), "{died}");
        assert_eq!(died["request"], words["request"]);
    }
}

#[test]
fn a_crash_leaves_a_core_where_the_system_allows_it() {
    let config = fixture::pool("web", "workers = 1");
    let (_, most) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    let ratoon = Ratoon::start_with(&config, |command| wrap(command, &["prlimit", &format!("--core={most}:{most}")]));
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let (_, pid) = told(&ratoon, "segfault");
    let died = ratoon.logged("died", &[("pid", pid.as_raw().into())]);
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let dumps = most > 0 && (pattern.starts_with('|') || !pattern.contains('/'));
    let expected = if dumps { "signal SIGSEGV (core dumped)" } else { "signal SIGSEGV" };
    assert_eq!(died["cause"], expected, "with the pattern {pattern:?} and a limit of {most}");
}

#[test]
fn a_response_that_has_begun_is_not_answered_again() {
    let ratoon = serving(PATIENT);
    for (deed, why) in [("segfault", "signal SIGSEGV"), ("abort", "signal SIGABRT"), ("spin", "request timeout")] {
        let pid = ratoon.ready_workers("web", 1)[0];
        let mut client = Client::connect(ratoon.address());
        client.send(format!("GET /then:{deed} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let words = last_words(&ratoon, pid);
        assert_eq!((&words["why"], &words["request"]), (&why.into(), &format!("GET /then:{deed} HTTP/1.1").into()));
        assert!(backtrace(&words).contains("fixture.rs:"), "{words}");
        if deed == "spin" {
            kill(pid, Signal::SIGKILL).unwrap();
        }
        let told = String::from_utf8(client.until_closed().expect("an end")).unwrap();
        assert!(told.starts_with("HTTP/1.1 200 ") && told.matches("HTTP/1.").count() == 1, "{told:?}");
        ratoon.logged("died", &[("pid", pid.as_raw().into())]);
    }
}

/// "A worker that blocks or ignores every signal it can, spins, or sleeps is gone within its grace plus 2 s." By the
/// log's own clock; a machine that is busy with other things may be late: the best of several rounds counts. One that
/// does not take the signal for the overdue has nothing to say, and its client hears nothing.
#[test]
fn whatever_a_handler_does_its_worker_is_gone_within_its_grace_and_two_seconds() {
    let (timeout, grace) = (Duration::from_millis(300), Duration::from_secs(2));
    for (word, status) in [("deaf", None), ("callous", None), ("spin", Some(504)), ("hang", Some(504))] {
        let ratoon = serving("workers = 1\nrequest_timeout = \"300ms\"\nkill_grace = \"2s\"");
        let rounds = (0..3).map(|_| {
            let pid = ratoon.ready_workers("web", 1)[0];
            let (told, its) = told(&ratoon, word);
            assert_eq!(its, pid);
            match status {
                Some(status) => {
                    is_one_answer(&told, status);
                    last_words(&ratoon, pid);
                }
                None => assert_eq!(told, ""),
            }
            let died = ratoon.logged("died", &[("pid", pid.as_raw().into())]);
            assert_eq!(died["cause"], "request timeout");
            assert_eq!(died["request"], format!("GET /{word} HTTP/1.1"));
            let begun = ratoon.logged("begins", &[("pid", pid.as_raw().into())]);
            time_of(&died).saturating_sub(time_of(&begun))
        });
        let most = timeout + grace + Duration::from_secs(2);
        assert!({ rounds }.any(|took| took < most), "{word}; the log:\n{}", ratoon.text());
        let spoke = !ratoon.all_logged("last words", &[]).is_empty();
        assert_eq!(spoke, status.is_some(), "{word}");
    }
}

#[test]
fn a_request_that_extends_its_deadline_is_given_the_time() {
    let ratoon = serving("workers = 1\nrequest_timeout = \"200ms\"\nkill_grace = \"300ms\"");
    let mut client = Client::connect(ratoon.address());
    let answer = client.get("/extended:1500");
    assert_eq!((answer.status, answer.text()), (200, "extended".into()));
    assert!(ratoon.all_logged("last words", &[]).is_empty() && ratoon.all_logged("died", &[]).is_empty());
    // The next request has the usual time again.
    client.send(b"GET /spin HTTP/1.1\r\nHost: a\r\n\r\n");
    ratoon.logged("died", &[("cause", "request timeout".into()), ("request", "GET /spin HTTP/1.1".into())]);
}

#[test]
fn a_stray_signal_for_the_overdue_is_nothing_to_a_worker_that_is_not() {
    let ratoon = serving("workers = 1");
    let pid = ratoon.ready_workers("web", 1)[0];
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/ok").status, 200);
    kill(pid, Signal::SIGURG).unwrap();
    assert_eq!(client.get("/ok").text(), pid.to_string());
    let (mut busy, its) = ratoon.engage(ratoon.address(), "sleep:500");
    kill(its, Signal::SIGURG).unwrap();
    assert_eq!(busy.response().status, 200);
    assert_eq!(client.get("/ok").text(), pid.to_string());
    assert!(ratoon.all_logged("last words", &[]).is_empty());
}

#[test]
fn a_worker_that_is_sent_a_deadly_signal_while_it_waits_says_that_it_ran_no_request() {
    let ratoon = Ratoon::serving(&format!("{CONTROL}{}", fixture::pool("web", "workers = 1")));
    for (signal, why) in [
        (Signal::SIGSEGV, "signal SIGSEGV"),
        (Signal::SIGBUS, "signal SIGBUS"),
        (Signal::SIGFPE, "signal SIGFPE"),
        (Signal::SIGILL, "signal SIGILL"),
        (Signal::SIGABRT, "signal SIGABRT"),
    ] {
        let pid = ratoon.ready_workers("web", 1)[0];
        let mut client = Client::connect(ratoon.address());
        assert_eq!(client.get("/ok").status, 200);
        // A request ends a little after its answer.
        eventually("it waits", SOON, || (ratoon.status_of("web")["idle_processes"] == 1).then_some(()));
        kill(pid, signal).unwrap();
        assert_eq!(client.until_closed().as_deref(), Some(&b""[..]));
        let words = last_words(&ratoon, pid);
        assert_eq!((&words["why"], &words["request"], &words["fault"]), (&why.into(), &Value::Null, &Value::Null));
        assert!(backtrace(&words).contains(".rs:"), "{words}");
    }
}

#[test]
fn whoever_names_addresses_leaves_nothing_behind() {
    let mut ratoon = serving("workers = 2");
    for _ in 0..4 {
        let (_, pid) = told(&ratoon, "abort");
        last_words(&ratoon, pid);
    }
    ratoon.ready_workers("web", 2);
    // The supervisor, the template, the workers.
    eventually("nobody else is there", SOON, || (ratoon.family().len() == 4).then_some(()));
    for parent in ratoon.family() {
        eventually("nobody is left to be buried", SOON, || process::zombies(parent).is_empty().then_some(()));
    }
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
}
