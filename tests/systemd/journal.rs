//! "Journald's native fields under systemd, so that `journalctl POOL=web` works"; and "a journal that is away: serving goes
//! on, lost lines are counted", and said when it is back.

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use super::{WEB, pool};
use crate::harness::machine::{CONFIG, Machine};
use crate::harness::{Client, Door, SOON, Traffic, eventually};

const ADMIN: &str = "127.0.0.1:9180";

/// All that belongs to the journal: what is stopped in part is started again by whoever speaks to it.
const JOURNAL: [&str; 4] = [
    "systemd-journald.socket",
    "systemd-journald-dev-log.socket",
    "systemd-journald-audit.socket",
    "systemd-journald.service",
];

/// The shipped service, whose requests and what they print are lines of the journal. A reload takes longer than its
/// watchdog waits.
fn machine() -> Machine {
    let machine = Machine::boot();
    let web = pool("web", 8080, "access = \"json\"\nsettle = \"4s\"");
    machine.write(CONFIG, &format!("{web}[admin]\nlisten = \"{ADMIN}\"\n"));
    // The journal's own limit is not what is looked at.
    machine.drop_in("ratoon.service", "[Service]\nWatchdogSec=3s\nLogRateLimitIntervalSec=0");
    machine.succeeds(&["systemctl", "start", "ratoon"]);
    machine
}

/// Clients whose workers have nothing to say but a line of the access log for each answer.
fn traffic(machine: &Machine) -> Traffic {
    let doors = [Door::Tcp(WEB.parse().unwrap())];
    let traffic = machine.in_its_network(|| Traffic::begin(&doors, 2, &["ok"]));
    traffic.goes_on(100);
    traffic
}

/// How many lines of the pool are lost, as the status has it.
fn lost(machine: &Machine) -> u64 {
    machine.status()["pools"][0]["log_lines_lost"].as_u64().unwrap()
}

/// The same as the metrics have it.
fn lost_by_the_metrics(machine: &Machine) -> u64 {
    let text = machine.get(ADMIN, "/metrics").text();
    let sample = text.lines().find_map(|line| line.strip_prefix("ratoon_log_lines_lost_total{pool=\"web\"} "));
    sample.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

/// Everything there is while nobody takes a line: answers, losses that are counted, a worker that prints, a reload, signs of
/// life.
fn serves_on(machine: &Machine, traffic: &Traffic) {
    eventually("lines are lost, and counted", SOON, || {
        traffic.goes_on(100);
        (lost(machine) > 0).then_some(())
    });
    assert_eq!(machine.get(WEB, "/print:stdout:unheard").status, 200);
    assert_eq!(machine.get(WEB, "/flood:300000").status, 200);
    machine.succeeds(&["systemctl", "reload", "ratoon"]);
    assert_eq!(machine.get(WEB, "/echo:0").header("generation"), Some("2"));
    traffic.goes_on(100);
    let counted = lost(machine);
    eventually("the metrics count them, too", SOON, || (lost_by_the_metrics(machine) >= counted).then_some(()));
}

/// What `journalctl` finds.
fn found(machine: &Machine, matches: &[&str]) -> Vec<Value> {
    let text = machine.succeeds(&[&["journalctl", "-o", "json", "--no-pager", "--all"], matches].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn message(entry: &Value) -> &str {
    entry["MESSAGE"].as_str().unwrap_or_default()
}

/// Workers that have written nothing but their access log say in a line how many are lost, and no more than are.
fn loss_is_said(machine: &Machine) {
    eventually("what was lost is said, by whom it was lost", SOON, || {
        let wrong = found(machine, &["POOL=web", "-p", "warning"]);
        let said: Vec<&Value> = wrong.iter().filter(|entry| entry["LOST"].is_string()).collect();
        let is_right = |entry: &&Value| {
            entry["WORKER"].is_string() && message(entry).contains("log lines lost: nobody took them lost=")
        };
        assert!(said.iter().all(is_right), "{said:?}");
        let sum: u64 = said.iter().map(|entry| entry["LOST"].as_str().unwrap().parse::<u64>().unwrap()).sum();
        assert!(sum <= lost(machine), "{said:?}");
        (!said.is_empty()).then_some(())
    });
}

/// Lines arrive again: what a worker prints, and of its request.
fn lines_arrive(machine: &Machine) {
    eventually("a line of everybody arrives", SOON, || {
        assert_eq!(machine.get(WEB, "/print:stdout:again").status, 200);
        let last = found(machine, &["-u", "ratoon", "-n", "30"]);
        let captured = |entry: &Value| entry["STREAM"] == "stdout" && message(entry).contains("again stream=stdout");
        let served = |entry: &Value| message(entry).contains("\"target\":\"/print:stdout:again\"");
        (last.iter().any(captured) && last.iter().any(served)).then_some(())
    });
}

/// What `journalctl` has of a service with two pools that has been reloaded once.
#[test]
fn the_journal_finds_lines_by_pool_worker_generation_and_priority() {
    let machine = Machine::boot();
    let pools =
        |more: &str| pool("web", 8080, &format!("settle = \"0s\"\n{more}")) + &pool("jobs", 8081, "settle = \"0s\"");
    machine.write(CONFIG, &pools(""));
    machine.succeeds(&["systemctl", "start", "ratoon"]);
    assert_eq!(machine.get(WEB, "/print:stderr:printed").status, 200);
    machine.succeeds(&["systemctl", "reload", "ratoon"]);
    let mut doomed = machine.in_its_network(|| Client::connect(WEB.parse().unwrap()));
    doomed.send(b"GET /exit:3 HTTP/1.1\r\nHost: test\r\n\r\n");
    machine.said("ratoon", "exited 3");
    let found = |matches: &[&str]| found(&machine, matches);
    let all_have = |entries: &[Value], fields: &[(&str, &str)]| {
        assert!(!entries.is_empty());
        let has = |entry: &Value| fields.iter().all(|(key, value)| entry[*key] == *value);
        assert!(entries.iter().all(has), "{entries:?}");
    };
    let of_worker = found(&["POOL=web", "WORKER=0", "GENERATION=2"]);
    all_have(&of_worker, &[("POOL", "web"), ("WORKER", "0"), ("GENERATION", "2"), ("SYSLOG_IDENTIFIER", "ratoon")]);
    let ready = of_worker.iter().find(|entry| message(entry).contains(" ready boot=")).unwrap();
    let words = format!("pool=web worker=0 gen=2 pid={} ready boot=", ready["PID"].as_str().unwrap());
    assert!(message(ready).starts_with(&words) && ready["PRIORITY"] == "6", "{ready}");
    let captured = found(&["POOL=web", "STREAM=stderr"]);
    all_have(&captured, &[("POOL", "web"), ("GENERATION", "1"), ("PRIORITY", "6")]);
    assert!(message(&captured[0]).contains(" printed stream=stderr"), "{captured:?}");
    assert_eq!(captured[0]["_COMM"], "ratoon: log", "and not the worker's own standard error");
    let jobs = found(&["POOL=jobs", "GENERATION=2"]);
    assert!(jobs.iter().any(|entry| message(entry).contains(" ready boot=")), "{jobs:?}");
    let wrong = found(&["POOL=web", "-p", "warning"]);
    assert!(wrong.iter().any(|entry| message(entry).contains("exited 3")), "{wrong:?}");
    assert!(wrong.iter().all(|entry| entry["PRIORITY"].as_str().unwrap() <= "4"), "{wrong:?}");
}

#[test]
fn a_journal_that_hangs_costs_lines_and_no_request_and_every_line_arrives_or_is_counted() {
    let machine = machine();
    let (process, journal) = (machine.property("ratoon", "MainPID"), machine.main_process("systemd-journald"));
    let traffic = traffic(&machine);
    kill(journal, Signal::SIGSTOP).unwrap();
    serves_on(&machine, &traffic);
    kill(journal, Signal::SIGCONT).unwrap();
    loss_is_said(&machine);
    let answers = traffic.ends_without_a_loss();
    lines_arrive(&machine);
    eventually("every answer's line has arrived, or is counted", SOON, || {
        // Of a worker that has left meanwhile the journal does not know whose unit it was.
        let all = machine.succeeds(&["journalctl", "-o", "cat", "--no-pager", "--all"]);
        let arrived = all.matches("\"target\":\"/ok\"").count();
        assert!(arrived <= answers, "{arrived} lines for {answers} answers");
        (arrived as u64 + lost(&machine) >= answers as u64).then_some(())
    });
    assert_eq!(machine.property("ratoon", "MainPID"), process);
    assert_eq!(machine.property("ratoon", "NRestarts"), "0");
}

#[test]
fn a_journal_that_is_stopped_costs_lines_and_no_request_and_is_spoken_to_when_it_is_back() {
    let machine = machine();
    let process = machine.property("ratoon", "MainPID");
    let traffic = traffic(&machine);
    machine.succeeds(&[&["systemctl", "stop"], &JOURNAL[..]].concat());
    serves_on(&machine, &traffic);
    assert_eq!(machine.property("systemd-journald", "ActiveState"), "inactive");
    machine.succeeds(&[&["systemctl", "start"], &JOURNAL[..]].concat());
    loss_is_said(&machine);
    traffic.ends_without_a_loss();
    lines_arrive(&machine);
    assert_eq!(machine.property("ratoon", "MainPID"), process);
    assert_eq!(machine.property("ratoon", "NRestarts"), "0");
}
