//! "Clients wait in systemd's sockets while the service is started anew: nobody is refused."

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{WEB, pool};
use crate::harness::machine::{CONFIG, Machine};
use crate::harness::{Client, RaisedAtTheEnd, SOON, eventually};

const PATH: &str = "/run/ratoon.sock";

/// A machine whose pool has a TCP and a Unix socket of systemd's; nothing of it is started.
fn machine() -> Machine {
    let machine = Machine::boot();
    machine.write(CONFIG, &pool("web", 8080, "settings = { handle = \"sleep:5\" }").replace(WEB, "systemd:web"));
    machine.drop_in("ratoon.socket", &format!("[Socket]\nListenStream={PATH}\nSocketMode=0666"));
    machine
}

#[test]
fn the_first_client_starts_the_service_and_is_served() {
    let machine = machine();
    machine.succeeds(&["systemctl", "start", "ratoon.socket"]);
    assert_eq!(machine.property("ratoon", "ActiveState"), "inactive");
    assert_eq!(machine.get(WEB, "/ok").status, 200);
    assert_eq!(Client::connect_unix(&machine.path(PATH)).unwrap().get("/ok").status, 200);
    assert_eq!(machine.property("ratoon", "ActiveState"), "active");
}

#[test]
fn restarts_under_load_refuse_nobody_and_leave_the_socket_where_it_is() {
    let machine = machine();
    machine.succeeds(&["systemctl", "start", "ratoon.socket", "ratoon.service"]);
    let (is_over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let path = machine.path(PATH);
    let ask = |connect: &dyn Fn() -> std::io::Result<Client>| {
        while !is_over.load(Ordering::SeqCst) {
            let answer = connect().and_then(|mut client| client.try_get("/ok"));
            assert_eq!(answer.map(|answer| answer.status).map_err(|error| error.to_string()), Ok(200));
            answers.fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        let _over = RaisedAtTheEnd(&is_over);
        for _ in 0..4 {
            scope.spawn(|| machine.in_its_network(|| ask(&|| Client::try_connect(WEB.parse().unwrap()))));
            scope.spawn(|| ask(&|| Client::connect_unix(&path)));
        }
        for _ in 0..5 {
            let before = answers.load(Ordering::SeqCst);
            eventually("clients are served", SOON, || (answers.load(Ordering::SeqCst) > before + 50).then_some(()));
            machine.succeeds(&["systemctl", "restart", "ratoon.service"]);
        }
    });
    assert_eq!(machine.property("ratoon.socket", "ActiveState"), "active");
    machine.succeeds(&["systemctl", "stop", "ratoon.socket", "ratoon.service"]);
    assert!(machine.path(PATH).exists(), "it is systemd's, and stays");
}
