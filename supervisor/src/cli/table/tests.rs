//! The layout, line by line.

use super::*;
use crate::control::status::{Listener, Reload, Reloads, Starts, Traffic};

fn idle(slot: u32) -> Worker {
    Worker {
        slot,
        pid: Some(4711),
        generation: Some(3),
        state: Doing::Idle,
        start_since_ms: Some(250_000),
        requests: 12,
        request_duration_ms: None,
        request_line: Some("GET /before HTTP/1.1".into()),
        connections: 1,
        last_death: None,
    }
}

fn pool(processes: Vec<Worker>) -> Pool {
    Pool {
        pool: "web".into(),
        process_manager: "static".into(),
        health: Health::Sound,
        stopping: false,
        generations: vec![3],
        wanted_processes: 8,
        max_processes: 8,
        scaled_by: 0,
        renewed_processes: None,
        idle_processes: 1,
        active_processes: 4,
        starting_processes: 0,
        retiring_processes: 0,
        total_processes: 5,
        max_children_reached: 0,
        log_lines_lost: 0,
        listeners: vec![Listener { address: "x".into(), listen_queue: Some(0), listen_queue_len: 1024 }],
        deaths: BTreeMap::new(),
        last_deaths: Vec::new(),
        request_timeout_ms: 30_000,
        starts: Starts::default(),
        traffic: Traffic::default(),
        metrics: Vec::new(),
        database: None,
        processes,
    }
}

fn status(pools: Vec<Pool>) -> Status {
    Status {
        version: "0.1.0".into(),
        time_ms: 0,
        pid: 4700,
        start_time: 1_700_000_000,
        start_since_ms: 7_500_000,
        state: Phase::Serving,
        reload_stage: None,
        last_reload: None,
        log_lines_lost: 0,
        reloads: Reloads::default(),
        upgrades: 0,
        admin_deaths: 0,
        pools,
    }
}

#[test]
fn a_person_sees_pools_and_workers_at_a_glance() {
    let busy = Worker {
        state: Doing::Busy,
        request_duration_ms: Some(1234),
        request_line: Some("GET /sleep?ms=5000 HTTP/1.1".into()),
        ..idle(1)
    };
    let vacant = Worker {
        state: Doing::Vacant,
        pid: None,
        generation: None,
        start_since_ms: None,
        request_line: None,
        last_death: Some("signal SIGSEGV".into()),
        ..idle(2)
    };
    let web = Pool { deaths: [("signal SIGSEGV".into(), 2)].into(), ..pool(vec![idle(0), busy, vacant]) };
    let shown = table(&status(vec![web]));
    let wanted = "\
ratoon 0.1.0  pid 4700  serving, up 2h5m

web  static  4/8 busy, 0 waiting, gen 3
deaths: signal SIGSEGV ×2
SLOT     PID  GEN STATE            REQUESTS     AGE REQUEST
   0    4711    3 idle                   12   4m10s
   1    4711    3 busy 1.2s              12   4m10s GET /sleep?ms=5000
   2       -    - vacant                 12       - last died: signal SIGSEGV";
    assert_eq!(shown, wanted);
}

#[test]
fn no_line_is_wider_than_80_columns_and_none_writes_to_the_terminal() {
    let worst = Worker {
        slot: 1999,
        pid: Some(4_194_304),
        generation: Some(10_000),
        state: Doing::Retiring,
        start_since_ms: Some(9_999_999_999),
        requests: u64::MAX,
        request_duration_ms: Some(9_999_999_999),
        request_line: Some(format!("GET /{}\x1b[2J", "é".repeat(200))),
        connections: 4096,
        last_death: Some("x".repeat(300)),
    };
    let reload = Reload { outcome: Outcome::Failed, reason: "a\nb\x1b[2J ".repeat(99), ended_since_ms: 1 };
    let web = Pool {
        pool: "p".repeat(32),
        health: Health::Failed { retry_in_ms: Some(1) },
        generations: (0..50).collect(),
        deaths: (0..50).map(|cause| (format!("exited {cause}"), 1)).collect(),
        ..pool(vec![worst])
    };
    let shown = table(&Status { last_reload: Some(reload), ..status(vec![web]) });
    for line in shown.lines() {
        assert!(line.chars().count() <= WIDTH, "{line}");
        assert!(!line.contains(|char: char| char.is_control()), "{line:?}");
    }
    // Each thing that is told in words takes at most four lines.
    assert_eq!(shown.lines().count(), 1 + 4 + 1 + 3 + 4 + 2, "{shown}");
    assert!(shown.contains("  failed, retry in 1ms\n"), "{shown}");
}

#[test]
fn a_database_has_a_line_with_what_is_not_as_usual() {
    let quiet = Database {
        connections: 10,
        open: 3,
        connects: 12,
        reconnects: BTreeMap::new(),
        failures: 0,
        waits: 0,
        waited_longest_ms: 0,
        exhausted: 0,
        leases: 0,
    };
    assert_eq!(use_of(&quiet), "database: 3/10 open, 12 connects");
    let busy = Database {
        reconnects: [("closed".into(), 2), ("idle".into(), 1)].into(),
        failures: 4,
        waits: 5,
        waited_longest_ms: 1500,
        exhausted: 2,
        leases: 6,
        ..quiet
    };
    let shown = table(&status(vec![Pool { database: Some(busy), ..pool(Vec::new()) }]));
    let wanted = "\
database: 3/10 open, 12 connects, 4 failed, 5 waits (at most 1.5s), 2 of them in
  vain, 6 leases
reconnects: closed ×2, idle ×1
SLOT";
    assert!(shown.contains(wanted), "{shown}");
}

#[test]
fn whatever_is_not_as_usual_stands_in_the_headline() {
    let usual = "web  static  4/8 busy, 0 waiting, gen 3";
    assert_eq!(headline(&pool(Vec::new())), usual);
    let rolling = Pool { generations: vec![3, 4], starting_processes: 1, retiring_processes: 2, ..pool(Vec::new()) };
    assert_eq!(headline(&rolling), "web  static  4/8 busy, 0 waiting, gen 3+4, 1 starting, 2 retiring");
    let failed = Pool { health: Health::Failed { retry_in_ms: Some(8000) }, ..pool(Vec::new()) };
    assert_eq!(headline(&failed), format!("{usual}, failed, retry in 8.0s"));
}

#[test]
fn columns_stay_in_line_whatever_the_numbers_are() {
    let big = |slot| Worker {
        slot,
        pid: Some(4_194_304),
        state: Doing::Deferred,
        requests: u64::MAX >> (slot % 64),
        start_since_ms: Some(u64::MAX >> (slot % 64)),
        request_duration_ms: Some(9_999_999_999),
        ..idle(slot)
    };
    let shown = table(&status(vec![pool((0..100).map(big).collect()), pool((1900..2000).map(big).collect())]));
    let rows: Vec<&str> = shown.lines().filter(|line| line.ends_with("GET /before")).collect();
    assert_eq!(rows.len(), 200);
    assert!(rows.iter().all(|row| row.find("GET") == Some(52)), "{shown}");
}

#[test]
fn a_reload_that_runs_is_shown_by_a_bar() {
    let rolling = |stage| {
        let web = Pool { renewed_processes: Some(2), ..pool(Vec::new()) };
        table(&Status { state: Phase::Reloading, reload_stage: Some(stage), ..status(vec![web, pool(Vec::new())]) })
    };
    assert!(rolling(Stage::Trying).contains("\nreload: the new generation is tried\n"));
    let shown = rolling(Stage::Rolling);
    assert_eq!(shown.matches("reload:").count(), 1, "only one of the two is reloaded: {shown}");
    assert!(shown.contains("\nreload: [#####...............] 2/8 workers replaced\n"), "{shown}");
}
