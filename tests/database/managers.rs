//! Connections of other kinds, kept by a `Keeper`: the `postgres` crate's and SQLite's.

use std::net::SocketAddr;
use std::time::Instant;

use super::post;
use crate::harness::postgres::{Postgres, Stop};
use crate::harness::relay::Relay;
use crate::harness::{Ratoon, Response, SOON, eventually, example, get};

/// One worker, whose process outlives a panic, with these settings.
#[track_caller]
fn serving(settings: &str) -> Ratoon {
    let program = example("managers");
    Ratoon::serving(&format!(
        "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nprogram = [{program:?}]\nworkers = 1\npanics = \"continue\"\n\
         [pool.web.settings]\n{settings}\n"
    ))
}

/// A PostgreSQL in the words of the `postgres` crate.
fn place(address: SocketAddr) -> String {
    format!("postgres = \"host=127.0.0.1 port={} user=ratoon dbname=postgres\"", address.port())
}

/// What a request's SQL answers.
#[track_caller]
fn said(address: SocketAddr, path: &str, sql: &str) -> String {
    let answer = post(address, path, sql);
    assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    answer.text()
}

const BACKEND: &str = "select pg_backend_pid()";

#[test]
fn nothing_is_connected_before_a_handler_asks() {
    let postgres = Postgres::start();
    let ratoon = serving(&place(postgres.address()));
    assert_eq!(get(ratoon.address(), "/ok").text(), "ok");
    assert_eq!(postgres.attempts(), 0);
    said(ratoon.address(), "/postgres", BACKEND);
    assert_eq!((postgres.attempts(), postgres.backends()), (1, 1));
}

#[test]
fn of_a_session_of_the_postgres_crate_nothing_is_left_to_the_next_request() {
    let postgres = Postgres::start();
    postgres.query("create role other; create table kept (x int)");
    let ratoon = serving(&place(postgres.address()));
    let address = ratoon.address();
    let backend = said(address, "/postgres", BACKEND);
    for (spoils, looks, clean) in [
        ("set work_mem = '77MB'", "show work_mem", "4MB"),
        ("select set_config('search_path', 'elsewhere', false)", "show search_path", "\"$user\", public"),
        ("set role other", "select current_user", "ratoon"),
        ("set session authorization other", "select session_user", "ratoon"),
        ("create temp table mine (x int)", "select count(*) from pg_class where relname = 'mine'", "0"),
        ("select pg_advisory_lock(4)", "select count(*) from pg_locks where locktype = 'advisory'", "0"),
        ("listen news", "select count(*) from pg_listening_channels()", "0"),
        ("prepare \"a \"\"name\" as select 1", "select count(*) from pg_prepared_statements where from_sql", "0"),
        (
            "begin; declare c cursor with hold for select 1; commit",
            "select count(*) from pg_cursors where name = 'c'",
            "0",
        ),
        ("begin; insert into kept values (1)", "select count(*) from kept", "0"),
    ] {
        said(address, "/postgres", spoils);
        assert_eq!(said(address, "/postgres", looks), clean, "{spoils}");
        assert_eq!(post(address, "/postgres-panic", spoils).status, 500);
        assert_eq!(said(address, "/postgres", looks), clean, "{spoils}, and a panic");
    }
    assert_eq!(post(address, "/postgres", "begin; select 1/0").status, 500);
    assert_eq!(said(address, "/postgres", "select count(*) from kept"), "0");
    // All of it on one connection; the server complains of nothing but the transactions that were left open.
    assert_eq!(said(address, "/postgres", BACKEND), backend);
    assert_eq!(postgres.log().matches("WARNING:  there is already a transaction in progress").count(), 2);
    assert_eq!(postgres.log().matches("WARNING").count(), 2, "{}", postgres.log());
}

#[test]
fn nor_does_the_next_request_draw_what_another_has_seeded() {
    let postgres = Postgres::start();
    let ratoon = serving(&place(postgres.address()));
    let address = ratoon.address();
    let drawn = |seeded: &str| said(address, "/postgres", &format!("{seeded} select random()"));
    assert_eq!(drawn("select setseed(0.5);"), drawn("select setseed(0.5);"));
    let after = drawn("");
    drawn("select setseed(0.5);");
    assert_ne!(drawn(""), after);
}

/// Nor is it a leak of the request that was the first to ask.
#[test]
fn the_descriptors_of_a_connection_that_is_kept_are_none_that_a_request_has_left_behind() {
    let postgres = Postgres::start();
    let program = example("managers");
    let place = place(postgres.address());
    let ratoon = Ratoon::serving(&format!(
        "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nprogram = [{program:?}]\nworkers = 1\nreset_check = 1\n\
         [pool.web.settings]\n{place}\n"
    ));
    let address = ratoon.address();
    for _ in 0..3 {
        said(address, "/postgres", BACKEND);
        assert_eq!(postgres.terminate_all(), 1);
    }
    assert_eq!(get(address, "/leak").status, 200);
    let left = ratoon.logged("a request has left something behind", &[("what", "descriptors".into())]);
    assert_eq!(left["route"], "GET /leak", "{left}");
}

#[test]
fn a_connection_that_was_terminated_between_two_requests_is_replaced_before_the_handler_sees_it() {
    let postgres = Postgres::start();
    let ratoon = serving(&place(postgres.address()));
    let mut backends = vec![said(ratoon.address(), "/postgres", BACKEND)];
    for _ in 0..5 {
        assert_eq!(postgres.terminate_all(), 1);
        backends.push(said(ratoon.address(), "/postgres", BACKEND));
    }
    backends.dedup();
    assert_eq!(backends.len(), 6);
}

#[test]
fn work_whose_connection_dies_under_it_is_done_again() {
    let postgres = Postgres::start();
    let ratoon = serving(&place(postgres.address()));
    let dies = "select pg_terminate_backend(pg_backend_pid())";
    assert_eq!(said(ratoon.address(), "/postgres-retried", dies), "2: again");
    assert_eq!(said(ratoon.address(), "/postgres-retried", "select 'first'"), "1: first");
    // What the server objects to is the handler's affair.
    assert_eq!(post(ratoon.address(), "/postgres-retried", "select 1/0").status, 500);
}

#[test]
fn while_the_server_is_down_requests_that_need_it_are_told_503_and_it_is_found_again_by_itself() {
    let mut postgres = Postgres::start();
    let relay = Relay::to(postgres.address());
    let ratoon = serving(&place(relay.address()));
    let address = ratoon.address();
    said(address, "/postgres", BACKEND);
    let began = Instant::now();
    postgres.stop(Stop::Fast);
    let before = relay.attempts();
    const ASKED: usize = 300;
    for _ in 0..ASKED {
        let Response { status, .. } = post(address, "/postgres", BACKEND);
        assert_eq!(status, 503);
        assert_eq!(get(address, "/ok").status, 200);
    }
    let attempts = relay.attempts() - before;
    assert!(attempts < ASKED / 2, "{attempts}");
    postgres.start_again();
    eventually("the server is found again", SOON, || (post(address, "/postgres", BACKEND).status == 200).then_some(()));
    // Said once when it begins, every ten seconds while it lasts, and when it is over.
    let told = ratoon.all_logged("cannot connect", &[("level", "WARN".into())]);
    let most = 1 + began.elapsed().as_secs() / 10;
    assert!((1..=most).contains(&(told.len() as u64)), "{told:?}");
    ratoon.logged("connected again", &[("level", "INFO".into())]);
}

#[test]
fn of_a_session_of_sqlite_nothing_is_left_to_the_next_request() {
    let ratoon = serving("");
    let address = ratoon.address();
    said(address, "/sqlite", "create table kept (x); insert into kept values (7); select 1");
    for (spoils, looks, clean) in [
        ("begin; delete from kept; select 1", "select count(*) from kept", "1"),
        ("create temp table mine (x); select 1", "select group_concat(name) from sqlite_temp_schema", "ours"),
        ("create temp view mine as select 1; select 1", "select group_concat(name) from sqlite_temp_schema", "ours"),
        (
            "attach ':memory:' as second; select 1",
            "select group_concat(name) from pragma_database_list",
            "main,temp,first",
        ),
        ("pragma foreign_keys = off; select 1", "pragma foreign_keys", "1"),
        ("pragma query_only = on; select 1", "pragma query_only", "0"),
        ("pragma cache_size = 77; select 1", "pragma cache_size", "-2000"),
    ] {
        said(address, "/sqlite", spoils);
        assert_eq!(said(address, "/sqlite", looks), clean, "{spoils}");
        assert_eq!(post(address, "/sqlite-panic", spoils).status, 500);
        assert_eq!(said(address, "/sqlite", looks), clean, "{spoils}, and a panic");
    }
}

#[test]
fn a_sqlite_connection_that_cannot_be_put_back_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kept.db");
    let ratoon = serving(&format!("sqlite = {file:?}"));
    let address = ratoon.address();
    said(address, "/sqlite", "create table kept (x); insert into kept values (7); select 1");
    // Made when the connection was.
    said(address, "/sqlite", "detach first; drop table ours; select 1");
    assert_eq!(said(address, "/sqlite", "select count(*) from pragma_database_list where name = 'first'"), "1");
    assert_eq!(said(address, "/sqlite", "select count(*) from ours"), "0");
    assert_eq!(said(address, "/sqlite", "select x from kept"), "7");
}
