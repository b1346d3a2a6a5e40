//! "`systemctl start` returns when every pool serves, and fails when that cannot be."

use super::{WEB, pool};
use crate::harness::machine::{CONFIG, Machine};
use crate::harness::{Client, SOON, eventually};

#[test]
fn a_start_blocks_until_every_pool_has_a_ready_worker() {
    let machine = Machine::boot();
    let slow = pool("slow", 8081, "settings = { load = \"await:~run~ratoon~go\" }");
    machine.write(CONFIG, &(pool("web", 8080, "") + &slow));
    let mut start = machine.command(&["systemctl", "start", "ratoon"]).spawn().unwrap();
    eventually("the quick pool serves", SOON, || {
        machine.in_its_network(|| Client::try_connect(WEB.parse().unwrap()).ok())
    });
    assert_eq!(machine.get(WEB, "/ok").status, 200);
    assert_eq!(machine.property("ratoon", "ActiveState"), "activating");
    assert_eq!(start.try_wait().unwrap(), None);
    machine.write("/run/ratoon/go", "");
    assert!(start.wait().unwrap().success());
    assert_eq!(machine.property("ratoon", "ActiveState"), "active");
    assert_eq!(machine.get("127.0.0.1:8081", "/ok").status, 200);
}

#[test]
fn a_start_with_a_wrong_configuration_fails_and_the_journal_says_why() {
    let machine = Machine::boot();
    machine.write(CONFIG, &pool("web", 8080, "worker = 3"));
    assert!(!machine.run(&["systemctl", "start", "ratoon"]).status.success());
    machine.said("ratoon", "/etc/ratoon/config.toml:5: pool.web.worker: no such key");
}

/// "`check` warns where `TimeoutStopSec` is not above `stop_timeout`."
#[test]
fn check_warns_of_a_unit_that_would_be_killed_before_its_stop_is_over() {
    let machine = Machine::boot();
    machine.write(CONFIG, &pool("web", 8080, ""));
    let check = |more: &[&str]| {
        let output = machine.run(&[&["ratoon", "check", "--config", CONFIG], more].concat());
        assert_eq!(output.status.code(), Some(0), "a warning is no error");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{CONFIG}: good\n"));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    machine.succeeds(&["systemctl", "daemon-reload"]);
    assert_eq!(machine.property("ratoon", "TimeoutStopUSec"), "40s");
    assert_eq!(check(&[]), "", "the shipped unit is right for the defaults");

    machine.write(CONFIG, &pool("web", 8080, "stop_timeout = \"39s\"\ndrain_delay = \"1s\""));
    let warning = |unit: &str, is: &str| {
        format!(
            "{CONFIG}:5: pool.web.stop_timeout: warning: \"39s\" and drain_delay, \"1s\", are together not below \
             TimeoutStopSec={is} of {unit}: write TimeoutStopSec=45s there (systemctl edit {unit}), or lower it\n"
        )
    };
    assert_eq!(check(&[]), warning("ratoon.service", "40s"));
    machine.drop_in("ratoon.service", "[Service]\nTimeoutStopSec=45s");
    assert_eq!(check(&[]), "");
    machine.drop_in("ratoon.service", "[Service]\nTimeoutStopSec=infinity");
    assert_eq!(check(&[]), "");
    // Another unit, and one that there is not.
    assert_eq!(check(&["--unit", "ratoon@shop.service"]), warning("ratoon@shop.service", "40s"));
    assert_eq!(check(&["--unit", "nothing-of-the-kind"]), "");
}
