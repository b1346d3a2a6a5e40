//! "The shipped unit lets a worker do its work and little else."

mod forbidden;

use super::{WEB, pool};
use crate::harness::SOON;
use crate::harness::eventually;
use crate::harness::machine::{CONFIG, Machine};

#[test]
fn what_the_service_needs_it_can_do() {
    let machine = Machine::serving(&pool("web", 8080, "body_memory = \"1KiB\""));
    // Files of bodies, its own directories, the control socket, the length of a queue, the journal.
    let body = "x".repeat(100_000);
    let echoed = machine.in_its_network(|| {
        let mut client = crate::harness::Client::connect(WEB.parse().unwrap());
        client.send(
            format!("POST /echo:0 HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
        );
        client.response()
    });
    assert_eq!((echoed.status, echoed.text().len()), (200, body.len()));
    for directory in ["run~ratoon", "var~lib~ratoon", "var~log~ratoon"] {
        assert_eq!(machine.get(WEB, &format!("/try:write:~{directory}~probe")).text(), "yes", "{directory}");
    }
    let status = machine.status();
    assert_eq!(status["pools"][0]["listeners"][0]["listen_queue"], 0, "{status}");
    machine.said("ratoon", "serving: every pool has a ready worker");
    // What the tests of the service's life set for themselves, or what this machine's hierarchy of cgroups has no use for.
    for (name, value) in [("LimitNOFILE", "16384"), ("WatchdogUSec", "20s"), ("OOMPolicy", "continue")] {
        assert_eq!(machine.property("ratoon", name), value);
    }
}

/// "The exposure that systemd sees is at most 2.0, and it finds nothing wrong with any of our files."
#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_little_to_attack() {
    let machine = Machine::boot();
    machine.write("/etc/ratoon/shop.toml", &pool("web", 8080, "settle = \"0s\""));
    for unit in ["ratoon.service", "ratoon.socket", "ratoon@.service"] {
        let path = format!("/etc/systemd/system/{unit}").replace('@', "@shop");
        if unit.contains('@') {
            machine.succeeds(&["cp", "/etc/systemd/system/ratoon@.service", &path]);
        }
        let verified = machine.run(&["systemd-analyze", "verify", "--man=no", &path]);
        assert!(
            verified.status.success() && verified.stderr.is_empty(),
            "{unit}: {}",
            String::from_utf8_lossy(&verified.stderr)
        );
    }
    for unit in ["ratoon.service", "ratoon@shop.service"] {
        let path = format!("/etc/systemd/system/{unit}");
        machine.succeeds(&["systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=20", &path]);
    }
    machine.succeeds(&["rm", "/etc/systemd/system/ratoon@shop.service"]);
    machine.succeeds(&["systemctl", "daemon-reload"]);
    machine.succeeds(&["systemctl", "start", "ratoon@shop"]);
    assert_eq!(machine.get(WEB, "/ok").status, 200);
    machine.succeeds(&["ratoon", "status", "--socket", "/run/ratoon-shop/control.sock"]);
    machine.succeeds(&["systemctl", "reload", "ratoon@shop"]);
}

/// The directives of a unit, without what it says of itself.
fn directives(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(crate::harness::root().join("systemd").join(name)).unwrap();
    let own = ["Description=", "ExecStart=", "ExecReload=", "RuntimeDirectory=", "StateDirectory=", "LogsDirectory="];
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter(|line| !own.iter().any(|each| line.starts_with(each))).map(str::to_owned).collect()
}

#[test]
fn the_unit_for_several_instances_is_the_unit_for_one() {
    assert_eq!(directives("ratoon@.service"), directives("ratoon.service"));
}

/// "A supervisor that is root, and pools that are not."
#[test]
fn with_the_drop_in_for_users_each_pool_runs_as_its_own_and_the_supervisor_may_do_what_it_must() {
    let machine = Machine::boot();
    let drop_in = std::fs::read_to_string(crate::harness::root().join("systemd/drop-ins/users.conf")).unwrap();
    machine.drop_in("ratoon.service", &drop_in);
    let lines = "user = \"nobody\"\nrequest_timeout = \"500ms\"\nkill_grace = \"500ms\"\nmax_memory = \"1GiB\"\nsettle = \"0s\"";
    machine.write(CONFIG, &(pool("web", 8080, lines) + &pool("api", 8081, "user = \"daemon\"\nsettle = \"0s\"")));
    machine.succeeds(&["systemctl", "start", "ratoon"]);
    assert_eq!(machine.get(WEB, "/environment:USER").text(), "nobody");
    assert_eq!(machine.get("127.0.0.1:8081", "/environment:USER").text(), "daemon");
    assert_eq!(machine.get("127.0.0.1:8081", "/try:be-root").text(), "no: it is not so");
    // Interrupted, and then killed.
    assert_eq!(machine.get(WEB, "/spin").status, 504);
    machine.said("ratoon", "killing");
    machine.succeeds(&["systemctl", "reload", "ratoon"]);
    eventually("it serves", SOON, || (machine.get(WEB, "/ok").status == 200).then_some(()));
    machine.succeeds(&["systemctl", "stop", "ratoon"]);
    assert_eq!(machine.property("ratoon", "Result"), "success");
}
