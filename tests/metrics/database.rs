//! "Database connects, reconnects by cause, waits": what a real server has seen, as `/metrics` says it.

use std::collections::BTreeMap;

use super::exposition::{scrape, understood};
use crate::harness::{ADMIN, Client, Postgres, Ratoon, SOON, Stop, eventually, process, sql};

/// The database's families of the pool, without their common beginning and its name.
#[track_caller]
fn told(ratoon: &Ratoon) -> BTreeMap<String, f64> {
    let samples = understood(&scrape(ratoon.admin(), "text/plain").text(), "text");
    let own = samples.into_iter().filter_map(|(name, (_, value))| {
        let name = name.strip_prefix("ratoon_database_")?.replace("{pool='web'}", "").replace(",pool='web'", "");
        Some((name, value))
    });
    own.collect()
}

/// Waits until these numbers are told.
#[track_caller]
fn tells(ratoon: &Ratoon, numbers: &[(&str, f64)]) {
    let begun = std::time::Instant::now();
    loop {
        let told = told(ratoon);
        let wrong: Vec<_> = numbers.iter().filter(|(name, value)| told.get(*name) != Some(value)).collect();
        if wrong.is_empty() {
            return;
        }
        assert!(begun.elapsed() < SOON, "not {wrong:?} but {told:?}");
    }
}

#[test]
fn what_workers_do_with_their_database_is_told_with_the_right_numbers() {
    let mut postgres = Postgres::start();
    let pool = sql::pool(&postgres.url(), "workers = 2", "connections = 1\nconnect_timeout = \"10s\"");
    let ratoon = Ratoon::serving(&(ADMIN.to_owned() + &pool));
    tells(&ratoon, &[("connections", 0.0), ("connections_max", 1.0), ("connects_total", 0.0), ("waits_total", 0.0)]);

    // Which of the two keeps it between two requests, or neither, is their affair.
    let mut client = Client::connect(ratoon.address());
    client.sql("select 1");
    tells(&ratoon, &[("connects_total", 1.0)]);
    assert!(!told(&ratoon).keys().any(|name| name.starts_with("reconnects_total")));

    assert_eq!(postgres.terminate_all(), 1);
    client.sql("select 2");
    tells(&ratoon, &[("connects_total", 2.0), ("reconnects_total{cause='closed'}", 1.0)]);

    // One has the only connection, and the other waits for it.
    let slow = std::thread::spawn(move || client.ask("sql", "select pg_sleep(600)").status);
    let sleeps = "from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'";
    eventually("the server is asked", SOON, || {
        (postgres.query(&format!("select count(*) {sleeps}")) == "1").then_some(())
    });
    tells(&ratoon, &[("connections", 1.0)]);
    let before = told(&ratoon)["leases_total"];
    let mut other = Client::connect(ratoon.address());
    other.send(b"POST /sql HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nselect 3");
    let waits = || ratoon.workers("web").into_iter().any(|pid| process::sleeps_in(pid).contains("futex"));
    eventually("the other waits", SOON, || waits().then_some(()));
    postgres.query(&format!("select pg_cancel_backend(pid) {sleeps}"));
    assert_eq!((slow.join().unwrap(), other.response().text().as_str()), (500, "3"));
    tells(&ratoon, &[("connects_total", 2.0), ("waits_total", 1.0), ("leases_total", before + 1.0)]);
    let waited = told(&ratoon)["longest_wait_seconds"];
    assert!(waited > 0.0 && waited < SOON.as_secs_f64(), "{waited}");
    tells(&ratoon, &[("failures_total", 0.0)]);

    postgres.stop(Stop::Fast);
    assert_eq!(Client::connect(ratoon.address()).ask("sql", "select 4").status, 503);
    eventually("the failure is told", SOON, || (told(&ratoon)["failures_total"] >= 1.0).then_some(()));
    tells(&ratoon, &[("connections", 0.0), ("connects_total", 2.0)]);
}
