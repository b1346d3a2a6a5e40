//! "systemd knows how the service is, replaces one that hangs, and lets one that stops finish."

use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::{WEB, pool};
use crate::harness::machine::{CONFIG, Machine};
use crate::harness::{Client, SOON, eventually};

#[test]
fn systemctl_status_shows_how_things_stand() {
    let machine = Machine::serving(&pool("web", 8080, ""));
    let shows = |line: &str| {
        eventually(&format!("systemctl status shows {line:?}"), SOON, || {
            machine.succeeds(&["systemctl", "status", "--no-pager", "ratoon"]).contains(line).then_some(())
        });
    };
    shows("Status: \"web: 0/2 busy, 0 waiting, gen 1\"");
    let mut busy = machine.in_its_network(|| Client::connect(WEB.parse().unwrap()));
    busy.send(b"GET /hang HTTP/1.1\r\nHost: test\r\n\r\n");
    shows("Status: \"web: 1/2 busy, 0 waiting, gen 1\"");
}

#[test]
fn a_supervisor_that_hangs_is_replaced_by_the_watchdog() {
    let machine = Machine::boot();
    machine.write(CONFIG, &pool("web", 8080, ""));
    machine.drop_in("ratoon.service", "[Service]\nWatchdogSec=2s\nRestartSec=100ms\nTimeoutAbortSec=1s");
    machine.succeeds(&["systemctl", "start", "ratoon"]);
    let process = machine.main_process("ratoon");
    // As long as it turns it is left alone, idle as it is.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(machine.property("ratoon", "NRestarts"), "0");
    kill(process, Signal::SIGSTOP).unwrap();
    eventually("the watchdog starts another", SOON, || (machine.property("ratoon", "NRestarts") == "1").then_some(()));
    machine.said("ratoon", "Watchdog timeout");
    eventually("it serves again", SOON, || (machine.property("ratoon", "ActiveState") == "active").then_some(()));
    assert_eq!(machine.get(WEB, "/ok").status, 200);
}

#[test]
fn a_stop_serves_what_was_begun_though_systemd_would_have_lost_patience() {
    let machine = Machine::boot();
    machine.write(CONFIG, &pool("web", 8080, "settings = { handle = \"await:~run~ratoon~go\" }"));
    machine.drop_in("ratoon.service", "[Service]\nTimeoutStopSec=1s");
    machine.succeeds(&["systemctl", "start", "ratoon"]);
    let mut busy = machine.in_its_network(|| Client::connect(WEB.parse().unwrap()));
    busy.send(b"GET /ok HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is busy", SOON, || (machine.status()["pools"][0]["active_processes"] == 1).then_some(()));
    let mut stop = machine.command(&["systemctl", "stop", "ratoon"]).spawn().unwrap();
    machine.said("ratoon", "stopping: what was accepted or queued is served");
    std::thread::sleep(Duration::from_secs(3));
    machine.write("/run/ratoon/go", "");
    assert_eq!(busy.response().status, 200);
    assert!(stop.wait().unwrap().success());
    assert_eq!(machine.property("ratoon", "Result"), "success");
    assert!(!machine.journal("ratoon").contains("Killing process"));
}

#[test]
fn a_start_may_take_as_long_as_boot_timeout_says() {
    let machine = Machine::boot();
    machine.write(CONFIG, &pool("web", 8080, "settle = \"0s\"\nsettings = { load = \"sleep:4000\" }"));
    machine.drop_in("ratoon.service", "[Service]\nTimeoutStartSec=2s");
    machine.succeeds(&["systemctl", "start", "ratoon"]);
    assert_eq!(machine.get(WEB, "/ok").status, 200);
    assert!(machine.run(&["systemctl", "reload", "ratoon"]).status.success(), "a reload is given the same time");
}

#[test]
fn the_kernel_kills_one_worker_for_its_memory_and_the_service_stays() {
    let machine = Machine::boot();
    machine.write(CONFIG, &pool("web", 8080, ""));
    machine.drop_in("ratoon.service", "[Service]\nMemoryMax=96M");
    machine.succeeds(&["systemctl", "start", "ratoon"]);
    let mut greedy = machine.in_its_network(|| Client::connect(WEB.parse().unwrap()));
    greedy.send(b"GET /hoard:200 HTTP/1.1\r\nHost: test\r\n\r\n");
    machine.said("ratoon", "killed by the kernel for memory");
    assert_eq!(machine.get(WEB, "/ok").status, 200);
    assert_eq!(machine.property("ratoon", "ActiveState"), "active");
    assert_eq!(machine.property("ratoon", "NRestarts"), "0");
}
