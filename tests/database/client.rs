//! What a handler does with its connection, by the methods of the `postgres` crate.

use crate::harness::{Client, Postgres, sql};

#[test]
fn rows_go_in_and_come_out_by_copy() {
    let postgres = Postgres::start();
    postgres.query("create table lines (a int)");
    let ratoon = sql::serving(&postgres, "workers = 1", "");
    let mut client = Client::connect(ratoon.address());
    let lines: String = (0..10_000).map(|line| format!("{line}\n")).collect();
    assert_eq!(client.ask("copy-in", &format!("copy lines from stdin\n{lines}")).text(), "10000");
    assert_eq!(client.ask("copy-out", "copy (select a from lines order by a) to stdout").text(), lines);
}

#[test]
fn a_transaction_is_final_when_it_is_committed_and_undone_when_it_is_dropped() {
    let postgres = Postgres::start();
    postgres.query("create table kept (a int)");
    let ratoon = sql::serving(&postgres, "workers = 1", "");
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.ask("dropped", "insert into kept values (1)").text(), "dropped");
    assert_eq!(client.sql("select count(*) from kept"), "0");
    assert_eq!(client.ask("committed", "insert into kept values (1)").text(), "committed");
    assert_eq!(client.sql("select count(*) from kept"), "1");
}
