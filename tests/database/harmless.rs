//! Nothing is undone where the server says that there is nothing to undo, and nowhere else.

use std::time::{Duration, Instant};

use crate::harness::{Client, Postgres, Ratoon, SOON, eventually, sql};

const ONE: &str = "workers = 1";
const BACKEND: &str = "select pg_backend_pid()";

/// A statement that leaves nothing behind.
const HARMLESS: &str = "select text from notes where id = 7";

/// How often a statement is executed: more than it takes to have it prepared, asked about and judged.
const OFTEN: usize = 80;
/// After so long it is not one that the server is asked about: a session asks four times a second at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// What leaves something behind as a prepared statement, and a question that shows whether it is there; in a database where
/// nothing but PostgreSQL's own could run, so that it is the statement that is judged.
const SPOILS: [(&str, &str, &str); 13] = [
    ("select set_config('work_mem', '66MB', false)", "show work_mem", "4MB"),
    ("select (select set_config('work_mem', '66MB', false)) from notes where id = 7", "show work_mem", "4MB"),
    (
        "select text from notes where id = 7 and set_config('work_mem', '66MB', false) is not null",
        "show work_mem",
        "4MB",
    ),
    ("select text from notes where id = 7 order by set_config('work_mem', '66MB', false)", "show work_mem", "4MB"),
    ("select text from notes limit length(set_config('work_mem', '66MB', false))", "show work_mem", "4MB"),
    (
        "select text from notes tablesample system (100) repeatable (length(pg_advisory_lock(77)::text))",
        "select count(*) from pg_locks where locktype = 'advisory'",
        "0",
    ),
    ("select * from spoiling", "show work_mem", "4MB"),
    ("select text from guarded", "show work_mem", "4MB"),
    (
        "with spoilt as (insert into notes values (8, set_config('work_mem', '66MB', false)) returning text) select text from spoilt",
        "show work_mem",
        "4MB",
    ),
    ("set work_mem = '66MB'", "show work_mem", "4MB"),
    ("select pg_advisory_lock(77)::text", "select count(*) from pg_locks where locktype = 'advisory'", "0"),
    ("create temp table if not exists spoilt (a int)", "select to_regclass('pg_temp.spoilt') is null", "t"),
    (
        "select nextval('numbers')::text",
        "do $$ begin perform lastval(); raise 'seen'; exception when sqlstate '55000' then end $$",
        "",
    ),
];

const SCHEMA: &str = "create table notes (id int, text text); insert into notes values (7, 'seven'); \
    create sequence numbers; \
    create view spoiling as select set_config('work_mem', '66MB', false); \
    create view guarded as select text from notes where set_config('work_mem', '66MB', false) is not null; \
    create function touched() returns trigger language plpgsql as $$ begin return new; end $$";

/// What makes trouble as soon as it is run.
const SPOIL: &str = "create function spoil() returns text language plpgsql as \
    $$ begin return set_config('work_mem', '66MB', false); end $$; ";

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

/// Executes it until it is followed by no reset any more.
#[track_caller]
fn trusted(client: &mut Client, postgres: &Postgres, statement: &str) {
    eventually("requests in a row without a reset between them", SOON, || {
        for _ in 0..OFTEN {
            assert_eq!(client.ask("row", statement).text(), "seven");
        }
        (since_a_reset(postgres, statement) > 1).then_some(())
    });
}

/// Executes it often, and each time looks whether it shows: also when the server has been asked about it, if it can be.
#[track_caller]
fn undone(client: &mut Client, postgres: &Postgres, spoil: &str, question: &str, clean: &str) {
    let asked = || postgres.log().matches("EXPLAIN (COSTS OFF) EXECUTE").count();
    let (before, patience) = (asked(), Instant::now() + PATIENCE);
    let mut rounds = 0;
    loop {
        let is_asked = asked() > before || Instant::now() >= patience;
        for _ in 0..OFTEN {
            let answer = client.ask("row", spoil);
            assert_eq!(answer.status, 200, "{spoil}: {}", answer.text());
            assert_eq!(client.sql(question), clean, "{spoil}: after {rounds} rounds");
            rounds += 1;
        }
        if is_asked {
            return;
        }
    }
}

fn one() -> (Postgres, Ratoon, Client) {
    let postgres = talkative();
    let ratoon = sql::serving(&postgres, ONE, "");
    let client = Client::connect(ratoon.address());
    (postgres, ratoon, client)
}

#[test]
fn a_statement_that_the_server_calls_harmless_is_followed_by_no_reset() {
    let (postgres, _ratoon, mut client) = one();
    let backend = client.sql(BACKEND);
    trusted(&mut client, &postgres, HARMLESS);
    assert_eq!(client.sql(BACKEND), backend, "on the same connection");
}

#[test]
fn one_that_may_leave_something_is_undone_however_often_it_is_executed() {
    let (postgres, _ratoon, mut client) = one();
    let backend = client.sql(BACKEND);
    for (spoil, question, clean) in SPOILS {
        undone(&mut client, &postgres, spoil, question, clean);
    }
    assert_eq!(client.sql(BACKEND), backend, "on the same connection");
}

#[test]
fn what_makes_a_table_of_its_rows_is_undone() {
    let (_postgres, _ratoon, mut client) = one();
    for _ in 0..OFTEN {
        for spoil in ["select * into temp spoilt from notes", "create temp table spoilt as select * from notes"] {
            assert_eq!(client.ask("row", spoil).status, 200, "there is none of that name");
        }
    }
}

#[test]
fn so_is_a_request_that_does_something_beside_it() {
    let (postgres, _ratoon, mut client) = one();
    trusted(&mut client, &postgres, HARMLESS);
    for beside in
        ["set work_mem = '66MB'", "select set_config('work_mem', '66MB', false)", "begin; set work_mem = '66MB'"]
    {
        assert_eq!(client.ask("row-beside", &format!("{beside}\n{HARMLESS}")).text(), "seven");
        assert_eq!(client.sql("show work_mem"), "4MB", "{beside}");
    }
}

#[test]
fn a_statement_that_fails_is_undone_even_if_it_is_harmless() {
    let (postgres, _ratoon, mut client) = one();
    let division = "select text from notes where 7 / id = 1";
    trusted(&mut client, &postgres, division);
    postgres.query("insert into notes values (0, 'none')");
    let resets = || postgres.log().matches("SET SESSION AUTHORIZATION DEFAULT").count();
    let before = resets();
    assert_eq!(client.ask("row", division).status, 500);
    eventually("a reset", SOON, || (resets() > before).then_some(()));
}

/// Where something could run that PostgreSQL does not look at, nothing is left out.
#[track_caller]
fn not_believed(made: &str, statement: &str, question: &str, clean: &str) {
    let (postgres, _ratoon, mut client) = one();
    let backend = client.sql(BACKEND);
    postgres.query(made);
    undone(&mut client, &postgres, statement, question, clean);
    for _ in 0..OFTEN {
        client.ask("row", HARMLESS);
    }
    assert!(since_a_reset(&postgres, HARMLESS) <= 1, "nor is anything else");
    assert_eq!(client.sql(BACKEND), backend, "on the same connection");
}

#[test]
fn functions_of_users_are_not_believed_whatever_they_are_called() {
    not_believed(&format!("{SPOIL} alter function spoil() parallel safe"), "select spoil()", "show work_mem", "4MB");
}

#[test]
fn nor_where_an_extension_brings_some() {
    not_believed("create extension pg_trgm", "select show_limit()::text", "show work_mem", "4MB");
}

#[test]
fn the_negator_that_the_planner_puts_in_place_of_an_operator_is_not_believed() {
    not_believed(
        "create operator === (function = int4eq, leftarg = int, rightarg = int, negator = !==); \
         create operator !== (function = pg_try_advisory_lock, leftarg = int, rightarg = int, negator = ===)",
        "select text from notes where not (id === 7)",
        "select count(*) from pg_locks where locktype = 'advisory'",
        "0",
    );
}

#[test]
fn what_checks_a_domain_is_not_believed() {
    not_believed(
        "create domain good as text check (set_config('work_mem', '66MB', false) is not null); \
         create type goods as (a good)",
        "select to_jsonb(jsonb_populate_record(null::goods, '{\"a\": \"b\"}'))::text",
        "show work_mem",
        "4MB",
    );
}

#[test]
fn nor_is_what_somebody_has_checked_a_domain_of_postgresql_for() {
    not_believed(
        "alter domain information_schema.cardinal_number \
         add constraint spoilt check (set_config('work_mem', '66MB', false) is not null); \
         create type goods as (a information_schema.cardinal_number)",
        "select to_jsonb(jsonb_populate_record(null::goods, '{\"a\": 5}'))::text",
        "show work_mem",
        "4MB",
    );
}

#[test]
fn what_converts_a_type_to_json_is_not_believed() {
    not_believed(
        &format!(
            "{SPOIL} create type thing as enum ('a'); create table things (a thing); insert into things values ('a'); \
             create function to_json(thing) returns json language plpgsql as \
             $$ begin perform spoil(); return '1'; end $$; create cast (thing as json) with function to_json(thing)"
        ),
        "select row_to_json(things)::text from things",
        "show work_mem",
        "4MB",
    );
}

#[test]
fn what_compares_a_type_is_not_believed() {
    not_believed(
        &format!(
            "{SPOIL} create type pair as (a int, b int); create table pairs (a pair); insert into pairs values ((1, 2)); \
             create function order_of(pair, pair) returns int immutable language plpgsql as \
             $$ begin perform spoil(); return 0; end $$; \
             create function never(pair, pair) returns bool immutable language sql as 'select false'; \
             do $$ begin for each in 1..5 loop execute format('create operator %s (leftarg = pair, rightarg = pair, \
             function = never)', repeat('<', each + 2)); end loop; end $$; \
             create operator class by_spoil default for type pair using btree as operator 1 <<<, operator 2 <<<<, \
             operator 3 <<<<<, operator 4 <<<<<<, operator 5 <<<<<<<, function 1 order_of(pair, pair)"
        ),
        "select (array[a] < array[a])::text from pairs",
        "show work_mem",
        "4MB",
    );
}

#[test]
fn that_a_view_has_become_another_thing_is_noticed_soon() {
    let (postgres, _ratoon, mut client) = one();
    postgres.query("create view seen as select text from notes");
    let seen = "select text from seen";
    trusted(&mut client, &postgres, seen);
    postgres.query("create or replace view seen as select set_config('work_mem', '66MB', false) as text from notes");
    eventually("it is no longer believed", SOON, || {
        assert_eq!(client.ask("row", seen).text(), "66MB");
        (client.sql("show work_mem") == "4MB").then_some(())
    });
    undone(&mut client, &postgres, seen, "show work_mem", "4MB");
}

#[test]
fn what_the_server_objects_to_being_asked_is_undone_and_stays_prepared() {
    let (postgres, _ratoon, mut client) = one();
    let backend = client.sql(BACKEND);
    for setting in ["work_mem", "search_path", "timezone", "role"] {
        for _ in 0..OFTEN {
            // EXPLAIN has no plan for it.
            assert_eq!(client.ask("row", &format!("show {setting}")).status, 200);
        }
    }
    trusted(&mut client, &postgres, HARMLESS);
    assert_eq!(client.sql(BACKEND), backend, "on the same connection");
}

/// A plan that was made in order to answer does not stay.
#[test]
fn the_question_leaves_neither_its_plan_nor_its_settings_behind() {
    let (postgres, _ratoon, mut client) = one();
    trusted(&mut client, &postgres, HARMLESS);
    let plan = client.sql("select count(*) from pg_prepared_statements where from_sql");
    assert_eq!(plan, "0");
    for (setting, usual) in [
        ("plan_cache_mode", "auto"),
        ("lock_timeout", "0"),
        ("parallel_setup_cost", "1000"),
        ("parallel_tuple_cost", "0.1"),
        ("force_parallel_mode", "off"),
    ] {
        assert_eq!(client.sql(&format!("show {setting}")), usual, "{setting}");
    }
}

#[test]
fn where_all_is_to_be_discarded_it_always_is() {
    let postgres = talkative();
    let ratoon = sql::serving(&postgres, ONE, "reset = \"discard_all\"");
    let mut client = Client::connect(ratoon.address());
    for _ in 0..2 * OFTEN {
        client.ask("row", HARMLESS);
    }
    client.sql("select 1");
    let discarded = || postgres.log().matches("DISCARD ALL").count();
    eventually("a reset after every request", SOON, || (discarded() > 2 * OFTEN).then_some(()));
}
