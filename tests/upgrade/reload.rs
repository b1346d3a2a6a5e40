//! An upgrade and a reload that are wanted at the same time.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{CHECKS, TAKEN_OVER, Upgradable, config};
use crate::harness::{SOON, eventually};

/// "USR2 during a reload waits for its end."
#[test]
fn an_upgrade_during_a_reload_waits_for_its_end() {
    let ratoon = Upgradable::serving(&config("workers = 2\nsettle = \"1s\""));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("the new generation serves alone: it is watched for settle", &[]);
    ratoon.upgrade();
    let messages: Vec<Value> = ratoon.lines().into_iter().map(|line| line["message"].clone()).collect();
    let place = |message: &str| messages.iter().position(|each| each == message).unwrap();
    assert!(place("reloaded") < place(CHECKS), "{}", ratoon.text());
    assert_eq!(ratoon.status()["last_reload"]["outcome"], "done");
}

/// A reload that begins while the new program looks at the state makes that an old one: it looks again.
#[test]
fn a_reload_during_the_check_is_finished_first_and_the_check_repeated() {
    let ratoon = Upgradable::serving(&config("workers = 2\nsettle = \"300ms\""));
    let (began, go) = (ratoon.directory().join("began"), ratoon.directory().join("go"));
    ratoon.install_script(&format!(
        "[ $1 = check ] && touch {began:?} && until [ -e {go:?} ]; do sleep 0.01; done\nexec @ratoon@ \"$@\""
    ));
    ratoon.signal(Signal::SIGUSR2);
    eventually("the check begins", SOON, || began.exists().then_some(()));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloading", &[]);
    std::fs::write(go, "").unwrap();
    ratoon.logged(TAKEN_OVER, &[]);
    assert_eq!(ratoon.all_logged("reloaded", &[]).len(), 1);
    assert_eq!(ratoon.all_logged(CHECKS, &[]).len(), 2);
    assert_eq!(ratoon.status_of("web")["generations"], serde_json::json!([2]));
}
