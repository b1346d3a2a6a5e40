//! Behind a proxy that gives each transaction another connection: Debian's PgBouncer, which is older than 1.21 and knows
//! nothing of prepared statements.

use crate::harness::{Client, PgBouncer, Postgres, Ratoon, get, sql};

/// More workers than connections, so that they meet on one.
const EIGHT: &str = "workers = 8\nrequest_timeout = \"20s\"";
const CONNECTIONS: usize = 2;

#[test]
fn without_prepared_statements_many_workers_share_the_few_connections_of_a_proxy() {
    let postgres = Postgres::start();
    postgres.query("create table counted (worker text, number int)");
    for reset in ["session", "off"] {
        postgres.query("truncate counted");
        let proxy = PgBouncer::before(&postgres, CONNECTIONS);
        let database = format!("prepared = false\nconnections = 8\nreset = \"{reset}\"");
        let ratoon = Ratoon::serving(&sql::pool(&proxy.url(), EIGHT, &database));
        let most = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..8)
                .map(|client| {
                    let address = ratoon.address();
                    scope.spawn(move || {
                        let mut http = Client::connect(address);
                        for number in 0..25 {
                            let answer = http.ask(&format!("row?{client}&{number}"), "select $1 || '/' || $2");
                            assert_eq!(answer.text(), format!("{client}/{number}"), "{}", answer.status);
                            let both = format!(
                                "insert into counted values ('{client}', {number}); \
                                 insert into counted values ('{client}', -{number})"
                            );
                            let answer = http.ask("committed", &both);
                            assert_eq!(answer.text(), "committed", "{}", answer.status);
                        }
                    })
                })
                .collect();
            let mut most = 0;
            while clients.iter().any(|client| !client.is_finished()) {
                most = most.max(postgres.backends());
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            clients.into_iter().for_each(|client| client.join().unwrap());
            most
        });
        assert!((1..=CONNECTIONS).contains(&most), "{most} backends with reset = {reset}");
        assert_eq!(postgres.query("select count(*), sum(number) from counted"), "400|0", "reset = {reset}");
        assert_eq!(get(ratoon.address(), "/ok").status, 200);
    }
}

#[test]
fn a_transaction_that_was_not_ended_is_rolled_back_before_the_proxy_gives_its_connection_to_another() {
    let postgres = Postgres::start();
    postgres.query("create table kept (a int)");
    let proxy = PgBouncer::before(&postgres, 1);
    let ratoon = Ratoon::serving(&sql::pool(&proxy.url(), "workers = 1", "prepared = false"));
    let mut client = Client::connect(ratoon.address());
    client.sql("begin; insert into kept values (1)");
    assert_eq!(client.sql("select count(*) from kept"), "0");
    client.sql("begin; insert into kept values (2); commit");
    assert_eq!(client.sql("select count(*) from kept"), "1");
}
