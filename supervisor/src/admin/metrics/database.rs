//! What workers do with their database; absent of pools that have none.

use super::page::{Kind, Number, Page};
use crate::control::status::{Database, Pool};

pub(super) fn write(page: &mut Page, pools: &[&Pool]) {
    let gauge = Kind::Gauge;
    family(
        page,
        pools,
        "ratoon_database_connections",
        gauge,
        "Connections to the database that workers hold open.",
        |own| own.open,
    );
    let help = "The most connections that all workers may have open together.";
    family(page, pools, "ratoon_database_connections_max", gauge, help, |own| own.connections);
    let help = "The longest that a request has waited for a connection to the database.";
    family(page, pools, "ratoon_database_longest_wait_seconds", gauge, help, |own| own.waited_longest_ms as f64 / 1e3);
    let counter = Kind::Counter;
    family(
        page,
        pools,
        "ratoon_database_connects_total",
        counter,
        "Connections to the database that were opened.",
        |own| own.connects,
    );
    page.family(
        "ratoon_database_reconnects_total",
        counter,
        "Connections to the database that took the place of a stale one, by cause.",
        |samples| {
            for (pool, database) in having(pools) {
                for (cause, count) in &database.reconnects {
                    samples.add(&[("pool", &pool.pool), ("cause", cause)], *count);
                }
            }
        },
    );
    family(page, pools, "ratoon_database_failures_total", counter, "Attempts to connect that failed.", |own| {
        own.failures
    });
    let help = "Times that a request had to wait for a connection to the database.";
    family(page, pools, "ratoon_database_waits_total", counter, help, |own| own.waits);
    let help = "Times that a request waited in vain for a connection to the database.";
    family(page, pools, "ratoon_database_exhausted_total", counter, help, |own| own.exhausted);
    let help = "Connections to the database that a worker took over from another.";
    family(page, pools, "ratoon_database_leases_total", counter, help, |own| own.leases);
}

fn having<'a>(pools: &[&'a Pool]) -> impl Iterator<Item = (&'a Pool, &'a Database)> {
    pools.iter().filter_map(|pool| Some((*pool, pool.database.as_ref()?)))
}

fn family<N: Into<Number>>(
    page: &mut Page,
    pools: &[&Pool],
    name: &str,
    kind: Kind,
    help: &str,
    value: impl Fn(&Database) -> N,
) {
    page.family(name, kind, help, |samples| {
        having(pools).for_each(|(pool, database)| samples.add(&[("pool", &pool.pool)], value(database)));
    });
}
