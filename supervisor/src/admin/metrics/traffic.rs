//! What workers have done for clients: requests by what became of them, how long they took, connections, bytes.

use std::collections::BTreeMap;

use super::page::{Kind, Page};
use crate::control::status::{Pool, Times, Traffic};

/// The shortest time in the queue that is told apart, as a bucket: the kernel counts it in milliseconds.
const MILLISECOND: usize = 10;

pub(super) fn write(page: &mut Page, pools: &[&Pool]) {
    let help = "Requests that the application has answered, by class of the status.";
    by_class(page, pools, "ratoon_requests_total", help, |traffic| &traffic.answers);
    let help = "Requests whose worker died before they were answered; their client may have been told 500 or 504.";
    counter(page, pools, "ratoon_requests_lost_total", help, |traffic| traffic.lost);
    let help = "Requests refused before the application could see them, by class of the status.";
    by_class(page, pools, "ratoon_requests_refused_total", help, |traffic| &traffic.refused);
    let help = "Requests that were not run: answered 503 since they had waited longer than queue_timeout (late), or dropped \
                since their client had gone (gone).";
    page.family("ratoon_requests_not_run_total", Kind::Counter, help, |samples| {
        for pool in pools {
            samples.add(&[("pool", &pool.pool), ("reason", "gone")], pool.traffic.gone);
            samples.add(&[("pool", &pool.pool), ("reason", "late")], pool.traffic.late);
        }
    });
    let help = "From a handler's start to the end of its request, deferred work aside.";
    histogram(page, pools, "ratoon_request_duration_seconds", help, 0, |traffic| &traffic.request_duration);
    let help = "What TCP connections had waited for a worker when they were accepted: measured by the kernel, in \
                milliseconds, since the last of what they had sent had arrived. Of Unix sockets it is not known.";
    histogram(page, pools, "ratoon_queue_time_seconds", help, MILLISECOND, |traffic| &traffic.queue_time);
    page.family("ratoon_connections", Kind::Gauge, "Connections that are open.", |samples| {
        for pool in pools {
            let open: u64 = pool.processes.iter().map(|worker| u64::from(worker.connections)).sum();
            samples.add(&[("pool", &pool.pool)], open);
        }
    });
    let help = "Connections taken from a listener.";
    counter(page, pools, "ratoon_connections_accepted_total", help, |traffic| traffic.accepted_conn);
    let help = "Connections that a worker has given to its siblings.";
    counter(page, pools, "ratoon_connections_handed_over_total", help, |traffic| traffic.handed_over_conn);
    counter(page, pools, "ratoon_received_bytes_total", "Bytes read from clients.", |traffic| traffic.received_bytes);
    counter(page, pools, "ratoon_sent_bytes_total", "Bytes written to clients.", |traffic| traffic.sent_bytes);
}

fn counter(page: &mut Page, pools: &[&Pool], name: &str, help: &str, value: impl Fn(&Traffic) -> u64) {
    page.family(name, Kind::Counter, help, |samples| {
        pools.iter().for_each(|pool| samples.add(&[("pool", &pool.pool)], value(&pool.traffic)));
    });
}

fn by_class(
    page: &mut Page,
    pools: &[&Pool],
    name: &str,
    help: &str,
    counts: impl Fn(&Traffic) -> &BTreeMap<String, u64>,
) {
    page.family(name, Kind::Counter, help, |samples| {
        for pool in pools {
            for (class, count) in counts(&pool.traffic) {
                samples.add(&[("pool", &pool.pool), ("code", class)], *count);
            }
        }
    });
}

/// Buckets below `first` are counted with it.
fn histogram(
    page: &mut Page,
    pools: &[&Pool],
    name: &str,
    help: &str,
    first: usize,
    times: impl Fn(&Traffic) -> &Times,
) {
    page.family(name, Kind::Histogram, help, |samples| {
        for pool in pools {
            let Times { sum_ns, buckets } = times(&pool.traffic);
            let shorter = buckets.iter().take(first).copied().fold(0, u64::wrapping_add);
            let last = buckets.len().saturating_sub(1);
            let told = buckets.iter().enumerate().skip(first).map(|(place, count)| {
                let bound = (place < last).then(|| (1u64 << place.min(63)) as f64 / 1e6);
                (bound, count.wrapping_add(if place == first { shorter } else { 0 }))
            });
            samples.histogram(&[("pool", &pool.pool)], told, *sum_ns as f64 / 1e9);
        }
    });
}
