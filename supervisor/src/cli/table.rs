//! The status as a table for people: no line is wider than a terminal of 80 columns.
//!
//! Owns the layout. Whatever a client has sent is shown as plain characters: it cannot write to the terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::figure::{bar, count, time};
use super::plain::cut;
use crate::control::Status;
use crate::control::status::{Database, Doing, Health, Outcome, Phase, Pool, Stage, Worker};

/// How many characters fit on a line.
const WIDTH: usize = 80;

/// What is told in words takes no more lines than this.
const MOST_LINES: usize = 4;

/// The table, without a newline at its end.
pub(super) fn table(status: &Status) -> String {
    let mut lines = vec![heading(status)];
    if let Some(reload) = &status.last_reload {
        let outcome = match reload.outcome {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
        };
        let reason = reload.reason.replace('\n', "; ");
        lines.extend(wrapped(&format!("last reload: {outcome} {} ago: {reason}", time(reload.ended_since_ms))));
    }
    if status.log_lines_lost > 0 {
        lines.push(format!("log lines lost: {}", count(status.log_lines_lost)));
    }
    for pool in &status.pools {
        lines.push(String::new());
        lines.extend(wrapped(&headline(pool)));
        lines.extend(renewal(pool, status.reload_stage));
        lines.extend(tally("deaths", &pool.deaths).iter().flat_map(|line| wrapped(line)));
        if let Some(database) = &pool.database {
            lines.extend(wrapped(&use_of(database)));
            lines.extend(tally("reconnects", &database.reconnects).iter().flat_map(|line| wrapped(line)));
        }
        lines.push(row(["SLOT", "PID", "GEN", "STATE", "REQUESTS", "AGE", "REQUEST"].map(str::to_owned)));
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
    let waiting =
        if known.is_empty() { "?".to_owned() } else { known.iter().copied().map(u64::from).sum::<u64>().to_string() };
    let generations: Vec<String> = pool.generations.iter().map(u32::to_string).collect();
    let mut line = format!(
        "{}  {}  {}/{} busy, {waiting} waiting, gen {}",
        pool.pool,
        pool.process_manager,
        pool.active_processes,
        pool.wanted_processes,
        if generations.is_empty() { "-".to_owned() } else { generations.join("+") },
    );
    if pool.scaled_by != 0 {
        let _ = write!(line, ", scaled by {:+}", pool.scaled_by);
    }
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

/// `reload: [#####...............] 2/8 workers replaced`, while it is reloaded.
fn renewal(pool: &Pool, stage: Option<Stage>) -> Option<String> {
    let (renewed, wanted) = (pool.renewed_processes?, pool.wanted_processes);
    let what = match stage? {
        Stage::Reading | Stage::Trying => return Some("reload: the new generation is tried".into()),
        Stage::Rolling => "workers replaced",
        Stage::Settling => "workers replaced, watched for settle",
    };
    Some(format!("reload: {} {renewed}/{wanted} {what}", bar(renewed, wanted)))
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
    if database.exhausted > 0 {
        let _ = write!(line, ", {} of them in vain", database.exhausted);
    }
    if database.leases > 0 {
        let _ = write!(line, ", {} leases", database.leases);
    }
    line
}

fn worker(worker: &Worker) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let state = worker.state.name();
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
        count(worker.requests),
        or_dash(worker.start_since_ms.map(time)),
        last,
    ])
}

fn row([slot, pid, generation, state, requests, age, last]: [String; 7]) -> String {
    format!("{slot:>4} {pid:>7} {generation:>4} {state:<16} {requests:>8} {age:>7} {last}").trim_end().to_owned()
}

/// What every request line ends with tells nobody anything.
fn request(line: &str) -> String {
    line.strip_suffix(" HTTP/1.1").unwrap_or(line).to_owned()
}

/// The line, broken between words if it is too long; what even a few lines do not hold is cut.
fn wrapped(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.len() - 1;
        let length = lines[last].chars().count();
        if length + 1 + word.chars().count() > WIDTH && length > 2 && last + 1 < MOST_LINES {
            lines.push(format!("  {word}"));
        } else {
            let space = if lines[last].is_empty() { "" } else { " " };
            lines[last].push_str(space);
            lines[last].push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests;
