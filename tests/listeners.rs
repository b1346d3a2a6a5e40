//! Promised: a pool listens on TCP and Unix sockets, as many as one likes, and a proxy can connect to them.

mod passed;
mod proxy;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::{Group, User, getegid, geteuid};

use crate::harness::{Client, Ratoon, SOON, eventually, get};

fn get_unix(path: &Path, target: &str) -> String {
    Client::connect_unix(path).unwrap().get(target).text()
}

/// Where all TCP listeners of a pool are, in the order of the configuration.
fn tcp_addresses(ratoon: &Ratoon, pool: &str) -> Vec<SocketAddr> {
    let lines = ratoon.lines();
    let of_pool = lines.iter().filter(|line| line["pool"] == pool);
    let messages = of_pool.filter_map(|line| line["message"].as_str()?.strip_prefix("listening on "));
    messages.filter_map(|address| address.parse().ok()).collect()
}

#[test]
fn several_pools_with_several_listeners_each_serve_in_one_daemon() {
    // A machine without IPv6 is shown IPv4 twice.
    let six = if TcpListener::bind("[::1]:0").is_ok() { "[::1]:0" } else { "127.0.0.1:0" };
    let ratoon = Ratoon::serving(&format!(
        "[pool.web]\nlisten = [\"127.0.0.1:0\", \"{six}\", \"unix:DIR/web.sock\"]\nworkers = 2\n\
         [pool.admin]\nlisten = [\"unix:DIR/admin.sock\", \"127.0.0.1:0\", {{ address = \"127.0.0.1:0\" }}]\nworkers = 1\n"
    ));
    let (web, admin) = (tcp_addresses(&ratoon, "web"), tcp_addresses(&ratoon, "admin"));
    assert_eq!((web.len(), admin.len()), (2, 2), "{}", ratoon.text());
    assert_eq!(web[1].is_ipv6(), six.starts_with('['));
    for (pool, addresses) in [("web", web), ("admin", admin)] {
        for address in addresses {
            assert_eq!(get(address, "/whoami").json()["pool"], pool, "{address}");
        }
        let path = ratoon.directory().join(format!("{pool}.sock"));
        let answer = Client::connect_unix(&path).unwrap().get("/whoami");
        assert_eq!(answer.json()["pool"], pool, "{}", path.display());
    }
}

#[test]
fn a_unix_socket_has_the_mode_owner_and_group_it_was_given() {
    // Only root can give it away; anybody else says what is so anyway.
    let (user, group) = if geteuid().is_root() {
        (User::from_name("www-data").unwrap().unwrap(), Group::from_name("nogroup").unwrap().unwrap())
    } else {
        (User::from_uid(geteuid()).unwrap().unwrap(), Group::from_gid(getegid()).unwrap().unwrap())
    };
    let ratoon = Ratoon::serving(&format!(
        "[pool.web]\nworkers = 1\nlisten = [\n\
         {{ address = \"unix:DIR/default.sock\" }},\n\
         {{ address = \"unix:DIR/names.sock\", mode = \"0606\", owner = \"{}\", group = \"{}\" }},\n\
         {{ address = \"unix:DIR/numbers.sock\", mode = \"600\", owner = \"{}\", group = \"{}\" }},\n]\n",
        user.name, group.name, user.uid, group.gid
    ));
    let ours = (geteuid().as_raw(), getegid().as_raw());
    let theirs = (user.uid.as_raw(), group.gid.as_raw());
    for (name, mode, owner) in [("default", 0o660, ours), ("names", 0o606, theirs), ("numbers", 0o600, theirs)] {
        let file = std::fs::metadata(ratoon.directory().join(format!("{name}.sock"))).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!((file.mode() & 0o7777, (file.uid(), file.gid())), (mode, owner), "{name}");
    }
    assert_eq!(get_unix(&ratoon.directory().join("names.sock"), "/hello"), "Hello, world!");
}

const ON_A_PATH: &str = "[pool.web]\nlisten = [\"unix:DIR/web.sock\"]\nworkers = 1\n";

#[test]
fn a_unix_socket_is_there_while_it_is_served_and_gone_afterwards() {
    let mut ratoon = Ratoon::serving(ON_A_PATH);
    let path = ratoon.directory().join("web.sock");
    assert_eq!(get_unix(&path, "/hello"), "Hello, world!");
    ratoon.signal(Signal::SIGTERM);
    assert_eq!(ratoon.wait_exit(SOON).code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_that_nobody_serves_any_more_is_replaced() {
    let mut killed = Ratoon::serving(ON_A_PATH);
    let path = killed.directory().join("web.sock");
    killed.signal(Signal::SIGKILL);
    killed.wait_exit(SOON);
    eventually("its workers have left", SOON, || killed.family().is_empty().then_some(()));
    assert!(path.exists(), "it was left behind");

    let config = ON_A_PATH.replace("DIR/web.sock", path.to_str().unwrap());
    let _ratoon = Ratoon::serving(&config);
    assert_eq!(get_unix(&path, "/hello"), "Hello, world!");
}

#[test]
fn a_unix_socket_that_is_served_is_not_taken_away() {
    let first = Ratoon::serving(ON_A_PATH);
    let path = first.directory().join("web.sock");
    let before = std::fs::metadata(&path).unwrap().ino();
    let mut second = Ratoon::start(&ON_A_PATH.replace("DIR/web.sock", path.to_str().unwrap()));
    assert_eq!(second.wait_exit(SOON).code(), Some(2));
    eventually("it says why", SOON, || second.text().contains("another process has it").then_some(()));
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(get_unix(&path, "/hello"), "Hello, world!");
}

#[test]
fn what_has_taken_the_place_of_a_unix_socket_is_not_removed_with_it() {
    for replace in [write_a_file as fn(&Path), serve_another_socket] {
        let mut ratoon = Ratoon::serving(ON_A_PATH);
        let path = ratoon.directory().join("web.sock");
        // Renamed, not removed: or the newcomer could get the same inode.
        std::fs::rename(&path, ratoon.directory().join("away.sock")).unwrap();
        replace(&path);
        ratoon.signal(Signal::SIGTERM);
        assert_eq!(ratoon.wait_exit(SOON).code(), Some(0));
        assert!(path.exists());
    }
}

fn write_a_file(path: &Path) {
    std::fs::File::create(path).unwrap().write_all(b"precious").unwrap();
}

fn serve_another_socket(path: &Path) {
    UnixListener::bind(path).unwrap();
}

#[test]
fn the_backlog_of_a_listener_is_the_kernels() {
    let ratoon = Ratoon::serving(
        "[pool.web]\nworkers = 1\nlisten = [{ address = \"127.0.0.1:0\", backlog = 17 }, \
         { address = \"unix:DIR/web.sock\", backlog = 19 }, \"127.0.0.1:0\"]\n",
    );
    let tcp = tcp_addresses(&ratoon, "web");
    let path = ratoon.directory().join("web.sock");
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    assert_eq!(backlog("-ltnH", &tcp[0].to_string()), 17);
    assert_eq!(backlog("-lxnH", path.to_str().unwrap()), 19);
    assert_eq!(backlog("-ltnH", &tcp[1].to_string()), 1024.min(most), "the default");
}

/// What `ss` shows of the listener with this address: its third number, before the address.
#[track_caller]
fn backlog(kind: &str, address: &str) -> u32 {
    let output = Command::new("ss").arg(kind).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = shown.lines().find(|line| line.split_whitespace().any(|word| word == address));
    let line = line.unwrap_or_else(|| panic!("no {address} in:\n{shown}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    let place = words.iter().position(|word| *word == address).unwrap();
    words[place - 1].parse().unwrap()
}
