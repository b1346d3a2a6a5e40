//! "`systemctl reload` waits for the outcome, and fails when the reload failed."

use super::{WEB, pool};
use crate::harness::machine::{CONFIG, Machine};
use crate::harness::{SOON, eventually};

fn generation(machine: &Machine) -> String {
    machine.get(WEB, "/echo:0").header("generation").unwrap().to_owned()
}

#[test]
fn a_good_reload_returns_when_the_new_generation_serves_alone() {
    let machine = Machine::serving(&pool("web", 8080, "settle = \"0s\""));
    assert_eq!(generation(&machine), "1");
    let slow = "settle = \"0s\"\nsettings = { load = \"await:~run~ratoon~go\" }";
    machine.write(CONFIG, &pool("web", 8080, slow));
    let mut reload = machine.command(&["systemctl", "reload", "ratoon"]).spawn().unwrap();
    eventually("systemd waits for the reload", SOON, || {
        (machine.property("ratoon", "ActiveState") == "reloading").then_some(())
    });
    assert_eq!(generation(&machine), "1");
    assert_eq!(reload.try_wait().unwrap(), None);
    machine.write("/run/ratoon/go", "");
    assert!(reload.wait().unwrap().success());
    for _ in 0..8 {
        assert_eq!(generation(&machine), "2");
    }
    assert_eq!(machine.property("ratoon", "ActiveState"), "active");
}

#[test]
fn a_broken_reload_makes_systemctl_fail_and_the_service_serves_on() {
    let machine = Machine::serving(&pool("web", 8080, ""));
    let process = machine.property("ratoon", "MainPID");
    for broken in ["settings = { load = \"error:broken\" }", "workers = \"three\"", "settings = { start = \"exit:3\" }"]
    {
        machine.write(CONFIG, &pool("web", 8080, "").replace("workers = 2", broken));
        let reload = machine.run(&["systemctl", "reload", "ratoon"]);
        assert!(!reload.status.success(), "{broken}");
        assert_eq!(generation(&machine), "1");
        assert_eq!(machine.property("ratoon", "ActiveState"), "active", "{broken}");
    }
    assert_eq!(machine.property("ratoon", "MainPID"), process);
    assert_eq!(machine.property("ratoon", "NRestarts"), "0");
    machine.said("ratoon", "the fixture fails: broken");
}
