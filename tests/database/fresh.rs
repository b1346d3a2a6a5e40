//! A connection that a handler is given is open, whatever happened to it since the last request.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Client, Cut, Firewall, Postgres, Ratoon, Relay, SOON, Stop, eventually, process, sql};

const BACKEND: &str = "select pg_backend_pid()";

/// One connection to each of the workers of a pool that has these.
#[track_caller]
pub fn one_for_each_worker(ratoon: &Ratoon, workers: usize) -> Vec<Client> {
    // Whoever has one takes no other while it is stopped.
    let (mut stopped, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..workers {
        let mut client = Client::connect(ratoon.address());
        let worker = Pid::from_raw(client.get("/ok").text().parse().unwrap());
        kill(worker, Signal::SIGSTOP).unwrap();
        eventually("it is stopped", SOON, || process::is_stopped(worker).then_some(()));
        stopped.push(worker);
        clients.push(client);
    }
    stopped.iter().for_each(|worker| kill(*worker, Signal::SIGCONT).unwrap());
    clients
}

#[test]
fn nothing_is_connected_until_a_handler_asks() {
    let postgres = Postgres::with(&[("log_connections", "on")]);
    let ratoon = sql::serving(&postgres, "workers = 2", "");
    let before = postgres.attempts();
    let mut client = Client::connect(ratoon.address());
    assert_eq!(client.get("/ok").status, 200);
    assert_eq!(postgres.attempts(), before);
    assert_eq!(client.sql("select 1"), "1");
    assert_eq!(postgres.attempts(), before + 1);
}

#[test]
fn a_thousand_requests_see_no_error_while_every_connection_is_terminated_between_them() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, "workers = 10", "connections = 10");
    let mut clients = one_for_each_worker(&ratoon, 10);
    let mut terminated = 0;
    for round in 0..100 {
        for client in &mut clients {
            assert_eq!(client.sql("select 1"), "1", "round {round}");
        }
        terminated += postgres.terminate_all();
    }
    assert!(terminated >= 900, "{terminated}");
    let database = &ratoon.status_of("web")["database"];
    assert!(database["reconnects"]["closed"].as_u64().unwrap() >= 900, "{database}");
}

#[test]
fn a_server_that_was_restarted_between_two_requests_costs_none_of_them() {
    for how in [Stop::Fast, Stop::Immediate] {
        let mut postgres = Postgres::start();
        let ratoon = sql::serving(&postgres, "workers = 3", "");
        let mut clients = one_for_each_worker(&ratoon, 3);
        for _ in 0..3 {
            for client in &mut clients {
                assert_eq!(client.sql("select 1"), "1");
            }
            postgres.stop(how);
            postgres.start_again();
        }
        for client in &mut clients {
            assert_eq!(client.sql("select 1"), "1");
        }
    }
}

#[test]
fn a_failover_behind_a_proxy_costs_no_request() {
    let servers = [Postgres::start(), Postgres::start()];
    for (name, server) in ["one", "other"].iter().zip(&servers) {
        server.query(&format!("create table me as select '{name}'::text as name"));
    }
    let relay = Relay::to(servers[0].address());
    let ratoon = Ratoon::serving(&sql::pool(&servers[0].tcp_url_at(relay.address()), "workers = 3", "connections = 3"));
    let mut clients = one_for_each_worker(&ratoon, 3);
    for (round, how) in [Cut::Finish, Cut::Reset, Cut::Finish, Cut::Reset].into_iter().enumerate() {
        for client in &mut clients {
            assert_eq!(client.sql("select name from me"), ["one", "other"][round % 2]);
        }
        relay.point_at(servers[(round + 1) % 2].address());
        relay.cut(how);
    }
}

#[test]
fn a_connection_terminated_during_a_statement_fails_that_request_and_not_the_next() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, "workers = 1", "");
    let mut client = Client::connect(ratoon.address());
    let mut other = Client::connect(ratoon.address());
    for _ in 0..3 {
        client.send(b"POST /sql HTTP/1.1\r\nHost: test\r\nContent-Length: 19\r\n\r\nselect pg_sleep(20)");
        let busy = "select count(*) from pg_stat_activity where query = 'select pg_sleep(20)' and state = 'active'";
        eventually("the statement runs", SOON, || (postgres.query(busy) == "1").then_some(()));
        postgres.terminate_all();
        assert_eq!(client.response().status, 500);
        assert_eq!(other.sql("select 1"), "1");
        assert_eq!(client.sql("select 1"), "1");
    }
}

#[test]
fn a_connection_past_its_lifetime_or_idle_for_too_long_is_replaced_before_it_is_used() {
    for (key, cause) in [("max_lifetime", "lifetime"), ("idle_timeout", "idle")] {
        let postgres = Postgres::start();
        let ratoon =
            sql::serving(&postgres, "workers = 1", &format!("{key} = \"200ms\"\nmax_lifetime_jitter = \"0%\""));
        let mut client = Client::connect(ratoon.address());
        let first = client.sql(BACKEND);
        let reconnects = || ratoon.status_of("web")["database"]["reconnects"][cause].as_u64().unwrap_or(0);
        assert_eq!(reconnects(), 0);
        std::thread::sleep(Duration::from_millis(250));
        assert_ne!(client.sql(BACKEND), first, "{key}");
        assert_eq!(reconnects(), 1, "{key}");
        eventually("the old backend has gone", SOON, || (postgres.backends() == 1).then_some(()));
    }
}

#[test]
fn a_connection_that_says_nothing_more_is_found_out_by_a_round_trip_once_it_has_been_idle() {
    let postgres = Postgres::start();
    let relay = Relay::to(postgres.address());
    let url = postgres.tcp_url_at(relay.address());
    let ratoon = Ratoon::serving(&sql::pool(&url, "workers = 1", "validate_after = \"0s\"\nconnect_timeout = \"1s\""));
    let mut client = Client::connect(ratoon.address());
    let first = client.sql(BACKEND);
    relay.swallow();
    relay.heal();
    assert_ne!(client.sql(BACKEND), first);
    let database = &ratoon.status_of("web")["database"];
    // It may be the answer to the reset that is missed.
    let found = ["check_failed", "reset_failed"].map(|cause| database["reconnects"][cause].as_u64().unwrap_or(0));
    assert_eq!(found.iter().sum::<u64>(), 1, "{database}");
}

/// The port from which the one connection to this server comes.
#[track_caller]
fn port_of_the_client(postgres: &Postgres) -> u16 {
    postgres.query("select client_port from pg_stat_activity where client_port > 0").parse().unwrap()
}

#[test]
fn a_connection_that_a_firewall_has_forgotten_is_found_out_before_it_is_used_if_it_was_idle() {
    let postgres = Postgres::start();
    let database = "validate_after = \"0s\"\nconnect_timeout = \"1s\"";
    let ratoon = Ratoon::serving(&sql::pool(&postgres.tcp_url(), "workers = 1", database));
    let mut client = Client::connect(ratoon.address());
    let first = client.sql(BACKEND);
    let _firewall = Firewall::between(&[port_of_the_client(&postgres)], postgres.address().port());
    assert_ne!(client.sql(BACKEND), first);
}

#[test]
fn a_statement_over_a_connection_that_a_firewall_has_forgotten_fails_within_tcp_user_timeout() {
    let postgres = Postgres::start();
    let lines = "workers = 1\nrequest_timeout = \"60s\"";
    let ratoon = Ratoon::serving(&sql::pool(&postgres.tcp_url(), lines, "tcp_user_timeout = \"4s\""));
    let mut client = Client::connect(ratoon.address());
    // With the second reset nothing is left to be prepared for it.
    client.sql(BACKEND);
    let first = client.sql(BACKEND);
    let at_rest =
        format!("select state = 'idle' and query like 'SELECT EXISTS%' from pg_stat_activity where pid = {first}");
    eventually("the reset is done", SOON, || (postgres.query(&at_rest) == "t").then_some(()));
    let _firewall = Firewall::between(&[port_of_the_client(&postgres)], postgres.address().port());
    // At rest, and not idle for long enough to be asked: found out by the kernel, long before the request's deadline.
    let answer = client.ask("sql", "select 1");
    assert_eq!(answer.status, 500, "{} {}", answer.text(), ratoon.status_of("web")["database"]);
    assert_ne!(client.sql(BACKEND), first);
}

#[test]
fn a_firewall_in_front_of_the_whole_server_makes_requests_fail_within_connect_timeout() {
    let postgres = Postgres::start();
    let lines = "workers = 1\nrequest_timeout = \"60s\"";
    let ratoon = Ratoon::serving(&sql::pool(&postgres.tcp_url(), lines, "connect_timeout = \"500ms\""));
    let firewall = Firewall::around(postgres.address().port());
    let mut client = Client::connect(ratoon.address());
    let answer = client.ask("sql", "select 1");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(firewall);
    eventually("it is reached again", SOON, || (client.ask("sql", "select 1").status == 200).then_some(()));
}
