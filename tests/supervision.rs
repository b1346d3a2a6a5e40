//! The README says: "cut a worker, and another grows in its place".

use nix::sys::signal::{Signal, kill};

use crate::harness::{Ratoon, SOON, eventually, get, process};

#[test]
fn a_worker_that_is_killed_is_replaced_and_the_log_names_the_cause() {
    let ratoon = Ratoon::serving("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n");
    let before = ratoon.ready_workers("web", 2);
    kill(before[0], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[("pid", before[0].as_raw().into()), ("cause", "signal SIGKILL".into())]);
    let after = ratoon.ready_workers("web", 2);
    assert!(!after.contains(&before[0]) && after.contains(&before[1]));
    eventually("the dead worker is buried", SOON, || (!process::is_alive(before[0])).then_some(()));
    assert_eq!(get(ratoon.address(), "/hello").text(), "Hello, world!");
}
