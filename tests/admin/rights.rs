//! "Its own user, no capabilities, no new privileges, and nothing of the supervisor's but two sockets."

use std::collections::BTreeSet;
use std::fs;

use nix::unistd::{Pid, geteuid};

use super::serving;
use crate::harness::{ADMIN, Ratoon, SOON, eventually, fixture};

fn field(pid: Pid, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn it_has_no_rights_beyond_its_sockets() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let admin = ratoon.admin_process();
    eventually("it has given up what it had", SOON, || (field(admin, "NoNewPrivs") == "1").then_some(()));
    assert_eq!(crate::harness::get(ratoon.admin(), "/healthz").status, 200);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(admin, set), "0000000000000000", "{set}");
    }
    if geteuid().is_root() {
        assert_eq!(field(admin, "Uid"), "65534 65534 65534 65534");
        assert_eq!(field(admin, "Gid"), "65534 65534 65534 65534");
        assert_eq!(field(admin, "Groups"), "");
    }
}

#[test]
fn it_has_no_descriptor_of_the_supervisors_and_none_of_its_environment() {
    let config = format!("{ADMIN}{}", fixture::pool("web", "workers = 1"));
    let ratoon = Ratoon::start_with(&config, |command| {
        command.env("DATABASE_URL", "postgres://secret");
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let admin = ratoon.admin_process();
    assert_eq!(crate::harness::get(ratoon.admin(), "/healthz").status, 200);
    if !geteuid().is_root() {
        eprintln!("only root may look at it");
        return;
    }
    let links = |pid: Pid| -> BTreeSet<String> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        // A client's may be closed while we look.
        entries.filter_map(|entry| Some(fs::read_link(entry.unwrap().path()).ok()?.display().to_string())).collect()
    };
    let (its, the_supervisors) = (links(admin), links(ratoon.pid()));
    let both: Vec<&String> = its.intersection(&the_supervisors).filter(|link| link.starts_with("socket:")).collect();
    assert_eq!(both.len(), 1, "the socket on which operators knock: {both:?}");
    assert!(!its.iter().any(|link| link.contains("scoreboard")), "{its:?}");
    let environment = fs::read_to_string(format!("/proc/{admin}/environ")).unwrap_or_default();
    assert!(!environment.contains("secret"), "{environment:?}");
}

#[test]
fn a_user_that_does_not_exist_is_named_with_its_line() {
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\nuser = \"nobody-here\"\n";
    let mut ratoon = Ratoon::start(&format!("{admin}{}", fixture::pool("web", "workers = 1")));
    assert_eq!(ratoon.wait_exit(SOON).code(), Some(2));
    let words = "config.toml:3: admin.user: no user \"nobody-here\" on this system: create it, or name another";
    eventually("it says why", SOON, || ratoon.text().contains(words).then_some(()));
}
