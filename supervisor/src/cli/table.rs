//! The status as a table for people: no line is wider than a terminal of 80 columns.
//!
//! Owns the layout. Whatever a client has sent is shown as plain characters: it cannot write to the terminal.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::plain::cut;
use crate::control::Status;
use crate::control::status::{Database, Doing, Health, Outcome, Phase, Pool, Worker};
use crate::span::span;

/// How many characters fit on a line.
const WIDTH: usize = 80;

/// The table, without a newline at its end.
pub(super) fn table(status: &Status) -> String {
    let mut lines = vec![heading(status)];
    if let Some(reload) = &status.last_reload {
        let outcome = match reload.outcome {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
        };
        lines.push(format!("last reload: {outcome} {} ago: {}", time(reload.ended_since_ms), reload.reason));
    }
    for pool in &status.pools {
        lines.push(String::new());
        lines.push(headline(pool));
        lines.extend(tally("deaths", &pool.deaths));
        if let Some(database) = &pool.database {
            lines.push(use_of(database));
            lines.extend(tally("reconnects", &database.reconnects));
        }
        lines.push(row(["SLOT", "PID", "GEN", "STATE", "REQUESTS", "AGE", "MEMORY", "REQUEST"].map(str::to_owned)));
        lines.extend(pool.processes.iter().map(worker));
    }
    let lines: Vec<String> = lines.iter().map(|line| cut(line, WIDTH)).collect();
    lines.join("\n")
}

fn heading(status: &Status) -> String {
    let state = match status.state {
        Phase::Starting => "starting",
        Phase::Serving => "serving",
        Phase::Reloading => "reloading",
        Phase::Stopping => "stopping",
    };
    format!("ratoon {}  pid {}  {state}, up {}", status.version, status.pid, time(status.start_since_ms))
}

/// `web  static  4/8 busy, 0 waiting, gen 3`, and after it whatever is not as usual.
fn headline(pool: &Pool) -> String {
    let known: Vec<u32> = pool.listeners.iter().filter_map(|listener| listener.listen_queue).collect();
    let waiting = if known.is_empty() { "?".to_owned() } else { known.iter().sum::<u32>().to_string() };
    let generations: Vec<String> = pool.generations.iter().map(u32::to_string).collect();
    let mut line = format!(
        "{}  {}  {}/{} busy, {waiting} waiting, gen {}",
        pool.pool,
        pool.process_manager,
        pool.active_processes,
        pool.wanted_processes,
        if generations.is_empty() { "-".to_owned() } else { generations.join("+") },
    );
    for (count, what) in [
        (u64::from(pool.starting_processes), "starting"),
        (u64::from(pool.retiring_processes), "retiring"),
        (pool.max_children_reached, "times max children reached"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {count} {what}");
        }
    }
    match pool.health {
        Health::Sound => {}
        Health::Failed { retry_in_ms: Some(retry) } => {
            let _ = write!(line, ", failed, retry in {}", time(retry));
        }
        Health::Failed { retry_in_ms: None } => line.push_str(", failed, being retried"),
    }
    line
}

/// `deaths: signal SIGSEGV ×2, exited 1 ×1`, if there were any.
fn tally(what: &str, causes: &BTreeMap<String, u64>) -> Option<String> {
    let causes: Vec<String> = causes.iter().map(|(cause, times)| format!("{cause} ×{times}")).collect();
    (!causes.is_empty()).then(|| format!("{what}: {}", causes.join(", ")))
}

/// `database: 3/10 open, 12 connects`, and after it whatever is not as usual.
fn use_of(database: &Database) -> String {
    let Database { connections, open, connects, .. } = database;
    let mut line = format!("database: {open}/{connections} open, {connects} connects");
    if database.failures > 0 {
        let _ = write!(line, ", {} failed", database.failures);
    }
    if database.waits > 0 {
        let _ = write!(line, ", {} waits (at most {})", database.waits, time(database.waited_longest_ms));
    }
    if database.leases > 0 {
        let _ = write!(line, ", {} leases", database.leases);
    }
    line
}

fn worker(worker: &Worker) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let state = match worker.state {
        Doing::Vacant => "vacant",
        Doing::Starting => "starting",
        Doing::Idle => "idle",
        Doing::Busy => "busy",
        Doing::Deferred => "deferred",
        Doing::Retiring => "retiring",
        Doing::Draining => "draining",
        Doing::Dying => "dying",
    };
    let (state, last) = match (worker.request_duration_ms, &worker.request_line, &worker.last_death) {
        (Some(running), Some(line), _) => (format!("{state} {}", time(running)), request(line)),
        (_, _, Some(cause)) if worker.state != Doing::Idle => (state.to_owned(), format!("last died: {cause}")),
        _ => (state.to_owned(), String::new()),
    };
    row([
        worker.slot.to_string(),
        or_dash(worker.pid.map(|pid| pid.to_string())),
        or_dash(worker.generation.map(|generation| generation.to_string())),
        state,
        worker.requests.to_string(),
        or_dash(worker.start_since_ms.map(time)),
        or_dash(worker.memory_bytes.map(size)),
        last,
    ])
}

fn row([slot, pid, generation, state, requests, age, memory, last]: [String; 8]) -> String {
    format!("{slot:>4} {pid:>7} {generation:>4} {state:<15} {requests:>8} {age:>7} {memory:>7} {last}")
        .trim_end()
        .to_owned()
}

/// What every request line ends with tells nobody anything.
fn request(line: &str) -> String {
    line.strip_suffix(" HTTP/1.1").unwrap_or(line).to_owned()
}

fn time(ms: u64) -> String {
    span(Duration::from_millis(ms))
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{}KiB", bytes >> 10),
        mib @ 1..10_000 => format!("{mib}MiB"),
        mib => format!("{}GiB", mib >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{Listener, Reload, Traffic};

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
            memory_bytes: None,
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
            listeners: vec![Listener { address: "x".into(), listen_queue: Some(0), listen_queue_len: 1024 }],
            deaths: BTreeMap::new(),
            traffic: Traffic::default(),
            metrics: Vec::new(),
            database: None,
            processes,
        }
    }

    fn status(pools: Vec<Pool>) -> Status {
        Status {
            version: "0.1.0".into(),
            pid: 4700,
            start_time: 1_700_000_000,
            start_since_ms: 7_500_000,
            state: Phase::Serving,
            reload_stage: None,
            last_reload: None,
            pools,
        }
    }

    #[test]
    fn a_person_sees_pools_and_workers_at_a_glance() {
        let busy = Worker {
            state: Doing::Busy,
            request_duration_ms: Some(1234),
            request_line: Some("GET /sleep?ms=5000 HTTP/1.1".into()),
            memory_bytes: Some(12 << 20),
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
SLOT     PID  GEN STATE           REQUESTS     AGE  MEMORY REQUEST
   0    4711    3 idle                  12   4m10s       -
   1    4711    3 busy 1.2s             12   4m10s   12MiB GET /sleep?ms=5000
   2       -    - vacant                12       -       - last died: signal SI…";
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
            memory_bytes: Some(u64::MAX),
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
        assert_eq!(shown.lines().count(), 7);
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
            leases: 0,
        };
        assert_eq!(use_of(&quiet), "database: 3/10 open, 12 connects");
        let busy = Database {
            reconnects: [("closed".into(), 2), ("idle".into(), 1)].into(),
            failures: 4,
            waits: 5,
            waited_longest_ms: 1500,
            leases: 6,
            ..quiet
        };
        let shown = table(&status(vec![Pool { database: Some(busy), ..pool(Vec::new()) }]));
        let wanted = "\
database: 3/10 open, 12 connects, 4 failed, 5 waits (at most 1.5s), 6 leases
reconnects: closed ×2, idle ×1
SLOT";
        assert!(shown.contains(wanted), "{shown}");
    }

    #[test]
    fn whatever_is_not_as_usual_stands_in_the_headline() {
        let usual = "web  static  4/8 busy, 0 waiting, gen 3";
        assert_eq!(headline(&pool(Vec::new())), usual);
        let rolling =
            Pool { generations: vec![3, 4], starting_processes: 1, retiring_processes: 2, ..pool(Vec::new()) };
        assert_eq!(headline(&rolling), "web  static  4/8 busy, 0 waiting, gen 3+4, 1 starting, 2 retiring");
        let failed = Pool { health: Health::Failed { retry_in_ms: Some(8000) }, ..pool(Vec::new()) };
        assert_eq!(headline(&failed), format!("{usual}, failed, retry in 8.0s"));
    }
}
