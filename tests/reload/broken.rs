//! Every reload that cannot succeed: the old generation serves on, and everybody who wants to know is told why.

use std::net::TcpListener;

use nix::unistd::Pid;

use super::{FAILED, Outcome, generations, reload, reload_well, web};
use crate::harness::{Ratoon, SOON, eventually, fixture, get, process};

/// A daemon that serves well is told to reload `broken`: nothing changes, `reason` is given, and a good one works later.
#[track_caller]
fn assert_changes_nothing(broken: &str, reason: &str) -> Ratoon {
    let good = web("");
    let ratoon = Ratoon::serving(&good);
    let (workers, template) = (ratoon.ready_workers("web", 2), process::children(ratoon.pid(), "ratoon: web template"));

    ratoon.configure(broken);
    let outcome = reload(&ratoon, &[]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert!(outcome.reason.contains(reason), "{outcome:?}");
    let logged = ratoon.logged(FAILED, &[]);
    let said = logged["reason"].as_str().unwrap();
    assert!(outcome.reason.ends_with(said), "asked: {outcome:?}, in the log: {logged}");

    assert_eq!(ratoon.ready_workers("web", 2), workers);
    eventually("nobody else is left", SOON, || {
        (ratoon.children() == [&template[..], &workers[..]].concat()).then_some(())
    });
    let answers = get(ratoon.address(), "/ok").text();
    assert!(workers.iter().any(|pid| pid.to_string() == answers), "{answers} is none of {workers:?}");

    ratoon.configure(&good);
    reload_well(&ratoon);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    assert!(generations(&ratoon, "web", 2).iter().all(|generation| *generation > 1));
    ratoon
}

#[test]
fn a_file_that_is_no_toml_changes_nothing() {
    assert_changes_nothing("[pool.web\n", "config.toml:1");
}

#[test]
fn an_unknown_key_changes_nothing() {
    assert_changes_nothing(&web("wrokers = 3\n"), "wrokers");
}

#[test]
fn a_log_that_cannot_be_written_changes_nothing() {
    let access = |file: &str| web(&format!("access = \"combined\"\naccess_file = \"{file}\"\n"));
    let said = "pool.web.access_file: /etc is a directory: name a file in it";
    let ratoon = assert_changes_nothing(&access("/etc"), said);
    ratoon.configure(&access("DIR/nowhere/a.log"));
    let outcome = reload(&ratoon, &[]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert!(outcome.reason.contains("nowhere cannot be used: No such file or directory"), "{outcome:?}");
    assert_changes_nothing(
        &format!("[log]\nfile = \"/etc\"\n{}", web("")),
        "log.file: /etc is a directory: name a file in it",
    );
}

#[test]
fn a_wrong_value_changes_nothing() {
    assert_changes_nothing(&web("kill_grace = \"soon\"\n"), "kill_grace");
}

#[test]
fn a_file_that_is_gone_changes_nothing() {
    let ratoon = Ratoon::serving(&web(""));
    let workers = ratoon.ready_workers("web", 2);
    let (file, aside) = (ratoon.directory().join("config.toml"), ratoon.directory().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    let Outcome { status, reason } = reload(&ratoon, &[]);
    assert_eq!(status, Some(1));
    assert!(reason.contains("config.toml"), "{reason}");
    assert_eq!(ratoon.ready_workers("web", 2), workers);
    std::fs::rename(&aside, &file).unwrap();
    reload_well(&ratoon);
}

#[test]
fn an_address_that_is_in_use_changes_nothing() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let broken = web("").replace("127.0.0.1:0\"]", &format!("127.0.0.1:0\", \"{address}\"]"));
    assert_changes_nothing(&broken, &address.to_string());
}

#[test]
fn a_program_that_is_not_there_changes_nothing() {
    let program = format!("{:?}", fixture::program());
    assert_changes_nothing(&web("").replace(&program, "\"DIR/nothing\""), "nothing");
}

#[test]
fn a_program_that_is_none_of_ours_changes_nothing() {
    let program = format!("{:?}", fixture::program());
    assert_changes_nothing(&web("").replace(&program, "\"/bin/true\""), "is it built with ratoon-worker?");
}

#[test]
fn a_template_that_dies_in_load_changes_nothing() {
    assert_changes_nothing(&web("settings = { load = \"exit:3\" }"), "exited 3");
}

#[test]
fn a_template_that_refuses_changes_nothing() {
    assert_changes_nothing(&web("settings = { load = \"error:no catalogue\" }"), "no catalogue");
}

#[test]
fn a_template_that_panics_changes_nothing() {
    assert_changes_nothing(&web("settings = { load = \"panic\" }"), "the fixture panics");
}

#[test]
fn a_template_that_leaves_a_thread_behind_changes_nothing() {
    assert_changes_nothing(&web("settings = { load = \"threads:1\" }"), "1 more threads running");
}

#[test]
fn a_template_that_does_not_load_in_time_changes_nothing() {
    assert_changes_nothing(&web("boot_timeout = \"1s\"\nsettings = { load = \"hang\" }"), "boot timeout");
}

#[test]
fn a_worker_that_is_not_ready_in_time_changes_nothing() {
    let ratoon = assert_changes_nothing(&web("boot_timeout = \"3s\"\nsettings = { start = \"hang\" }"), "boot timeout");
    ratoon.logged("template loaded", &[("gen", 2.into())]);
}

#[test]
fn a_worker_that_cannot_start_changes_nothing() {
    assert_changes_nothing(&web("settings = { start = \"error:no database\" }"), "no database");
}

#[test]
fn a_worker_that_dies_in_its_start_changes_nothing() {
    assert_changes_nothing(&web("settings = { start = \"exit:4\" }"), "exited 4");
}

#[test]
fn a_preparation_that_fails_changes_nothing() {
    assert_changes_nothing(&web("prepare = [\"/bin/sh\", \"-c\", \"exit 5\"]"), "its preparation failed: exited 5");
}

#[test]
fn a_preparation_that_does_not_end_changes_nothing_and_is_killed_with_what_it_started() {
    let prepare = "prepare = [\"/bin/sh\", \"-c\", \"sleep 3600 & sleep 3601\"]\nboot_timeout = \"1s\"";
    let ratoon = assert_changes_nothing(&web(prepare), "boot_timeout");
    eventually("all that the preparation started is gone", SOON, || {
        let is_there = |pid: &Pid| {
            let place = std::fs::read_link(format!("/proc/{pid}/cwd"));
            process::title(*pid).starts_with("sleep 360") && place.is_ok_and(|place| place == ratoon.directory())
        };
        (!process::all().any(|pid| is_there(&pid))).then_some(())
    });
}

/// One pool's trouble is everybody's: a reload is for all of them or for none.
#[test]
fn what_is_wrong_with_one_pool_leaves_every_pool_as_it_was() {
    let jobs = |lines: &str| fixture::pool("jobs", &format!("workers = 1\nsettle = \"50ms\"\n{lines}"));
    let ratoon = Ratoon::serving(&(web("") + &jobs("")));
    let workers = [ratoon.ready_workers("web", 2), ratoon.ready_workers("jobs", 1)].concat();
    ratoon.configure(&(web("surge = \"50%\"") + &jobs("settings = { load = \"error:no queue\" }")));
    let Outcome { status, reason } = reload(&ratoon, &[]);
    assert_eq!(status, Some(1));
    assert!(reason.contains("pool jobs") && reason.contains("no queue"), "{reason}");
    assert_eq!([ratoon.ready_workers("web", 2), ratoon.ready_workers("jobs", 1)].concat(), workers);
}

/// The command that must succeed first, does: and then only is the program loaded.
#[test]
fn a_preparation_that_succeeds_comes_before_the_template() {
    let ratoon = Ratoon::serving(&web(""));
    let prepare = "prepare = [\"/bin/sh\", \"-c\", \"sleep 0.2; touch DIR/migrated\"]\n";
    ratoon.configure(&web(&format!("{prepare}settings = {{ load = \"needs:DIR/migrated\" }}")));
    reload_well(&ratoon);
    assert_eq!(generations(&ratoon, "web", 2), [2, 2]);
}
