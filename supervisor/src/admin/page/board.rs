//! The scoreboard of a pool: a cell for each slot, a legend that counts them, and a table with all there is to say.

use maud::{Markup, html};

use super::words;
use crate::control::status::{Doing, Pool, Worker};

/// With more slots than this the cells are small, and hold no more than a sign.
const ROOMY: usize = 64;

/// No more workers than this are listed one by one; with more slots those that are idle are left out.
const LISTED: usize = 200;

/// A death as young as this marks its slot, in milliseconds.
const YOUNG: u64 = 15_000;

/// How much of the time that it may take a busy worker has used, in eighths.
const STEPS: u64 = 8;

pub(super) fn of(pool: &Pool) -> Markup {
    let is_dense = pool.processes.len() > ROOMY;
    html! {
        div.board.dense[is_dense] role="img" aria-label=(summary(pool)) {
            @for worker in &pool.processes { (cell(pool, worker, is_dense)) }
        }
        ul.legend aria-label="Workers by state" {
            @for (doing, count) in counts(pool) {
                li { i.(doing.name()) aria-hidden="true" { (sign(doing)) } span { (doing.name()) } " " b { (count) } }
            }
        }
        (table(pool))
    }
}

/// All states that some slot is in, and the usual ones, with how many.
fn counts(pool: &Pool) -> impl Iterator<Item = (Doing, usize)> {
    let all = [
        Doing::Idle,
        Doing::Busy,
        Doing::Deferred,
        Doing::Starting,
        Doing::Retiring,
        Doing::Draining,
        Doing::Dying,
        Doing::Vacant,
    ];
    let count = |doing: Doing| pool.processes.iter().filter(|worker| worker.state == doing).count();
    all.into_iter()
        .map(move |doing| (doing, count(doing)))
        .filter(|(doing, count)| *count > 0 || matches!(doing, Doing::Idle | Doing::Busy))
}

fn summary(pool: &Pool) -> String {
    let counts: Vec<String> = counts(pool).map(|(doing, count)| format!("{count} {}", doing.name())).collect();
    format!("{} slots: {}", pool.processes.len(), counts.join(", "))
}

fn cell(pool: &Pool, worker: &Worker, is_dense: bool) -> Markup {
    let age = worker.request_duration_ms.filter(|_| worker.state != Doing::Idle);
    let step = age.map(|age| (age * STEPS / pool.request_timeout_ms.max(1)).min(STEPS));
    let is_scarred = pool.last_deaths.iter().any(|death| death.slot == worker.slot && death.died_since_ms < YOUNG);
    let shade = step.map(|step| format!(" a{step}")).unwrap_or_default();
    let scar = if is_scarred { " scarred" } else { "" };
    html! {
        span class=(format!("cell {}{shade}{scar}", worker.state.name())) title=(told(worker)) {
            @if !is_dense { small { (worker.slot) } }
            @match age {
                Some(age) if !is_dense => { b { (words::millis(age)) } }
                _ => { b { (sign(worker.state)) } }
            }
        }
    }
}

/// All about a worker in a sentence.
fn told(worker: &Worker) -> String {
    let mut text = format!("slot {}: {}", worker.slot, worker.state.name());
    if let Some(age) = worker.request_duration_ms {
        text += &format!(" for {}", words::millis(age));
    }
    match (&worker.request_line, &worker.last_death) {
        (Some(line), _) if worker.request_duration_ms.is_some() => text += &format!(", {}", words::foreign(line)),
        (_, Some(cause)) if worker.state == Doing::Vacant => text += &format!(", {}", words::foreign(cause)),
        _ => {}
    }
    text
}

fn table(pool: &Pool) -> Markup {
    let is_listed = |worker: &&Worker| pool.processes.len() <= LISTED || worker.state != Doing::Idle;
    let listed: Vec<&Worker> = pool.processes.iter().filter(is_listed).take(LISTED).collect();
    let left_out = pool.processes.len() - listed.len();
    html! {
        details open[pool.processes.len() <= ROOMY / 2] {
            summary { "Workers" }
            div.scroll {
                table.workers {
                    thead { tr {
                        th scope="col" { "slot" } th scope="col" { "state" } th.request scope="col" { "request" }
                        th.n scope="col" { "requests" } th.n.wide scope="col" { "connections" }
                        th.n.wide scope="col" { "pid" } th.n.wide scope="col" { "gen" } th.wide scope="col" { "up" }
                        th.wide scope="col" { "last death" }
                    } }
                    tbody { @for worker in listed { (row(worker)) } }
                }
            }
            @if left_out > 0 {
                p.more { (words::grouped(left_out as u64)) " more are in " a href="/status.json" { "status.json" } "." }
            }
        }
    }
}

fn row(worker: &Worker) -> Markup {
    let is_running = worker.request_duration_ms.is_some();
    html! {
        tr data-slot=(worker.slot) {
            th scope="row" { (worker.slot) }
            td.doing {
                i.(worker.state.name()) aria-hidden="true" { (sign(worker.state)) }
                span data-field="state" { (worker.state.name()) }
                @if let Some(age) = worker.request_duration_ms { " " small { (words::millis(age)) } }
            }
            td.request.past[!is_running] {
                @if let Some(line) = &worker.request_line { code { (words::foreign(line)) } }
            }
            td.n { (words::number("requests", worker.requests)) }
            td.n.wide { (worker.connections) }
            td.n.wide data-field="pid" { @if let Some(pid) = worker.pid { (pid) } }
            td.n.wide { @if let Some(generation) = worker.generation { (generation) } }
            td.wide { @if let Some(up) = worker.start_since_ms { (words::millis(up)) } }
            td.wide.cause { @if let Some(cause) = &worker.last_death { (words::foreign(cause)) } }
        }
    }
}

/// What tells it from the others where colours do not.
fn sign(doing: Doing) -> &'static str {
    match doing {
        Doing::Vacant => "–",
        Doing::Starting => "…",
        Doing::Idle => "·",
        Doing::Busy => "●",
        Doing::Deferred => "◐",
        Doing::Retiring => "↓",
        Doing::Draining => "⇣",
        Doing::Dying => "✕",
    }
}
