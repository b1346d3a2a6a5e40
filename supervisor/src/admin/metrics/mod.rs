//! The state as Prometheus reads it: `GET /metrics`.
//!
//! Owns the names of the families, which dashboards and alerts are built on; `docs/metrics.md` lists them, and a test holds
//! the two together. Asks nobody but the kernel, for the memory of workers: all other numbers are of one document.

mod application;
mod daemon;
mod database;
mod format;
mod lives;
mod memory;
mod page;
mod pool;
#[cfg(test)]
mod tests;
mod traffic;
mod worker;

use std::collections::BTreeMap;

use ratoon_worker::http::HeaderMap;

use self::format::Format;
pub(super) use self::memory::Memory;
use self::page::Page;
use crate::control::Status;
use crate::control::status::Pool;

/// The exposition, in the form that `headers` accepts, with its content type.
pub(super) fn exposition(status: &Status, headers: &HeaderMap, memory: &mut Memory) -> (&'static str, String) {
    let format = Format::accepted(headers);
    let mut page = Page::new(format);
    let pools = newest_of_each_name(&status.pools);
    daemon::write(&mut page, status);
    pool::write(&mut page, &pools);
    lives::write(&mut page, &pools);
    traffic::write(&mut page, &pools);
    database::write(&mut page, &pools);
    worker::write(&mut page, &pools, memory);
    application::write(&mut page, &pools);
    (format.content_type(), page.end())
}

/// A pool that was removed and is not gone yet may have a successor of the same name, and of the two series of one name
/// there can be but one.
fn newest_of_each_name(pools: &[Pool]) -> Vec<&Pool> {
    let newest: BTreeMap<&str, usize> =
        pools.iter().enumerate().map(|(place, pool)| (pool.pool.as_str(), place)).collect();
    let is_newest = |place: usize, pool: &Pool| newest.get(pool.pool.as_str()) == Some(&place);
    pools.iter().enumerate().filter(|(place, pool)| is_newest(*place, pool)).map(|(_, pool)| pool).collect()
}
