//! A database with several places, and names for them.

use std::net::{TcpListener, UdpSocket};

use super::sql;
use crate::harness::postgres::Postgres;
use crate::harness::relay::Relay;
use crate::harness::{Ratoon, fixture, free_address, get, wrap};

const PORT: &str = "select inet_server_port()";

fn pool(url: &str) -> String {
    fixture::pool("web", &format!("workers = 1\n[pool.web.database]\nurl = \"{url}\"\nconnect_timeout = \"3s\""))
}

/// The port of the server that answers under this URL.
#[track_caller]
fn port_behind(url: &str) -> String {
    let ratoon = Ratoon::serving(&pool(url));
    let answer = sql(ratoon.address(), PORT);
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), ratoon.text());
    answer.text()
}

#[test]
fn a_place_where_nobody_listens_is_passed_over() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let url = format!("postgres://ratoon@{},{address}/postgres", free_address());
    assert_eq!(port_behind(&url), address.port().to_string());
}

#[test]
fn a_place_that_takes_connections_and_says_nothing_is_passed_over() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let swallowing = Relay::to(address);
    swallowing.swallow();
    let places = format!("{},{},{address}", silent.local_addr().unwrap(), swallowing.address());
    for mode in ["disable", "prefer"] {
        let url = format!("postgres://ratoon@{places}/postgres?sslmode={mode}");
        assert_eq!(port_behind(&url), address.port().to_string());
    }
}

#[test]
fn a_unix_socket_and_a_name_stand_in_one_list() {
    let postgres = Postgres::start();
    let port = postgres.address().port();
    let url = format!("postgres://ratoon@%2Fnowhere,localhost:{port}/postgres");
    assert_eq!(port_behind(&url), port.to_string());
}

#[test]
fn an_address_beside_a_name_that_nobody_knows_is_enough() {
    let postgres = Postgres::start();
    let port = postgres.address().port();
    let url = format!("postgres://ratoon@nobody.invalid:{port}/postgres?hostaddr=127.0.0.1");
    assert_eq!(port_behind(&url), port.to_string());
}

#[test]
fn a_server_is_passed_over_that_is_not_of_the_kind_that_is_wanted() {
    let reader = Postgres::with(&[("default_transaction_read_only", "on")]);
    let writer = Postgres::start();
    let behind = |wanted: &str| {
        let places = format!("{},{}", reader.address(), writer.address());
        port_behind(&format!("postgres://ratoon@{places}/postgres?target_session_attrs={wanted}"))
    };
    let (reader, writer) = (reader.address().port().to_string(), writer.address().port().to_string());
    assert_eq!([behind("any"), behind("read-only"), behind("primary")], [reader.clone(), reader.clone(), reader]);
    assert_eq!(behind("read-write"), writer);
}

#[test]
fn where_no_place_will_do_each_is_named_with_its_reason() {
    let postgres = Postgres::start();
    let dead = free_address();
    let places = format!("{dead},nobody.invalid,{}", postgres.address());
    let ratoon = Ratoon::serving(&pool(&format!("postgres://ratoon@{places}/postgres?target_session_attrs=standby")));
    assert_eq!(sql(ratoon.address(), PORT).status, 503);
    let told = ratoon.logged("cannot connect to the database", &[]);
    let why = told["why"].as_str().unwrap();
    assert!(why.starts_with(&format!("{dead}: Connection refused; nobody.invalid:5432: ")), "{why}");
    assert!(why.ends_with(&format!("; {}: it is not standby", postgres.address())), "{why}");
}

#[test]
fn a_wrong_password_is_tried_at_one_place_only() {
    let postgres = Postgres::start();
    postgres.add_role("shop", "right");
    let (first, second) = (Relay::to(postgres.address()), Relay::to(postgres.address()));
    let places = format!("{},{}", first.address(), second.address());
    let ratoon = Ratoon::serving(&pool(&format!("postgres://shop:wrong@{places}/postgres?sslmode=disable")));
    assert_eq!(sql(ratoon.address(), PORT).status, 503);
    assert_eq!((first.attempts(), second.attempts()), (1, 0));
}

#[test]
fn a_resolver_that_hangs_is_left_in_time_and_the_worker_serves_on() {
    // Whoever asks here is not answered; in the supervisor's own view of the file system it is the one to be asked.
    let silent = "127.53.4.1:53";
    let _silent = UdpSocket::bind(silent).expect("root may listen on port 53 of an address of its own");
    let view = format!(
        "printf 'nameserver {}\\noptions timeout:30 attempts:5\\n' > resolv.conf && \
         mount --bind resolv.conf /etc/resolv.conf && exec \"$0\" \"$@\"",
        silent.trim_end_matches(":53")
    );
    let url = "postgres://ratoon@db.example/postgres";
    let ratoon = Ratoon::start_with(&pool(url), |command| wrap(command, &["unshare", "--mount", "sh", "-c", &view]));
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let family = ratoon.family().len();
    assert_eq!(sql(ratoon.address(), PORT).status, 503);
    let told = ratoon.logged("cannot connect to the database", &[]);
    assert_eq!(told["why"], "db.example:5432: its address was not found out in time");
    // Whoever was asked to ask is gone.
    assert_eq!(ratoon.family().len(), family);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}
