//! "What systemd has opened is taken by its name, and kept through reloads and upgrades."

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use super::tcp_addresses;
use crate::harness::{Client, Ratoon, SOON, eventually, fixture, get, process, wrap};

/// Opens a socket for each name and passes them as systemd does: a name may come twice or be empty, "-" is one that does not
/// listen, "NAME@PATH" a Unix socket, and for "?" there is none, though it is counted.
const MANAGER: &str = "
import os, socket, sys
named = [name.partition('@') for name in sys.argv[1].split(':')]
names = [name for name, _, _ in named]
opened = [(name, path) for name, _, path in named if name != '?']
for place, (name, path) in enumerate(opened):
    each = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    each.bind(path or ('127.0.0.1', 0))
    if name != '-':
        each.listen(64)
    os.dup2(each.detach(), 100 + place)
for place in range(len(opened)):
    os.dup2(100 + place, 3 + place)
    os.close(100 + place)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names)), LISTEN_FDNAMES=':'.join(names))
os.execv(sys.argv[2], sys.argv[2:])
";

fn pool(name: &str, listen: &str) -> String {
    format!("[pool.{name}]\nlisten = {listen}\nprogram = [{:?}]\nworkers = 1\nsettle = \"0s\"\n", fixture::program())
}

fn passing(names: &str, config: &str) -> Ratoon {
    Ratoon::start_with(config, |command: &mut Command| wrap(command, &["python3", "-c", MANAGER, names]))
}

/// The line on standard error of a supervisor that could not start.
#[track_caller]
fn complaint(mut ratoon: Ratoon) -> String {
    assert_eq!(ratoon.wait_exit(SOON).code(), Some(2));
    eventually("it says why", SOON, || Some(ratoon.text()).filter(|said| !said.is_empty()))
}

#[test]
fn each_pool_has_the_sockets_of_its_name_and_their_workers_see_no_others() {
    let config = pool("web", "[\"systemd:web\"]") + &pool("api", "[\"127.0.0.1:0\", \"systemd:api\"]");
    let ratoon = passing("web:api:web", &config);
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let (web, api) = (tcp_addresses(&ratoon, "web"), tcp_addresses(&ratoon, "api"));
    assert_eq!((web.len(), api.len()), (2, 2));
    for (pool, addresses) in [("web", &web), ("api", &api)] {
        let worker = ratoon.workers(pool)[0].to_string();
        for address in addresses {
            assert_eq!(get(*address, "/ok").text(), worker);
        }
        assert_eq!(get(addresses[0], "/environment:LISTEN_FDS").text(), "unset");
        assert_eq!(get(addresses[0], "/environment:LISTEN_FDNAMES").text(), "unset");
    }
    // What its own pool accepts from, and none of the others'.
    let listening = |pool: &str| -> BTreeSet<String> {
        let members = process::children(ratoon.pid(), &format!("ratoon: {pool} "));
        assert!(members.len() >= 2, "{members:?}");
        members.into_iter().flat_map(process::sockets).collect()
    };
    let (web, api) = (listening("web"), listening("api"));
    assert_eq!(web.intersection(&api).count(), 0, "{web:?} {api:?}");
}

#[test]
fn the_file_of_a_unix_socket_stays_when_the_supervisor_has_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web");
    let mut ratoon = passing(&format!("web@{}", path.display()), &pool("web", "[\"systemd:web\"]"));
    ratoon.logged("serving: every pool has a ready worker", &[]);
    assert_eq!(Client::connect_unix(&path).unwrap().get("/ok").status, 200);
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    assert!(path.exists(), "it is systemd's, and not ours to remove");
}

#[test]
fn a_name_that_nothing_was_passed_under_is_told_what_there_is() {
    let said = complaint(passing("web:web:api", &pool("shop", "[\"systemd:shop\"]")));
    let names = "systemd has passed no socket called \"shop\", there is \"systemd:web\", \"systemd:api\": \
                 FileDescriptorName= in the .socket unit names it";
    assert!(said.ends_with(&format!("config.toml:2: pool.shop.listen[0]: {names}")), "{said}");
    let said = complaint(passing("web:-", &pool("shop", "[\"systemd:-\"]")));
    assert!(said.contains("cannot accept from \"systemd:-\": it is not a socket that listens"), "{said}");
}

/// As `sd_listen_fds_with_names(3)` has it: a name that is empty is one.
#[test]
fn a_socket_without_a_name_does_not_take_the_name_of_the_next() {
    let ratoon = passing(":-:web", &pool("web", "[\"systemd:web\", \"systemd:unknown\"]"));
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let addresses = tcp_addresses(&ratoon, "web");
    assert_eq!(addresses.len(), 2);
    addresses.into_iter().for_each(|address| assert_eq!(get(address, "/ok").status, 200));
}

/// Nothing that the supervisor has opened for itself is taken for one of them.
#[test]
fn fewer_than_were_promised_are_too_few_whatever_else_is_open_by_then() {
    let log = "[log]\nfile = \"DIR/ratoon.log\"\n";
    let said = complaint(passing("web:?:?", &(log.to_owned() + &pool("web", "[\"systemd:web\"]"))));
    assert!(said.contains("descriptor 4 was to be passed by systemd: EBADF"), "{said}");
}

#[test]
fn without_systemd_there_is_nothing_to_be_had_by_name() {
    let said = complaint(Ratoon::start(&pool("shop", "[\"systemd:shop\"]")));
    assert!(said.contains("systemd has passed no socket at all, and \"systemd:shop\" is wanted"), "{said}");
    // What was meant for another process is nobody's here.
    let said = complaint(Ratoon::start_with(&pool("shop", "[\"systemd:shop\"]"), |command| {
        command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "shop");
    }));
    assert!(said.contains("systemd has passed no socket at all"), "{said}");
}

#[test]
fn what_was_passed_stays_through_reloads_and_upgrades_also_while_no_pool_wants_it() {
    let both = pool("web", "[\"systemd:web\", \"systemd:more\"]");
    let ratoon = passing("web:more", &both);
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let addresses = tcp_addresses(&ratoon, "web");
    let serves =
        |all: &[std::net::SocketAddr]| all.iter().for_each(|address| assert_eq!(get(*address, "/ok").status, 200));
    let after = |what: &str, signal: Signal, count: usize| {
        ratoon.signal(signal);
        eventually(what, SOON, || (ratoon.all_logged(what, &[]).len() == count).then_some(()));
    };
    serves(&addresses);
    after("reloaded", Signal::SIGHUP, 1);
    serves(&addresses);
    ratoon.configure(&pool("web", "[\"systemd:web\"]"));
    after("reloaded", Signal::SIGHUP, 2);
    serves(&addresses[..1]);
    after("upgraded: this program has taken over", Signal::SIGUSR2, 1);
    serves(&addresses[..1]);
    ratoon.configure(&both);
    after("reloaded", Signal::SIGHUP, 3);
    serves(&addresses);
    assert!(Path::new(&format!("/proc/{}/fd/3", ratoon.pid())).exists());
}
