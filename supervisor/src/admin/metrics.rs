//! The state as Prometheus reads it: `GET /metrics`.
//!
//! Owns the names of the families and how they are written. Never asks anybody: what it is given is one document, and
//! all numbers are of one moment.

use std::fmt::Write;

use ratoon_worker::http::HeaderMap;

use crate::control::Status;
use crate::control::status::Pool;

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The exposition, in the form that `headers` accepts, with its content type.
pub(super) fn exposition(status: &Status, _headers: &HeaderMap) -> (&'static str, String) {
    let mut text = String::new();
    family(&mut text, "ratoon_workers", "gauge", "Workers of a pool, by what they are at.");
    for pool in &status.pools {
        for (state, count) in workers(pool) {
            sample(&mut text, "ratoon_workers", &[("pool", &pool.pool), ("state", state)], u64::from(count));
        }
    }
    family(&mut text, "ratoon_requests_total", "counter", "Requests that workers of a pool have begun.");
    for pool in &status.pools {
        let requests = pool.processes.iter().map(|worker| worker.requests).sum();
        sample(&mut text, "ratoon_requests_total", &[("pool", &pool.pool)], requests);
    }
    family(&mut text, "ratoon_listen_queue", "gauge", "Connections that wait to be accepted.");
    for pool in &status.pools {
        for listener in &pool.listeners {
            if let Some(waiting) = listener.listen_queue {
                let labels = [("pool", pool.pool.as_str()), ("listener", &listener.address)];
                sample(&mut text, "ratoon_listen_queue", &labels, u64::from(waiting));
            }
        }
    }
    family(&mut text, "ratoon_worker_deaths_total", "counter", "Workers that are no more, by cause.");
    for pool in &status.pools {
        for (cause, count) in &pool.deaths {
            sample(&mut text, "ratoon_worker_deaths_total", &[("pool", &pool.pool), ("cause", cause)], *count);
        }
    }
    (TEXT, text)
}

fn workers(pool: &Pool) -> [(&'static str, u32); 4] {
    [
        ("starting", pool.starting_processes),
        ("idle", pool.idle_processes),
        ("busy", pool.active_processes),
        ("retiring", pool.retiring_processes),
    ]
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
