//! "Economy seen": what the status says of a pool's connections.

use std::process::Command;

use serde_json::json;

use crate::harness::{CONTROL, Postgres, RATOON, Ratoon, get};

#[test]
fn the_status_counts_connections_and_why_they_were_replaced() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let config = format!(
        "{CONTROL}[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\
         [pool.web.database]\nurl = \"{url}\"\nconnections = 3\n[pool.plain]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n"
    );
    let ratoon = Ratoon::serving(&config);
    let quiet = json!({
        "connections": 3, "open": 0, "connects": 0, "reconnects": {}, "failures": 0, "waits": 0,
        "waited_longest_ms": 0, "exhausted": 0, "leases": 0,
    });
    assert_eq!(ratoon.status_of("web")["database"], quiet);
    assert_eq!(ratoon.status_of("plain")["database"], json!(null));

    assert_eq!(get(ratoon.address(), "/backend").status, 200);
    let told = ratoon.status_of("web")["database"].clone();
    assert_eq!((&told["open"], &told["connects"], &told["reconnects"]), (&json!(1), &json!(1), &json!({})));

    assert_eq!(postgres.terminate_all(), 1);
    assert_eq!(get(ratoon.address(), "/backend").status, 200);
    let told = ratoon.status_of("web")["database"].clone();
    assert_eq!(
        (&told["open"], &told["connects"], &told["reconnects"]),
        (&json!(1), &json!(2), &json!({ "closed": 1 }))
    );

    let mut status = Command::new(RATOON);
    status.args(["status", "--socket"]).arg(ratoon.directory().join("control.sock"));
    let shown = String::from_utf8(status.output().unwrap().stdout).unwrap();
    assert!(shown.contains("database: 1/3 open, 2 connects\nreconnects: closed ×1\n"), "{shown}");
}

#[test]
fn a_worker_that_was_killed_holds_no_connection_in_the_status() {
    let postgres = Postgres::start();
    let config = format!(
        "{CONTROL}[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[pool.web.database]\nurl = \"{}\"\n",
        postgres.url()
    );
    let ratoon = Ratoon::serving(&config);
    assert_eq!(get(ratoon.address(), "/backend").status, 200);
    let worker = ratoon.ready_workers("web", 1)[0];
    nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[("pid", worker.as_raw().into())]);
    ratoon.ready_workers("web", 1);
    let told = ratoon.status_of("web")["database"].clone();
    assert_eq!((&told["open"], &told["connects"]), (&json!(0), &json!(1)));
}
