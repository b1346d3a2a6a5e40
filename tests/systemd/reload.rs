//! "`systemctl reload` waits for the outcome, and fails when the reload failed."

use std::time::Duration;

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
    // Longer than a command takes that only begins one.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(machine.property("ratoon", "ActiveState"), "reloading");
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

/// Each configuration may say where its control socket is; the one beside it may, too.
#[test]
fn each_of_several_instances_reloads_itself_wherever_its_control_socket_is() {
    let machine = Machine::boot();
    let instance = |port: u16, socket: &str, lines: &str| {
        format!("[control]\nsocket = {socket:?}\n") + &pool("web", port, &format!("settle = \"0s\"\n{lines}"))
    };
    machine.write(CONFIG, &instance(8080, "/run/ratoon/elsewhere.sock", ""));
    let broken = "settings = { load = \"error:broken\" }";
    for (name, port) in [("one", 8081), ("two", 8082)] {
        machine.write(&format!("/etc/ratoon/{name}.toml"), &instance(port, &format!("/run/ratoon-{name}/s"), ""));
    }
    let units = ["ratoon.service", "ratoon@one.service", "ratoon@two.service"];
    machine.succeeds(&["systemctl", "daemon-reload"]);
    machine.succeeds(&[&["systemctl", "start"], &units[..]].concat());
    machine.write("/etc/ratoon/two.toml", &instance(8082, "/run/ratoon-two/s", broken));
    machine.succeeds(&["systemctl", "reload", "ratoon.service", "ratoon@one.service"]);
    assert!(!machine.run(&["systemctl", "reload", "ratoon@two.service"]).status.success());
    for (address, generation) in [("127.0.0.1:8080", "2"), ("127.0.0.1:8081", "2"), ("127.0.0.1:8082", "1")] {
        assert_eq!(machine.get(address, "/echo:0").header("generation"), Some(generation), "{address}");
    }
    machine.said("ratoon@two.service", "the fixture fails: broken");
}
