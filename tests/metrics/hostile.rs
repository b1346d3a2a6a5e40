//! "A hostile template must not hurt": what a program declares is checked and bounded by the supervisor, whoever wrote it.

use ratoon_worker::protocol::VERSION;

use crate::harness::{CONTROL, Ratoon, SOON, eventually, fixture, get, install_script, process};

/// A program that speaks the protocol, and declares what it is told to: lines of Python that `send` reports.
fn program(declares: &str) -> String {
    format!(
        r#"#!/usr/bin/python3
import json, os, socket, sys, time
line = socket.socket(fileno=int(os.environ["RATOON_TEMPLATE"]))
def send(report):
    try:
        line.send(json.dumps(report).encode())
    except OSError:
        sys.exit(0)
def metric(name, **more):
    declared = {{"kind": "counter", "name": name, "help": "x", "labels": [], "bounds": []}}
    send({{"report": "declares", "metric": declared | more}})
send({{"report": "hello", "version": {VERSION}}})
line.recv(9000)
{declares}
time.sleep(3600)
"#
    )
}

/// What the log gives as the reason why a pool of this program cannot start, while another pool serves on.
#[track_caller]
fn reason(declares: &str) -> String {
    let config = CONTROL.to_owned() + &fixture::pool("web", "workers = 1");
    let bad = "[pool.bad]\nlisten = [\"127.0.0.1:0\"]\nprogram = [\"DIR/bad\"]\nworkers = 1\n";
    let text = program(declares);
    let ratoon = Ratoon::start_with(&(config + bad), |command| {
        let path = command.get_current_dir().unwrap().join("bad");
        install_script(&text, &path);
    });
    ratoon.ready_workers("web", 1);
    let before = process::memory(ratoon.pid(), "Private_Dirty");
    let said = eventually(&format!("it is refused; the log:\n{}", ratoon.text()), SOON, || {
        let lines = ratoon.lines().into_iter().filter(|line| line["pool"] == "bad");
        lines.filter_map(|line| Some(line["cause"].as_str()?.to_owned())).find(|cause| cause.starts_with("boot failed"))
    });
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    assert_eq!(ratoon.status_of("bad")["metrics"], serde_json::json!([]));
    let grown = process::memory(ratoon.pid(), "Private_Dirty").saturating_sub(before);
    // What it takes by itself while it starts is in it.
    assert!(grown < 4096, "the supervisor has grown by {grown} KiB");
    said
}

#[test]
fn a_program_that_declares_without_end_is_refused() {
    let said = reason("for number in range(100000): metric(f'c{number}_total')");
    assert!(said.contains("there is no more room for c256_total"), "{said}");
}

#[test]
fn a_program_that_would_forge_a_line_of_the_exposition_is_refused() {
    let said = reason("metric('a_total 1\\nratoon_deaths_total')");
    assert!(said.contains("must have a name of letters, digits and underscores"), "{said}");
}

#[test]
fn a_program_that_declares_when_it_has_loaded_is_refused() {
    let said = reason("send({'report': 'loaded'})\nmetric('late_total')");
    assert!(said.contains("it declares a metric after it has loaded"), "{said}");
}
