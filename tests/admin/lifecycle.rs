//! "It lives through reload, upgrade and stop."

use nix::sys::signal::Signal;

use super::{serving, status};
use crate::harness::{Client, Ratoon, SOON, eventually, fixture, get, process};

#[test]
fn it_lives_through_a_reload_and_a_changed_address_is_named() {
    let pool = fixture::pool("web", "workers = 1\nsettle = \"0s\"");
    let ratoon = serving(&pool);
    let (admin, address) = (ratoon.admin_process(), ratoon.admin());
    let mut client = Client::connect(address);
    assert_eq!(client.get("/healthz").status, 200);
    ratoon.configure(&format!("[admin]\nlisten = \"127.0.0.1:1\"\n{pool}"));
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    let named = ratoon.lines().iter().any(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("admin.listen") && message.contains("takes effect when the daemon is started anew")
    });
    assert!(named, "{}", ratoon.text());
    assert_eq!(client.get("/healthz").status, 200);
    assert_eq!(ratoon.admin_process(), admin);
    let told = || (status(address)["last_reload"]["outcome"] == "done").then_some(());
    eventually("it tells of the reload", SOON, told);
}

/// "USR2: the socket is handed on, the process replaced."
#[test]
fn an_upgrade_hands_the_socket_on_and_replaces_the_process() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let (before, address) = (ratoon.admin_process(), ratoon.admin());
    let pid = status(address)["pid"].clone();
    ratoon.signal(Signal::SIGUSR2);
    ratoon.logged("upgraded: this program has taken over", &[]);
    eventually("the process is another", SOON, || (ratoon.admin_process() != before).then_some(()));
    eventually("it is gone", SOON, || (!process::is_alive(before)).then_some(()));
    assert_eq!(status(address)["pid"], pid);
    assert_eq!(ratoon.all_logged("admin process died: everything else serves on", &[]).len(), 0, "{}", ratoon.text());
}

#[test]
fn it_serves_while_a_stop_drains_and_is_gone_with_the_supervisor() {
    let mut ratoon = serving(&fixture::pool("web", "workers = 1"));
    let word = super::until(&ratoon, "done");
    let (mut client, _) = ratoon.engage(ratoon.address(), &word);
    let address = ratoon.admin();
    ratoon.signal(Signal::SIGTERM);
    eventually("it is told of the stop", SOON, || (status(address)["state"] == "stopping").then_some(()));
    std::fs::write(ratoon.directory().join("done"), "").unwrap();
    assert_eq!(client.response().status, 200);
    ratoon.leaves_in_peace();
    assert!(Client::try_connect(address).is_err());
}

#[test]
fn an_address_that_is_taken_is_told_at_the_start() {
    let first = serving(&fixture::pool("web", "workers = 1"));
    let admin = format!("[admin]\nlisten = \"{}\"\n", first.admin());
    let mut second = Ratoon::start(&format!("{admin}{}", fixture::pool("web", "workers = 1")));
    assert_eq!(second.wait_exit(SOON).code(), Some(2));
    eventually("it says why", SOON, || second.text().contains("admin.listen: cannot listen on").then_some(()));
    assert!(second.text().contains("another process has it"), "{}", second.text());
    assert_eq!(get(first.admin(), "/healthz").status, 200);
}
