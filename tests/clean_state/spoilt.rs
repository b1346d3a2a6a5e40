//! For each thing: a handler that spoils it and a next request that sees nothing of it, on one keep-alive connection and
//! on one worker.

use nix::sys::signal::{Signal, kill};

use super::{NOBODY, serving, soil};
use crate::harness::{Client, Ratoon, SOON, eventually, get, process};

/// Whatever the first of two requests does to `what`, the second finds the state of before, and has the same worker.
#[track_caller]
fn is_not_seen(ratoon: &Ratoon, what: &str) {
    let mut client = Client::connect(ratoon.address());
    let before = soil(&mut client);
    for (word, status) in [("spoil", 200), ("spoil-error", 500), ("spoil-panic", 500)] {
        assert_eq!(client.get(&format!("/{word}:{what}")).status, status);
        assert_eq!(soil(&mut client), before, "{word}:{what}");
    }
}

/// One that goes on after a panic, so that it is seen what a panic leaves behind.
fn continuing() -> Ratoon {
    serving("panics = \"continue\"")
}

#[test]
fn a_request_local_is_back_to_its_initial_value() {
    is_not_seen(&continuing(), "request_local");
}

#[test]
fn an_extension_is_gone() {
    is_not_seen(&continuing(), "extension");
}

#[test]
fn the_working_directory_is_put_back() {
    is_not_seen(&continuing(), "directory");
}

#[test]
fn the_umask_is_put_back() {
    is_not_seen(&continuing(), "umask");
}

#[test]
fn the_signal_mask_is_put_back() {
    is_not_seen(&continuing(), "mask");
}

#[test]
fn the_environment_is_put_back() {
    is_not_seen(&continuing(), "environment");
}

#[test]
fn all_of_it_is_put_back_a_thousand_times() {
    let ratoon = continuing();
    let mut client = Client::connect(ratoon.address());
    let before = soil(&mut client);
    for _ in 0..1000 {
        assert_eq!(client.get("/spoil:request_local:extension:directory:umask:mask:environment").status, 200);
    }
    assert_eq!(soil(&mut client), before);
}

/// "Values dropped at the end of the request that made them (also when the handler panicked)"; a destructor finds what was
/// touched with it.
#[test]
fn values_are_dropped_at_the_end_of_the_request_that_made_them_also_after_an_error_or_a_panic() {
    let ratoon = continuing();
    let mut client = Client::connect(ratoon.address());
    for (round, word) in ["spoil", "spoil-error", "spoil-panic"].into_iter().enumerate() {
        client.send(
            format!("GET /{word}:witness:extension HTTP/1.1\r\nHost: a\r\nX-Request-Id: {word}\r\n\r\n").as_bytes(),
        );
        client.response();
        ratoon.logged("an extension is dropped", &[("name", word.into())]);
        ratoon.logged("a request-local value is dropped", &[("request_id", word.into())]);
        assert_eq!(ratoon.all_logged("a request-local value is dropped", &[]).len(), round + 1);
    }
}

#[test]
fn a_destructor_that_panics_is_contained_and_the_others_run() {
    let ratoon = continuing();
    let mut client = Client::connect(ratoon.address());
    let before = soil(&mut client);
    assert_eq!(client.get("/spoil:witness:outrage:request_local:umask").status, 200);
    assert_eq!(soil(&mut client), before);
    ratoon.logged("the destructor of a request-local value panicked", &[]);
    ratoon.logged("a request-local value is dropped", &[]);
}

/// `reset = "recycle"`: "a worker that was found changed".
#[test]
fn with_reset_recycle_a_worker_that_was_changed_is_replaced_and_the_log_says_by_what() {
    for (what, name) in [
        ("directory", "working directory"),
        ("umask", "umask"),
        ("mask", "signal mask"),
        ("environment", "environment"),
    ] {
        let ratoon = serving("reset = \"recycle\"");
        let mut client = Client::connect(ratoon.address());
        let before = soil(&mut client);
        let pid = client.get("/ok").text();
        assert_eq!(client.get(&format!("/spoil:request_local:extension:{what}")).text(), pid);
        let gone = ratoon.logged("gone", &[("cause", "recycled after a change".into())]);
        assert_eq!(gone["pid"].to_string(), pid);
        let route = format!("GET /spoil:request_local:extension:{what}");
        ratoon.logged("a request has changed its process", &[("changed", name.into()), ("route", route.into())]);
        // The connection goes on with the next one, as it was.
        let mut after = soil(&mut client);
        assert_ne!(after["pid"], before["pid"]);
        after["pid"] = before["pid"].clone();
        assert_eq!(after, before);
        assert_eq!(ratoon.status_of("web")["deaths"]["recycled after a change"], 1);
        assert_eq!(ratoon.all_logged("died", &[]), NOBODY);
    }
}

#[test]
fn with_reset_recycle_a_worker_that_was_not_changed_stays() {
    let ratoon = serving("reset = \"recycle\"");
    let mut client = Client::connect(ratoon.address());
    let pid = client.get("/ok").text();
    for _ in 0..100 {
        assert_eq!(client.get("/spoil:request_local:extension:witness").text(), pid);
    }
}

#[test]
fn with_reset_off_the_process_stays_as_it_was_left_and_request_locals_do_not() {
    let ratoon = serving("reset = \"off\"");
    let mut client = Client::connect(ratoon.address());
    let before = soil(&mut client);
    assert_eq!(client.get("/spoil:request_local:extension:directory:umask:mask:environment").status, 200);
    let after = soil(&mut client);
    for left in ["directory", "umask", "blocked", "environment"] {
        assert_ne!(after[left], before[left], "{left}");
    }
    for cleaned in ["pid", "count", "names", "extensions"] {
        assert_eq!(after[cleaned], before[cleaned], "{cleaned}");
    }
}

/// "The mask restored is the one the worker had after `start`", and so are the rest: what `load` and `start` do stays.
#[test]
fn what_start_makes_of_the_process_is_what_is_put_back() {
    let ratoon = serving("settings = { start = \"spoil:directory:umask:mask:environment\" }");
    let mut client = Client::connect(ratoon.address());
    let before = soil(&mut client);
    assert_eq!((&before["directory"], &before["umask"]), (&"/tmp".into(), &"0777".into()));
    assert_eq!(before["environment"]["SPOILT"], "yes");
    assert_eq!(client.get("/chdir:~").status, 200);
    assert_eq!(soil(&mut client), before);
}

#[test]
fn what_load_and_start_make_of_request_locals_no_request_sees() {
    let ratoon = serving("settings = { load = \"spoil:request_local\", start = \"spoil:request_local\" }");
    let mut client = Client::connect(ratoon.address());
    let state = soil(&mut client);
    assert_eq!((&state["count"], &state["names"]), (&1.into(), &serde_json::json!([])));
}

#[test]
fn a_working_directory_that_was_removed_harms_nobody_and_is_said_once() {
    let gone = tempfile::tempdir().unwrap();
    let path = gone.path().to_str().unwrap().replace('/', "~");
    let ratoon = serving(&format!("reset_check = 1\nsettings = {{ start = \"chdir:{path}\" }}"));
    let mut client = Client::connect(ratoon.address());
    assert_eq!(soil(&mut client)["directory"], gone.path().to_str().unwrap());
    drop(gone);
    for _ in 0..10 {
        assert_eq!(client.get("/spoil:directory").status, 200);
        assert_eq!(client.get("/ok").status, 200);
    }
    let said = "something is wrong with the working directory of this worker";
    eventually("it is said", SOON, || (!ratoon.all_logged(said, &[]).is_empty()).then_some(()));
    assert_eq!(ratoon.all_logged(said, &[]).len(), 1);
    assert_eq!(ratoon.all_logged("gone", &[]), NOBODY);
}

/// What is put back does not hide what a worker is told: TERM is heard whatever a handler has blocked.
#[test]
fn a_worker_whose_handler_has_blocked_every_signal_still_hears_that_it_is_to_leave() {
    let ratoon = serving("");
    let pid = ratoon.ready_workers("web", 1)[0];
    assert_eq!(get(ratoon.address(), "/spoil:mask").status, 200);
    kill(pid, Signal::SIGTERM).unwrap();
    ratoon.logged("gone", &[("pid", pid.as_raw().into()), ("cause", "retired by operator".into())]);
    assert!(!process::is_alive(pid));
}
