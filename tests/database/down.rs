//! While the database is away: whoever needs it is told so at once, and whoever does not is served.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use super::fresh::one_for_each_worker;
use crate::harness::certificates::Authority;
use crate::harness::{Client, Postgres, Ratoon, Relay, SOON, Stop, eventually, get, sql};

const BACKEND: &str = "select pg_backend_pid()";

#[test]
fn a_request_that_needs_no_database_is_served_and_one_that_does_is_told_503_with_retry_after() {
    let mut postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, "workers = 2", "");
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.sql("select 1"), "1");
    postgres.stop(Stop::Fast);
    for _ in 0..20 {
        let answer = client.ask("sql", "select 1");
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(client.get("/ok").status, 200);
    }
    postgres.start_again();
    eventually("the database is reached again", SOON, || (client.ask("sql", "select 1").status == 200).then_some(()));
}

/// As some that are not PostgreSQL, or a role that may not ask.
#[test]
fn a_server_that_does_not_say_how_many_connections_it_takes_is_none_the_worse_for_it() {
    let postgres = Postgres::start();
    postgres.add_role("shop", "right");
    postgres.query("revoke execute on function pg_catalog.current_setting(text) from public");
    let url = format!("postgres://shop:right@{}/postgres?sslmode=disable", postgres.address());
    let ratoon = Ratoon::serving(&sql::pool(&url, "workers = 1", ""));
    assert_eq!(Client::connect(ratoon.address()).sql("select current_user"), "shop");
    assert!(postgres.log().contains("permission denied for function current_setting"));
    assert_eq!(ratoon.status_of("web")["database"]["connects"], 1);
}

/// A worker that has failed to connect lets the server alone for up to a second, but not its siblings.
#[test]
fn a_worker_that_may_not_try_to_connect_just_now_goes_on_with_the_connection_of_another() {
    let postgres = Postgres::start();
    let relay = Relay::to(postgres.address());
    let pool = sql::pool(&postgres.tcp_url_at(relay.address()), "workers = 2", "connections = 1");
    let ratoon = Ratoon::serving(&pool);
    let mut clients = one_for_each_worker(&ratoon, 2);
    relay.refuse();
    eventually("it has failed several times, and rests for long", SOON, || {
        assert_eq!(clients[0].ask("sql", BACKEND).status, 503);
        (ratoon.status_of("web")["database"]["failures"].as_u64() >= Some(5)).then_some(())
    });
    relay.admit();
    let backend = clients[1].sql(BACKEND);
    assert_eq!(clients[0].sql(BACKEND), backend);
    assert_eq!(ratoon.status_of("web")["database"]["connects"], 1);
    // For the server has let it in: what it has lost is replaced at once.
    assert_eq!(postgres.terminate_all(), 1);
    assert_ne!(clients[0].sql(BACKEND), backend);
}

/// Of a session with TLS another worker gets nothing but the leave to connect.
#[test]
fn a_worker_that_may_not_try_to_connect_just_now_has_nobody_end_a_session_with_tls() {
    let postgres = Postgres::start();
    postgres.speak_tls(&Authority::new().vouch_for("IP:127.0.0.1"));
    postgres.add_role("shop", "right");
    let url = format!("postgres://shop:right@{}/postgres?sslmode=require", postgres.address());
    let ratoon = Ratoon::serving(&sql::pool(&url, "workers = 2", "connections = 1"));
    let mut clients = one_for_each_worker(&ratoon, 2);
    assert_eq!(clients[0].ask("sql", BACKEND).status, 200);
    eventually("one is refused while the other keeps its session", SOON, || {
        postgres.query("alter role shop nologin");
        postgres.terminate_all();
        for _ in 0..50 {
            assert_eq!(clients[0].ask("sql", BACKEND).status, 503);
        }
        postgres.query("alter role shop login");
        let answer = clients[1].ask("sql", BACKEND);
        postgres.query("alter role shop nologin");
        let refused = clients[0].ask("sql", BACKEND).status == 503;
        let again = clients[1].ask("sql", BACKEND);
        (refused && answer.status == 200 && again.status == 200 && again.text() == answer.text()).then_some(())
    });
}

/// Ten seconds without a server under load, as an operator would see them.
#[test]
fn ten_seconds_without_a_server_cost_only_those_who_ask_for_it_and_it_is_found_again_by_itself() {
    let postgres = Postgres::start();
    // Counts attempts, also those that find nobody.
    let relay = Relay::to(postgres.address());
    let lines = "workers = 4";
    let ratoon = Ratoon::serving(&sql::pool(&postgres.tcp_url_at(relay.address()), lines, "connect_timeout = \"2s\""));
    let address = ratoon.address();
    let (ends, is_away) = (AtomicBool::new(false), AtomicBool::new(false));
    let (plain, refused, interrupted, slowest) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut postgres = postgres;
    let before = relay.attempts();
    let (attempts, took) = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ends.load(SeqCst) {
                    assert_eq!(get(address, "/ok").status, 200);
                    plain.fetch_add(1, SeqCst);
                }
            });
            scope.spawn(|| {
                let mut client = Client::connect(address);
                while !ends.load(SeqCst) {
                    let (was_away, began) = (is_away.load(SeqCst), Instant::now());
                    let answer = client.ask("sql", "select 1");
                    if was_away && answer.status != 200 {
                        match answer.status {
                            503 => refused.fetch_add(1, SeqCst),
                            // Its statement was under way when the server went.
                            500 => interrupted.fetch_add(1, SeqCst),
                            status => panic!("{status}: {}", answer.text()),
                        };
                        slowest.fetch_max(began.elapsed().as_millis() as usize, SeqCst);
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let settled = eventually("load", SOON, || (plain.load(SeqCst) > 100).then(|| relay.attempts()));
        is_away.store(true, SeqCst);
        let began = Instant::now();
        postgres.stop(Stop::Fast);
        thread::sleep(Duration::from_secs(10));
        let attempts = relay.attempts() - settled;
        is_away.store(false, SeqCst);
        postgres.start_again();
        let returned = Instant::now();
        let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(address)).collect();
        for client in &mut clients {
            eventually("the database is reached again", Duration::from_secs(2), || {
                (client.ask("sql", "select 1").status == 200).then_some(())
            });
        }
        assert!(returned.elapsed() < Duration::from_secs(4), "{:?}", returned.elapsed());
        let took = began.elapsed();
        ends.store(true, SeqCst);
        (attempts, took)
    });
    assert!(before <= 8, "{before}");
    assert!(interrupted.load(SeqCst) <= 4, "one for each client: {interrupted:?}");
    assert!(refused.load(SeqCst) > 100, "{refused:?}");
    assert!(slowest.load(SeqCst) < 2500, "told after {slowest:?} ms");
    // Four workers, each about once a second once it knows, and a few times before.
    assert!((4..=100).contains(&attempts), "{attempts}");
    let told = ratoon.all_logged("cannot connect to the database", &[("level", "WARN".into())]);
    assert!((1..=1 + took.as_secs() / 10).contains(&(told.len() as u64)), "{told:?}");
    let again = ratoon.logged("the database is reached again", &[]);
    assert!(again["attempts"].as_u64() > Some(4) && again["away"].as_str() > Some("1"), "{again}");
    assert_eq!(ratoon.all_logged("the database is reached again", &[]).len(), 1);
}

#[test]
fn the_log_says_it_when_the_pools_may_open_more_connections_than_the_server_takes() {
    let postgres = Postgres::with(&[("max_connections", "12"), ("superuser_reserved_connections", "3")]);
    let said = "the pools may open more connections than the database takes: lower `connections`, or raise the server's max_connections";
    let too_many = sql::serving(&postgres, "workers = 2", "connections = 10");
    let mut client = Client::connect(too_many.address());
    for _ in 0..3 {
        assert_eq!(client.sql("select 1"), "1");
    }
    too_many.logged(said, &[("connections", 10.into()), ("room", 9.into())]);
    assert_eq!(too_many.all_logged(said, &[]).len(), 1);
    let few = sql::serving(&postgres, "workers = 2", "connections = 9");
    assert_eq!(Client::connect(few.address()).sql("select 1"), "1");
    assert_eq!(few.all_logged(said, &[]).len(), 0);
}
