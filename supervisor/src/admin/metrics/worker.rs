//! The slots of a pool and their workers: as many series as there are slots, whoever comes and goes in them.

use super::memory::{Memory, Weight};
use super::page::{Kind, Number, Page};
use crate::control::status::{Pool, Worker};

pub(super) fn write(page: &mut Page, pools: &[&Pool], memory: &mut Memory) {
    let gauge = Kind::Gauge;
    let help = "How long the request in hand has been running; 0 if none is.";
    family(page, pools, "ratoon_worker_request_seconds", gauge, help, |worker| {
        worker.pid.map(|_| worker.request_duration_ms.unwrap_or(0) as f64 / 1e3)
    });
    let help = "How long the worker has been ready.";
    family(page, pools, "ratoon_worker_age_seconds", gauge, help, |worker| {
        worker.start_since_ms.map(|millis| millis as f64 / 1e3)
    });
    let help = "The generation of the worker.";
    family(page, pools, "ratoon_worker_generation", gauge, help, |worker| worker.generation);
    let help = "Connections that the worker holds open.";
    family(page, pools, "ratoon_worker_connections", gauge, help, |worker| worker.pid.map(|_| worker.connections));
    let help = "Requests begun in the slot, by all its workers.";
    family(page, pools, "ratoon_worker_requests_total", Kind::Counter, help, |worker| Some(worker.requests));

    let processes = pools.iter().flat_map(|pool| &pool.processes).filter_map(|worker| worker.pid);
    let weights = memory.weigh(processes.collect());
    let weight = |worker: &Worker, of: fn(&Weight) -> Option<u64>| weights.get(&worker.pid?).and_then(of);
    let help = "Memory of the worker, what it shares with its template and siblings included.";
    family(page, pools, "ratoon_worker_resident_bytes", gauge, help, |worker| weight(worker, |weight| weight.resident));
    let help = "Memory that the worker shares with nobody, not older than half a minute; absent if the admin process may not \
                look.";
    family(page, pools, "ratoon_worker_private_bytes", gauge, help, |worker| weight(worker, |weight| weight.private));
}

/// A family with one sample for each slot that has it.
fn family<N: Into<Number>>(
    page: &mut Page,
    pools: &[&Pool],
    name: &str,
    kind: Kind,
    help: &str,
    value: impl Fn(&Worker) -> Option<N>,
) {
    page.family(name, kind, help, |samples| {
        for (pool, worker) in pools.iter().flat_map(|pool| pool.processes.iter().map(move |worker| (pool, worker))) {
            if let Some(value) = value(worker) {
                samples.add(&[("pool", &pool.pool), ("slot", &worker.slot.to_string())], value);
            }
        }
    });
}
