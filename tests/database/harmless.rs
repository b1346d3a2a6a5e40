//! Nothing is undone where the server says that there is nothing to undo, and nowhere else.

use crate::harness::{Client, Postgres, SOON, eventually, sql};

const ONE: &str = "workers = 1";
const BACKEND: &str = "select pg_backend_pid()";

/// A statement that leaves nothing behind.
const HARMLESS: &str = "select text from notes where id = 7";

/// How often a statement is asked: more than it takes to have it prepared, in question and judged.
const OFTEN: usize = 6;

/// What leaves something behind as a prepared statement, and a question that shows whether it is there.
const SPOILS: [(&str, &str, &str); 10] = [
    ("select set_config('work_mem', '66MB', false)", "show work_mem", "4MB"),
    ("select (select set_config('work_mem', '66MB', false)) from notes where id = 7", "show work_mem", "4MB"),
    (
        "select text from notes where id = 7 and set_config('work_mem', '66MB', false) is not null",
        "show work_mem",
        "4MB",
    ),
    ("select * from spoiling", "show work_mem", "4MB"),
    ("select spoil()", "show work_mem", "4MB"),
    ("set work_mem = '66MB'", "show work_mem", "4MB"),
    ("select pg_advisory_lock(77)::text", "select count(*) from pg_locks where locktype = 'advisory'", "0"),
    ("create temp table if not exists spoilt (a int)", "select to_regclass('pg_temp.spoilt') is null", "t"),
    (
        "select nextval('numbers')::text",
        "do $$ begin perform lastval(); raise 'seen'; exception when sqlstate '55000' then end $$",
        "",
    ),
    (
        "select text from notes where id = 7 for update",
        "select count(*) from pg_locks where mode like 'RowShare%'",
        "0",
    ),
];

const SCHEMA: &str = "create table notes (id int primary key, text text); insert into notes values (7, 'seven'); \
    create sequence numbers; \
    create view spoiling as select set_config('work_mem', '66MB', false); \
    create function spoil() returns text language plpgsql as $$ begin return set_config('work_mem', '66MB', false); end $$";

/// A server that logs every statement it executes.
fn talkative() -> Postgres {
    let postgres = Postgres::with(&[("log_statement", "all")]);
    postgres.query(SCHEMA);
    postgres
}

/// How many times a statement was executed since the session was last reset.
fn since_a_reset(postgres: &Postgres, statement: &str) -> usize {
    let log = postgres.log();
    let lines = log.lines().rev().take_while(|line| !line.contains("SET SESSION AUTHORIZATION DEFAULT"));
    lines.filter(|line| line.contains("LOG:  execute ") && line.ends_with(statement)).count()
}

#[test]
fn a_statement_that_the_server_calls_harmless_is_followed_by_no_reset() {
    let postgres = talkative();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    eventually("requests in a row without a reset between them", SOON, || {
        for _ in 0..OFTEN {
            assert_eq!(client.ask("row", HARMLESS).text(), "seven");
        }
        (since_a_reset(&postgres, HARMLESS) >= OFTEN).then_some(())
    });
    assert_eq!(client.sql(BACKEND), backend, "on the same connection");
}

#[test]
fn one_that_may_leave_something_is_undone_however_often_it_is_asked() {
    let postgres = talkative();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    for (spoil, question, clean) in SPOILS {
        for round in 0..OFTEN {
            let answer = client.ask("row", spoil);
            assert_eq!(answer.status, 200, "{spoil}: {}", answer.text());
            assert_eq!(client.sql(question), clean, "{spoil}: round {round}");
            client.ask("row", HARMLESS);
        }
    }
    assert_eq!(client.sql(BACKEND), backend, "on the same connection");
}

#[test]
fn so_is_a_request_that_does_something_beside_it() {
    let postgres = talkative();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    eventually("the statement is known to be harmless", SOON, || {
        for _ in 0..OFTEN {
            client.ask("row", HARMLESS);
        }
        (since_a_reset(&postgres, HARMLESS) >= OFTEN).then_some(())
    });
    for beside in
        ["set work_mem = '66MB'", "select set_config('work_mem', '66MB', false)", "begin; set work_mem = '66MB'"]
    {
        assert_eq!(client.ask("row-beside", &format!("{beside}\n{HARMLESS}")).text(), "seven");
        assert_eq!(client.sql("show work_mem"), "4MB", "{beside}");
    }
}

#[test]
fn a_function_that_a_user_calls_parallel_safe_is_not_believed() {
    let postgres = talkative();
    postgres.query("alter function spoil() parallel safe");
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    for _ in 0..OFTEN {
        assert_eq!(client.ask("row", "select spoil()").text(), "66MB");
        assert_eq!(client.sql("show work_mem"), "4MB");
    }
}

#[test]
fn that_a_view_has_become_another_thing_is_noticed_soon() {
    let postgres = talkative();
    postgres.query("create view seen as select text from notes");
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let seen = "select text from seen";
    eventually("the view is known to be harmless", SOON, || {
        for _ in 0..OFTEN {
            assert_eq!(client.ask("row", seen).text(), "seven");
        }
        (since_a_reset(&postgres, seen) >= OFTEN).then_some(())
    });
    postgres.query("create or replace view seen as select set_config('work_mem', '66MB', false) as text from notes");
    eventually("it is no longer believed", SOON, || {
        assert_eq!(client.ask("row", seen).text(), "66MB");
        (client.sql("show work_mem") == "4MB").then_some(())
    });
    for _ in 0..OFTEN {
        assert_eq!(client.ask("row", seen).text(), "66MB");
        assert_eq!(client.sql("show work_mem"), "4MB");
    }
}

#[test]
fn what_the_server_objects_to_being_asked_is_undone_and_stays_prepared() {
    let postgres = talkative();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    for setting in ["work_mem", "search_path", "timezone", "lc_messages", "port", "fsync", "role", "jit", "datestyle"] {
        for _ in 0..OFTEN {
            // EXPLAIN has no plan for it.
            assert_eq!(client.ask("row", &format!("show {setting}")).status, 200);
            assert_eq!(client.ask("row", HARMLESS).text(), "seven");
        }
    }
    assert_eq!(client.sql("select count(*) from pg_prepared_statements where name like 'ratoon%'"), "0");
    assert_eq!(client.sql(BACKEND), backend, "on the same connection");
}

#[test]
fn where_it_is_to_be_discarded_all_it_always_is() {
    let postgres = talkative();
    let ratoon = sql::serving(&postgres, ONE, "reset = \"discard_all\"");
    let mut client = Client::connect(ratoon.address());
    for _ in 0..OFTEN {
        client.ask("row", HARMLESS);
    }
    client.sql("select 1");
    let discarded = || postgres.log().matches("DISCARD ALL").count();
    eventually("a reset after every request", SOON, || (discarded() > OFTEN).then_some(()));
}
