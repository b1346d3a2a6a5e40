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
