//! Where a password may stand, and that it stands nowhere else.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{CONTROL, RATOON, Ratoon, SOON, eventually, fixture, get, process};

/// Stands wherever a password may.
const MARKER: &str = "hunter2";
/// Every program is given what is called like this, but for a secret.
const VARIABLE: &str = "LC_TEST_DATABASE_URL";
const TAKEN_OVER: &str = "upgraded: this program has taken over";

fn url(user: &str) -> String {
    format!("postgres://{user}:{MARKER}@127.0.0.1:1/shop")
}

#[track_caller]
fn serving(config: &str) -> Ratoon {
    let ratoon = Ratoon::start_with(config, |command| {
        command.env(VARIABLE, url("shop"));
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    ratoon
}

#[track_caller]
fn reload(ratoon: &Ratoon) -> (bool, String) {
    let socket = ratoon.directory().join("control.sock");
    let output = Command::new(RATOON).args(["reload", "--socket"]).arg(socket).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// Upgrades the supervisor to the program that it is.
#[track_caller]
fn upgrade(ratoon: &Ratoon) {
    ratoon.signal(Signal::SIGUSR2);
    eventually(&format!("an upgrade; the log:\n{}", ratoon.text()), SOON, || {
        ratoon.all_logged(TAKEN_OVER, &[]).first().map(drop)
    });
}

/// Nothing that anybody can see of the supervisor has the marker in it.
#[track_caller]
fn nothing_is_given_away(ratoon: &Ratoon) {
    let shown = format!("{}\n{}", ratoon.text(), ratoon.status());
    assert!(!shown.contains(MARKER), "{shown}");
    for pid in ratoon.family() {
        assert!(!process::title(pid).contains(MARKER), "{}", process::title(pid));
    }
}

/// No application has the variable in its environment.
#[track_caller]
fn nobody_is_given_the_variable(ratoon: &Ratoon) {
    for pool in ["web", "other"] {
        let answer = get(ratoon.address_of(pool), &format!("/environment:{VARIABLE}"));
        assert_eq!(answer.text(), "unset", "{pool}");
        let kept = get(ratoon.address_of(pool), "/environment:PATH");
        assert_ne!(kept.text(), "unset", "{pool}");
    }
}

#[test]
fn a_variable_with_a_url_reaches_prepare_and_no_template_and_no_worker() {
    let prepare = format!("prepare = [\"sh\", \"-c\", \"echo ${VARIABLE} > DIR/prepared\"]");
    let web = fixture::pool(
        "web",
        &format!("workers = 1\nsettle = \"0s\"\n{prepare}\n[pool.web.database]\nurl_env = \"{VARIABLE}\""),
    );
    let config = format!("{CONTROL}{web}{}", fixture::pool("other", "workers = 1\nsettle = \"0s\""));
    let ratoon = serving(&config);
    assert_eq!(std::fs::read_to_string(ratoon.directory().join("prepared")).unwrap().trim(), url("shop"));
    nobody_is_given_the_variable(&ratoon);
    upgrade(&ratoon);
    assert!(reload(&ratoon).0);
    nobody_is_given_the_variable(&ratoon);
    nothing_is_given_away(&ratoon);
}

#[test]
fn a_secret_that_changes_in_its_file_counts_with_the_next_reload_and_is_not_told() {
    let keys = "workers = 1\nsettle = \"0s\"\n[pool.web.database]\nurl_file = \"DIR/url\"";
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("url");
    let config = format!("{CONTROL}{}", fixture::pool("web", keys)).replace("DIR/url", secret.to_str().unwrap());
    std::fs::write(&secret, url("old")).unwrap();
    let ratoon = serving(&config);

    std::fs::write(&secret, url("new")).unwrap();
    assert!(reload(&ratoon).0);
    ratoon.logged("configuration: pool.web.database.url changed", &[]);

    std::fs::remove_file(&secret).unwrap();
    let (done, said) = reload(&ratoon);
    assert!(!done && said.contains("pool.web.database.url_file: ") && said.contains("No such file"), "{said}");
    ratoon.signal(Signal::SIGUSR2);
    let failed = eventually("the rehearsal fails", SOON, || {
        ratoon.all_logged("upgrade failed: the old program goes on", &[]).into_iter().next()
    });
    assert!(failed.to_string().contains("pool.web.database.url_file: "), "{failed}");

    std::fs::write(&secret, url("new")).unwrap();
    upgrade(&ratoon);
    std::fs::write(&secret, url("newest")).unwrap();
    assert!(reload(&ratoon).0);
    // What was taken over was the new one: it is known, so that the newest is told from it, and it alone has changed.
    let told = eventually("it is told", SOON, || {
        let told = ratoon.all_logged("configuration: pool.web.database.url changed", &[]);
        (told.len() >= 2).then_some(told)
    });
    assert_eq!(told.len(), 2, "{}", ratoon.text());
    nothing_is_given_away(&ratoon);
}

#[test]
fn a_url_in_the_configuration_is_shown_by_nobody() {
    let keys = |user: &str| format!("workers = 1\nsettle = \"0s\"\n[pool.web.database]\nurl = \"{}\"", url(user));
    let config = |user: &str| format!("{CONTROL}{}", fixture::pool("web", &keys(user)));
    let ratoon = serving(&config("old"));
    ratoon.configure(&config("new"));
    assert!(reload(&ratoon).0);
    ratoon.configure(&config("newer").replace(&format!("\"{}\"", url("newer")), &url("newer")));
    let (done, said) = reload(&ratoon);
    assert!(!done && !said.contains(MARKER), "{said}");
    let check = Command::new(RATOON).args(["check", "--config"]).arg(ratoon.directory().join("config.toml")).output();
    let check = check.unwrap();
    assert_eq!(check.status.code(), Some(2));
    let said = [check.stdout, check.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("text needs quotes") && !said.contains(MARKER), "{said}");
    nothing_is_given_away(&ratoon);
}
