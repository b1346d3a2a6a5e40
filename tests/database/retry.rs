//! What is retried: an attempt whose connection was dead, and which has made nothing final.

use crate::harness::{Client, Postgres, Ratoon, sql};

/// A worker, a client of it, and a table in which every attempt leaves a trace that no rollback takes away.
fn stage() -> (Postgres, Ratoon, Client) {
    let postgres = Postgres::start();
    postgres.query("create sequence attempts; create table kept (a int)");
    let ratoon = sql::serving(&postgres, "workers = 1\nrequest_timeout = \"2s\"", "");
    let client = Client::connect(ratoon.address());
    (postgres, ratoon, client)
}

/// Ends its own session at the first attempt only.
const DIES_ONCE: &str = "select case when nextval('attempts') = 1 then pg_terminate_backend(pg_backend_pid()) end";

#[test]
fn an_attempt_that_finds_its_connection_dead_is_made_once_more_on_a_fresh_one() {
    let (postgres, _ratoon, mut client) = stage();
    let answer = client.ask("retried-by-line", &format!("begin\ninsert into kept values (1)\n{DIES_ONCE}\ncommit"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(postgres.query("select last_value from attempts"), "2");
    assert_eq!(postgres.query("select count(*) from kept"), "1");
    assert_eq!(client.sql("select 1"), "1");
}

#[test]
fn one_that_has_made_something_final_is_not() {
    let (postgres, _ratoon, mut client) = stage();
    let answer = client.ask("retried-by-line", &format!("insert into kept values (1)\n{DIES_ONCE}"));
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(postgres.query("select count(*) from kept"), "1");
    assert_eq!(postgres.query("select last_value from attempts"), "1");
}

/// Ends its session in the middle of the COMMIT that has it run, at the first attempt only.
const DIES_IN_COMMIT: &str = "create function die() returns trigger language plpgsql as \
    $$ begin perform case when nextval('attempts') = 1 then pg_terminate_backend(pg_backend_pid()) end; return null; end $$; \
    create constraint trigger dies after insert on kept deferrable initially deferred for each row execute function die()";

#[test]
fn one_whose_connection_is_lost_during_its_commit_is_not_for_nobody_knows_what_became_of_it() {
    let (postgres, _ratoon, mut client) = stage();
    postgres.query(DIES_IN_COMMIT);
    let answer = client.ask("committed-with-retry", "insert into kept values (1)");
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(postgres.query("select last_value from attempts"), "1");
    let answer = client.ask("committed-with-retry", "insert into kept values (2)");
    assert_eq!(answer.text(), "committed", "the next request has a fresh one");
}

#[test]
fn one_that_the_server_objects_to_is_not() {
    let (postgres, _ratoon, mut client) = stage();
    let answer = client.ask("retried", "select nextval('attempts'), 1/0");
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(postgres.query("select last_value from attempts"), "1");
}

#[test]
fn one_that_is_too_late_is_not() {
    let (postgres, _ratoon, mut client) = stage();
    let answer = client.ask("retried", "select nextval('attempts'), pg_sleep(30)");
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert_eq!(postgres.query("select last_value from attempts"), "1");
}

#[test]
fn one_that_dies_a_second_time_fails() {
    let (postgres, _ratoon, mut client) = stage();
    let answer = client.ask("retried", "select nextval('attempts'), pg_terminate_backend(pg_backend_pid())");
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(postgres.query("select last_value from attempts"), "2");
}

#[test]
fn one_that_has_committed_among_other_statements_is_not() {
    let (postgres, _ratoon, mut client) = stage();
    let answer = client.ask("retried", &format!("begin; insert into kept values (1); commit; {DIES_ONCE}"));
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(postgres.query("select count(*) from kept"), "1");
}

#[test]
fn a_statement_that_has_begun_is_not_executed_again_whatever_it_says_of_itself() {
    let (postgres, _ratoon, mut client) = stage();
    postgres.query(
        "create procedure half() language plpgsql as $$ begin insert into kept values (1); commit;
         raise exception 'as if its plan were out of date' using errcode = '0A000'; end $$",
    );
    for times in ["1", "2"] {
        let answer = client.ask("row", "call half()");
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert_eq!(postgres.query("select count(*) from kept"), times);
    }
}
