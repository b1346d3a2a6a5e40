//! "On systemd 253 or newer a reload may be systemd's own affair": with systemd 254 over the box, which is fetched.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{WEB, pool};
use crate::harness::machine::{CONFIG, Machine};
use crate::harness::{RATOON, SOON, eventually, root};

#[test]
#[ignore = "fetches systemd 254 from Debian's backports"]
fn with_notify_reload_a_reload_waits_and_fails_as_without() {
    let cache = PathBuf::from(RATOON).parent().unwrap().join("../systemd-254");
    let fetched = Command::new(root().join("tests/systemd/newer.sh")).arg(&cache).output().unwrap();
    assert!(
        fetched.status.success(),
        "no systemd 254, so nothing is proven: {}",
        String::from_utf8_lossy(&fetched.stderr)
    );
    let machine = Machine::boot_with(|command| {
        command.env("BOX_DEBS", &cache);
    });
    assert!(machine.succeeds(&["systemctl", "--version"]).starts_with("systemd 254"));
    let drop_in = std::fs::read_to_string(root().join("systemd/drop-ins/notify-reload.conf")).unwrap();
    machine.drop_in("ratoon.service", &drop_in);
    machine.write(CONFIG, &pool("web", 8080, "settle = \"0s\""));
    machine.succeeds(&["systemctl", "start", "ratoon"]);
    assert_eq!(machine.property("ratoon", "Type"), "notify-reload");
    let generation = || machine.get(WEB, "/echo:0").header("generation").unwrap().to_owned();

    machine.write(CONFIG, &pool("web", 8080, "settle = \"0s\"\nsettings = { load = \"await:~run~ratoon~go\" }"));
    let mut reload = machine.command(&["systemctl", "reload", "ratoon"]).spawn().unwrap();
    eventually("systemd waits", SOON, || (machine.property("ratoon", "ActiveState") == "reloading").then_some(()));
    // Longer than a signal takes.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((generation(), reload.try_wait().unwrap()), ("1".into(), None));
    machine.write("/run/ratoon/go", "");
    assert!(reload.wait().unwrap().success());
    assert_eq!(generation(), "2");

    machine.write(CONFIG, &pool("web", 8080, "settings = { load = \"error:broken\" }"));
    assert!(!machine.run(&["systemctl", "reload", "ratoon"]).status.success());
    assert_eq!((generation(), machine.property("ratoon", "ActiveState")), ("2".into(), "active".into()));
}
