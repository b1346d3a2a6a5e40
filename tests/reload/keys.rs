//! What a change of a key does, and what the log says of it.

use super::{asked, generations, reload_well, web};
use crate::harness::{Client, Ratoon, SOON, eventually, fixture, get, process, time_of};

#[test]
fn the_number_of_workers_follows_the_file_up_and_down() {
    let with = |workers: usize| web("").replace("workers = 2", &format!("workers = {workers}"));
    let ratoon = Ratoon::serving(&with(2));
    for (workers, generation) in [(5, 2), (1, 3), (3, 4)] {
        ratoon.configure(&with(workers));
        reload_well(&ratoon);
        assert_eq!(generations(&ratoon, "web", workers), vec![generation; workers]);
    }
    let said: Vec<String> = ratoon.lines().iter().map(|line| line["message"].to_string()).collect();
    assert!(said.iter().any(|line| line.contains("pool.web.workers: 2 → 5")), "{said:#?}");
}

#[test]
fn settings_and_limits_are_those_of_the_new_file() {
    let ratoon = Ratoon::serving(&web(""));
    assert_eq!(get(ratoon.address(), "/threads:0").text(), "0 MiB");
    ratoon.configure(&web("max_header = \"1KiB\"\nsettings = { load = \"memory:2\" }"));
    reload_well(&ratoon);
    assert_eq!(get(ratoon.address(), "/threads:0").text(), "2 MiB");
    let mut client = Client::connect(ratoon.address());
    client.send(format!("GET /ok HTTP/1.1\r\nHost: test\r\nLong: {}\r\n\r\n", "x".repeat(2000)).as_bytes());
    assert_eq!(client.response().status, 431);
}

/// "The log says which keys changed and what was done"; of what cannot change, that it takes a restart.
#[test]
fn what_needs_a_restart_is_named_and_the_rest_takes_effect() {
    let ratoon = Ratoon::serving(&web(""));
    let changed = web("kill_grace = \"7s\"").replace("DIR/control.sock", "DIR/elsewhere.sock");
    ratoon.configure(&format!("[log]\nformat = \"text\"\nlevel = \"warn\"\n{changed}"));
    reload_well(&ratoon);
    let restart = |key: &str| {
        let of_key = |line: &serde_json::Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message.starts_with(key) && message.ends_with(": takes effect when the daemon is started anew")
        };
        let found = || ratoon.lines().into_iter().filter(of_key).count();
        eventually(&format!("{key} is named"), SOON, || (found() > 0).then_some(()));
        assert_eq!(found(), 1, "{key}: {}", ratoon.text());
    };
    restart("log.format");
    restart("control.socket");
    let summary = eventually("the log says what changed", SOON, || {
        let lines = ratoon.lines();
        lines.into_iter().find(|line| line["message"].as_str().is_some_and(|text| text.starts_with("configuration: ")))
    });
    assert!(summary["message"].as_str().unwrap().contains("pool.web.kill_grace: \"5s\" → \"7s\""), "{summary}");
    assert_eq!(generations(&ratoon, "web", 2), [2, 2]);
    assert!(ratoon.directory().join("control.sock").exists());
    assert!(!ratoon.directory().join("elsewhere.sock").exists());
    time_of(&ratoon.lines().pop().unwrap());
}

/// "Named in the log and in the answer", and judged by what is in force: what is put back needs no restart.
#[test]
fn the_answer_names_what_needs_a_restart_as_long_as_something_else_is_in_force() {
    let ratoon = Ratoon::serving(&web(""));
    let answer = || super::reload(&ratoon, &[]).reason;
    let well = "reloaded: the new generation serves";
    for _ in 0..2 {
        ratoon.configure(&format!("[admin]\nlisten = \"127.0.0.1:9180\"\n{}", web("")));
        let named = "; only when the daemon is started anew takes effect: admin.listen.address, admin.listen.backlog";
        // Also if the file before said the same.
        for _ in 0..2 {
            assert!(answer().starts_with(&format!("{well}{named}")));
        }
        ratoon.configure(&web(""));
        assert_eq!(answer(), well);
    }
    let warned = |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.contains("→ unset"));
    assert!(!ratoon.lines().iter().any(warned), "{}", ratoon.text());
}

#[test]
fn a_reload_of_the_same_file_says_that_nothing_changed() {
    let ratoon = Ratoon::serving(&web(""));
    reload_well(&ratoon);
    ratoon.logged("configuration: nothing changed", &[]);
    assert_eq!(generations(&ratoon, "web", 2), [2, 2]);
}

/// "Live": also for a worker that was forked before.
#[test]
fn a_shorter_kill_grace_holds_for_a_request_that_is_overdue_already() {
    let lines = "workers = 1\nsettle = \"0s\"\nrequest_timeout = \"300ms\"";
    let config = |grace: &str| asked(&fixture::pool("web", &format!("{lines}\nkill_grace = \"{grace}\"\n")));
    let ratoon = Ratoon::serving(&config("1h"));
    let (mut client, pid) = ratoon.engage(ratoon.address(), "hang");
    assert_eq!(client.response().status, 504);
    assert!(process::is_alive(pid));
    ratoon.configure(&config("0s"));
    reload_well(&ratoon);
    let died = ratoon.logged("died", &[("pid", pid.as_raw().into())]);
    assert_eq!((&died["cause"], &died["gen"]), (&"request timeout".into(), &1.into()));
}
