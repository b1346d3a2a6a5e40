//! A template that forges: pids that are others', workers of lives that there are not.

use ratoon_worker::protocol::VERSION;

use crate::harness::{CONTROL, Ratoon, SOON, eventually, fixture, get, install_script, process};

/// A program that speaks the protocol, loads, and says that what it was told to fork is somebody else: `forge` is given
/// the supervisor's children by their titles, and the order, and yields what is reported.
fn program(forge: &str) -> String {
    format!(
        r#"#!/usr/bin/python3
import json, os, socket, time
line = socket.socket(fileno=int(os.environ["RATOON_TEMPLATE"]))
def send(report):
    line.send(json.dumps(report).encode())
def process(title):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{{pid}}/cmdline").read().startswith(title) and f"PPid:\t{{os.getppid()}}\n" in open(f"/proc/{{pid}}/status").read():
                return int(pid)
        except OSError:
            pass
while not process("ratoon: web worker"):
    time.sleep(0.01)
send({{"report": "hello", "version": {VERSION}}})
line.recv(9000)
send({{"report": "loaded"}})
while True:
    order = json.loads(line.recv(9000))
    if order["order"] == "fork":
        slot, life = order["slot"], order["life"]
        send({{"report": "forked"}} | ({forge}))
"#
    )
}

/// What is said of such a template when it is killed, while nobody of another pool has noticed anything.
#[track_caller]
fn found_out(forge: &str) -> String {
    let bad = "[pool.bad]\nlisten = [\"127.0.0.1:0\"]\nprogram = [\"DIR/bad\"]\nworkers = 1\n";
    let ratoon = Ratoon::start_with(&(CONTROL.to_owned() + &fixture::pool("web", "workers = 2") + bad), |command| {
        let path = command.get_current_dir().unwrap().join("bad");
        install_script(&program(forge), &path);
    });
    let honest = ratoon.ready_workers("web", 2);
    let logger = process::children(ratoon.pid(), "ratoon: log");
    let line = ratoon.logged("the template does not make sense: it is killed", &[("pool", "bad".into())]);
    // Another one is tried, and is no better.
    let tried = || ratoon.all_logged("the template does not make sense: it is killed", &[]).len();
    eventually("the next one is killed, too", SOON, || (tried() > 1).then_some(()));
    assert_eq!((ratoon.workers("web"), process::children(ratoon.pid(), "ratoon: log")), (honest, logger));
    assert_eq!(ratoon.status_of("web")["deaths"], serde_json::json!({}));
    assert_eq!(ratoon.status_of("bad")["idle_processes"], 0);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    line["what"].as_str().unwrap().to_owned()
}

#[test]
fn the_pid_of_somebody_elses_worker_is_not_believed() {
    let said = found_out(r#"{"slot": slot, "life": life, "pid": process("ratoon: web worker")}"#);
    assert_eq!(said, "it claims a process that is another's");
}

#[test]
fn the_pid_of_the_log_process_is_not_believed() {
    let said = found_out(r#"{"slot": slot, "life": life, "pid": process("ratoon: log")}"#);
    assert_eq!(said, "it claims a process that is another's");
}

#[test]
fn the_pid_of_a_process_that_is_not_ours_is_not_believed() {
    let said = found_out(r#"{"slot": slot, "life": life, "pid": os.getppid()}"#);
    assert_eq!(said, "it claims a process that is no child of ours");
}

/// Nobody is meant by a life that there is not, so nobody is killed for it either.
#[test]
fn the_worker_of_a_life_that_there_is_not_is_not_believed() {
    let said = found_out(r#"{"slot": slot, "life": life + 1000, "pid": process("ratoon: web worker")}"#);
    assert_eq!(said, "it claims a process that is another's");
}
