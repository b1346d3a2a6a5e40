//! The file of an access log: opened anew without losing a line, closed with the last who writes it; and where lines go without.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{lines, with};
use crate::harness::{CONTROL, Ratoon, SOON, eventually, fixture, get, process};

/// The daemon's log is where lines go that have no file of their own.
#[test]
fn without_a_file_of_its_own_lines_are_in_the_log() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1\naccess = \"ACCESS {method} {target} {status}\""));
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    ratoon.logged("ACCESS GET /ok 200", &[]);
}

#[test]
fn an_access_log_is_opened_anew_with_the_rest_and_loses_no_line() {
    let (mut ratoon, file) = with("{target}", "");
    let olds: Vec<PathBuf> = (0..5).map(|round| ratoon.directory().join(format!("access.{round}"))).collect();
    eventually("the log process has opened it", SOON, || file.exists().then_some(()));
    for (round, old) in olds.iter().enumerate() {
        for line in 0..50 {
            assert_eq!(get(ratoon.address(), &format!("/ok?{round}-{line}")).status, 200);
        }
        std::fs::rename(&file, old).unwrap();
        let before = ratoon.all_logged("the log is opened anew", &[]).len();
        ratoon.signal(Signal::SIGUSR1);
        eventually("it is opened anew", SOON, || {
            (ratoon.all_logged("the log is opened anew", &[]).len() > before).then_some(())
        });
    }
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    let all: String = olds.iter().chain([&file]).map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let expected: Vec<String> =
        (0..5).flat_map(|round| (0..50).map(move |line| format!("/ok?{round}-{line}"))).collect();
    assert_eq!(all.lines().collect::<Vec<_>>(), expected);
}

/// A reload that takes an access log away closes its file everywhere, and one that brings it back goes on with it.
#[test]
fn the_file_of_an_access_log_that_is_taken_away_is_closed() {
    let pool =
        |lines: &str| CONTROL.to_owned() + &fixture::pool("web", &format!("workers = 1\nsettle = \"0s\"\n{lines}"));
    let with = pool("access = \"{target}\"\naccess_file = \"DIR/access\"");
    let ratoon = Ratoon::serving(&with);
    let file = ratoon.directory().join("access");
    let open = |pid: Pid| {
        let all = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        all.map(|each| std::fs::read_link(each.path()).unwrap_or_default()).collect::<Vec<PathBuf>>()
    };
    let log = process::children(ratoon.pid(), "ratoon: log")[0];
    let mut before = None;
    for (round, expected) in [(0, 1), (1, 2)] {
        assert_eq!(get(ratoon.address(), &format!("/ok?{round}")).status, 200);
        assert_eq!(lines(&file, expected).last().unwrap(), &format!("/ok?{round}"));
        assert!(open(log).contains(&file));
        for (config, number) in [(pool(""), 2 * round + 1), (with.clone(), 2 * round + 2)] {
            ratoon.configure(&config);
            ratoon.signal(Signal::SIGHUP);
            eventually("it is reloaded", SOON, || (ratoon.all_logged("reloaded", &[]).len() == number).then_some(()));
            if number % 2 == 1 {
                eventually("the log process has closed it", SOON, || (!open(log).contains(&file)).then_some(()));
                assert_eq!(get(ratoon.address(), "/ok?unseen").status, 200);
                // Nor does the supervisor keep anything of it.
                eventually("the old template has left", SOON, || {
                    (process::children(ratoon.pid(), "ratoon: web").len() == 2).then_some(())
                });
                let before = *before.get_or_insert_with(|| process::descriptors_at_rest(ratoon.pid()));
                eventually("it has as few descriptors as after the first", SOON, || {
                    (process::descriptors(ratoon.pid()) <= before).then_some(())
                });
            }
        }
    }
    assert_eq!(lines(&file, 2), ["/ok?0", "/ok?1"]);
}
