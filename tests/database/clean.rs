//! Nothing of a request's session is seen by the next request on that connection.

use crate::harness::{Client, Postgres, SOON, eventually, sql};

/// What a request can leave in its session, and a question that shows whether it is there.
const SPOILS: [(&str, &str, &str); 12] = [
    ("set work_mem = '77MB'", "show work_mem", "4MB"),
    ("select set_config('work_mem', '66MB', false)", "show work_mem", "4MB"),
    ("set search_path = pg_catalog", "show search_path", "\"$user\", public"),
    ("set role pg_monitor", "select current_user", "ratoon"),
    ("set session authorization pg_monitor", "select session_user, current_user", "ratoon|ratoon"),
    ("create temp table spoilt (a int)", "select count(*) from pg_class where relnamespace = pg_my_temp_schema()", "0"),
    (
        "select pg_advisory_lock(77)",
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
        "0",
    ),
    ("listen spoilt", "select count(*) from pg_listening_channels()", "0"),
    ("declare spoilt cursor with hold for select 1", "select count(*) from pg_cursors where name = 'spoilt'", "0"),
    ("begin; select txid_current()", "select txid_current_if_assigned() is null", "t"),
    ("begin; select 1/0", "select 1", "1"),
    ("prepare spoilt as select 1", "select count(*) from pg_prepared_statements where name = 'spoilt'", "0"),
];

/// One worker, of which the panics are forgiven, so that it stays the same one on the same connection.
const ONE: &str = "workers = 1\npanics = \"continue\"\nrequest_timeout = \"1s\"";
const BACKEND: &str = "select pg_backend_pid()";

#[test]
fn what_a_request_leaves_in_its_session_is_gone_for_the_next_one_on_the_same_connection() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    for (spoil, question, clean) in SPOILS {
        client.ask("sql", spoil);
        assert_eq!(client.sql(question), clean, "{spoil}");
        assert_eq!(client.sql(BACKEND), backend, "{spoil}: on the same connection");
    }
}

#[test]
fn nor_do_statements_that_were_prepared_under_its_settings_keep_them_in_their_constants() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    for (setting, question) in [
        ("set timezone = 'Asia/Tokyo'", "select extract(epoch from timestamptz '2020-01-01 00:00')::text"),
        ("set datestyle = 'DMY'", "select extract(month from date '01/02/2020')::text"),
        (
            "begin; set local intervalstyle = 'sql_standard'",
            "select extract(day from interval '-1 1:00')::text || extract(hour from interval '-1 1:00')",
        ),
    ] {
        let usual = client.sql(question);
        for _ in 0..3 {
            let answer = client.ask("row-beside", &format!("{setting}\n{question}"));
            assert_ne!(answer.text(), usual, "{setting} makes a difference");
        }
        assert_eq!(client.ask("row", question).text(), usual, "{setting}");
    }
    assert_eq!(client.sql(BACKEND), backend, "on the same connection");
}

#[test]
fn nor_does_a_seed_say_what_chance_gives_the_next_request() {
    let postgres = Postgres::start();
    for database in ["", "prepared = false"] {
        let ratoon = sql::serving(&postgres, ONE, database);
        let mut client = Client::connect(ratoon.address());
        let backend = client.sql(BACKEND);
        let mut drawn_after_a_seed = || {
            client.sql("select setseed(0.5)");
            client.sql("select random()")
        };
        assert_ne!(drawn_after_a_seed(), drawn_after_a_seed(), "{database}");
        assert_eq!(client.sql(BACKEND), backend, "on the same connection");
    }
}

#[test]
fn nor_is_it_there_when_a_function_has_done_it() {
    let postgres = Postgres::start();
    postgres.query("create sequence numbers");
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    client
        .sql("do $$ begin execute 'prepare spoilt as select 1'; perform set_config('work_mem', '5MB', false); end $$");
    assert_eq!(client.sql("select count(*) from pg_prepared_statements where name = 'spoilt'"), "0");
    assert_eq!(client.sql("show work_mem"), "4MB");
    client.sql("select nextval('numbers')");
    let answer = client.ask("sql", "select lastval()");
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(client.sql(BACKEND), backend, "on the same connection");
}

#[test]
fn nor_after_a_panic_in_a_transaction() {
    let postgres = Postgres::start();
    postgres.query("create table kept (a int)");
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    for (spoil, question, clean) in SPOILS.into_iter().filter(|(spoil, ..)| !spoil.starts_with("begin")) {
        let answer = client.ask("panic-in-transaction", &format!("insert into kept values (1); {spoil}"));
        assert_eq!(answer.status, 500, "{spoil}");
        assert_eq!(client.sql(question), clean, "{spoil}");
    }
    assert_eq!(client.sql("select count(*) from kept"), "0");
}

#[test]
fn nor_after_a_timeout_whose_statement_the_server_is_made_to_give_up() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    for (spoil, question, clean) in SPOILS {
        let answer = client.ask("sql", &format!("{spoil}; select pg_sleep(30)"));
        let is_cut_short = spoil.ends_with("1/0");
        assert_eq!(answer.status, if is_cut_short { 500 } else { 504 }, "{spoil}: {}", answer.text());
        assert_eq!(client.sql(question), clean, "{spoil}");
    }
    assert_ne!(client.sql(BACKEND), backend, "a connection on which a statement was given up is not used again");
    let sleeping = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()";
    eventually("the statements are cancelled", SOON, || (postgres.query(sleeping) == "0").then_some(()));
}

#[test]
fn an_unfinished_copy_ends_with_its_connection() {
    let postgres = Postgres::start();
    postgres.query("create table lines (a int)");
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    assert_eq!(client.ask("copy-in-unfinished", "copy lines from stdin\n1\n2\n").text(), "left");
    assert_eq!(client.sql("select count(*) from lines"), "0");
    assert_ne!(client.sql(BACKEND), backend);
}

#[test]
fn rows_that_a_handler_does_not_take_are_not_the_next_ones() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    for _ in 0..3 {
        let rows = "select a::text from generate_series(1, 100000) a";
        assert_eq!(client.ask("first-row", rows).text(), "1");
        assert_eq!(client.sql("select 'mine'"), "mine");
    }
}

#[test]
fn init_sql_holds_for_every_request_whatever_the_one_before_it_did() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "init_sql = \"set work_mem = '9MB'; set statement_timeout = '7s'\"");
    let mut client = Client::connect(ratoon.address());
    for _ in 0..2 {
        assert_eq!(client.sql("show work_mem"), "9MB");
        assert_eq!(client.sql("set work_mem = '77MB'; show statement_timeout"), "7s");
    }
    assert_eq!(client.sql("show work_mem"), "9MB");
}

#[test]
fn what_the_library_has_prepared_stays_prepared() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let question = "select count(*)::text from pg_prepared_statements where statement like '%prepared: me%'";
    let mine = "select 'prepared: me'::text";
    assert_eq!(client.ask("row", mine).text(), "prepared: me");
    assert_eq!(client.ask("row", mine).text(), "prepared: me");
    // The question is one of them, for its own text has the words in it.
    assert_eq!(client.ask("row", question).text(), "2");
}

#[test]
fn discard_all_forgets_that_too_and_statements_are_prepared_again() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "reset = \"discard_all\"");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    for (spoil, question, clean) in SPOILS {
        client.ask("sql", spoil);
        assert_eq!(client.sql(question), clean, "{spoil}");
    }
    for _ in 0..3 {
        assert_eq!(client.ask("row?a", "select $1::text").text(), "a");
        assert_eq!(client.sql("select count(*) from pg_prepared_statements"), "0");
    }
    assert_eq!(client.sql(BACKEND), backend);
}

#[test]
fn without_a_reset_only_an_open_transaction_is_undone() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "reset = \"off\"");
    let mut client = Client::connect(ratoon.address());
    client.sql("set work_mem = '77MB'");
    client.sql("begin; set statement_timeout = '7s'");
    assert_eq!(client.sql("show work_mem"), "77MB");
    assert_eq!(client.sql("show statement_timeout"), "0");
}

#[test]
fn a_session_that_cannot_be_reset_is_not_used_again() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    client.sql("select 1");
    // The statement with which the reset asks what is left goes with all the others.
    client.sql("deallocate all");
    assert_ne!(client.sql(BACKEND), backend);
    let database = &ratoon.status_of("web")["database"];
    assert_eq!(database["reconnects"]["reset_failed"], 1, "{database}");
}

#[test]
fn a_statement_that_is_out_of_date_after_a_migration_is_prepared_again() {
    let postgres = Postgres::start();
    postgres.query("create table wide (a text); insert into wide values ('one')");
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    for _ in 0..2 {
        assert_eq!(client.ask("row", "select * from wide").text(), "one");
    }
    postgres.query("alter table wide add column b text default 'two'");
    assert_eq!(client.ask("row", "select * from wide").text(), "one|two");
}

#[test]
fn results_that_a_handler_forgets_end_with_their_connection() {
    let postgres = Postgres::start();
    postgres.query("create table big as select repeat('x', 200) as a from generate_series(1, 300000)");
    let ratoon = sql::serving(&postgres, "workers = 2", "connections = 1\nconnect_timeout = \"10s\"");
    let mut clients = super::fresh::one_for_each_worker(&ratoon, 2);
    for (word, text) in [("rows-forgotten", "select a from big"), ("copy-out-forgotten", "copy big to stdout")] {
        for round in 0..4 {
            let backend = clients[round % 2].sql(BACKEND);
            assert_eq!(clients[round % 2].ask(word, text).text(), "forgotten");
            // On the same worker, and on one that has to wait for the connection.
            assert_ne!(clients[(round / 2) % 2].sql(BACKEND), backend, "{word}");
        }
    }
}

#[test]
fn a_request_ends_at_its_deadline_also_while_rows_and_notices_never_end() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "");
    let mut client = Client::connect(ratoon.address());
    let notices = "do $$ begin loop raise notice 'again'; end loop; end $$";
    for (word, text) in [("rows", "select 1 from generate_series(1, 1000000000)"), ("sql", notices)] {
        let answer = client.ask(word, text);
        assert_eq!(answer.status, 504, "{text}: {}", answer.text());
        assert_eq!(client.sql("select 'mine'"), "mine", "{text}");
        assert_eq!(ratoon.all_logged("the handler has returned, too late: its client was told 504", &[]).len(), 0);
    }
}

/// The server may answer a COPY that it refuses late twice, and the engine counts on one answer.
#[test]
fn a_copy_that_the_server_refuses_gives_nobody_an_answer_that_is_not_theirs() {
    let postgres = Postgres::start();
    postgres.query("create materialized view mv as select 1 as a");
    let ratoon = sql::serving(&postgres, "workers = 4", "connections = 1\nconnect_timeout = \"10s\"");
    let address = ratoon.address();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::connect(address);
            for _ in 0..200 {
                let said = client.ask("copy-in-failing", "copy mv from stdin").text();
                assert!(said.contains("cannot copy to materialized view") || said == "begun", "{said}");
            }
        });
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                for _ in 0..300 {
                    assert_eq!(client.sql("select 'mine'"), "mine");
                }
            });
        }
    });
}

#[test]
fn without_names_on_the_server_what_sql_has_prepared_is_gone_as_well() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "prepared = false");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    for (spoil, question, clean) in SPOILS {
        client.ask("sql", spoil);
        assert_eq!(client.sql(question), clean, "{spoil}");
    }
    assert_eq!(client.sql(BACKEND), backend);
}

#[test]
fn the_server_ends_a_statement_at_statement_timeout_whatever_the_request_before_has_set() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, "workers = 1\nrequest_timeout = \"60s\"", "statement_timeout = \"300ms\"");
    let mut client = Client::connect(ratoon.address());
    let backend = client.sql(BACKEND);
    for _ in 0..2 {
        assert_eq!(client.sql("show statement_timeout"), "300ms");
        let answer = client.ask("sql", "select pg_sleep(600)");
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert_eq!(client.sql("set statement_timeout = 0; select 'for this request only'"), "for this request only");
    }
    assert_eq!(client.sql(BACKEND), backend, "the server has ended the statement by itself: nothing is in doubt");
}

#[test]
fn a_type_of_ones_own_is_known_also_after_the_server_has_forgotten_all_names() {
    let postgres = Postgres::start();
    for kind in ["mood", "tone", "hue"] {
        postgres.query(&format!("create type {kind} as enum ('low')"));
    }
    for (database, spoil) in [
        ("", "set timezone = 'Asia/Tokyo'"),
        ("", "prepare spoilt as select 1"),
        ("reset = \"discard_all\"", "select 1"),
        ("prepared = false", "select 1"),
    ] {
        let ratoon = sql::serving(&postgres, ONE, database);
        let mut client = Client::connect(ratoon.address());
        let backend = client.sql(BACKEND);
        for kind in ["mood", "tone", "hue"] {
            assert_eq!(
                client.ask("executed", &format!("select 'low'::{kind}")).text(),
                "1",
                "{kind} {database} {spoil}"
            );
            client.sql(spoil);
        }
        assert_eq!(client.sql(BACKEND), backend, "on the same connection");
    }
}

#[test]
fn without_names_a_statement_is_given_its_parameters_and_no_more() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "prepared = false");
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.ask("row?a", "select $1::text").text(), "a");
    assert_eq!(client.ask("row?a&b", "select $1::text || 'c'").status, 500);
    ratoon.logged("the handler failed", &[("error", "expected 1 parameters but got 2".into())]);
}

#[test]
fn without_names_a_copy_needs_a_transaction() {
    let postgres = Postgres::start();
    postgres.query("create table lines (a int)");
    let ratoon = sql::serving(&postgres, ONE, "prepared = false");
    let mut client = Client::connect(ratoon.address());
    let refused = "with `prepared = false` a COPY needs a transaction around it";
    assert_eq!(client.ask("copy-in-failing", "copy lines from stdin").text(), refused);
    assert_eq!(client.ask("copy-out", "copy lines to stdout").status, 500);
    ratoon.logged("the handler failed", &[("error", refused.into())]);
}

#[test]
fn an_init_sql_that_the_server_refuses_is_said_by_its_code_and_not_by_its_words() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, ONE, "init_sql = \"select hidden_word()\"");
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.ask("sql", BACKEND).status, 503);
    let why = ratoon.logged("cannot connect to the database", &[])["why"].to_string();
    assert!(why.contains("init_sql") && why.contains("42883"), "{why}");
    assert!(!ratoon.text().contains("hidden_word"), "{}", ratoon.text());
}
