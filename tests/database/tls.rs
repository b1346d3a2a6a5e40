//! `sslmode` and `sslrootcert`, as libpq has them, against a server with a certificate.

use std::net::SocketAddr;
use std::path::Path;

use crate::harness::certificates::Authority;
use crate::harness::postgres::Postgres;
use crate::harness::{Client, Ratoon, fixture, sql};

/// Whether the session is under TLS: `t` or `f`.
const IS_SECURE: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

/// One pool for each of these databases, in this order: `p0`, `p1` and so on.
fn pools(urls: &[String]) -> String {
    let pool = |(index, url): (usize, &String)| {
        fixture::pool(&format!("p{index}"), &format!("workers = 1\n[pool.p{index}.database]\nurl = \"{url}\""))
    };
    urls.iter().enumerate().map(pool).collect()
}

/// What each database answers: `t` or `f`, or why it could not be reached.
fn asked(ratoon: &Ratoon, count: usize) -> Vec<String> {
    let ask = |index: usize| {
        let pool = format!("p{index}");
        let answer = super::sql(ratoon.address_of(&pool), IS_SECURE);
        if answer.status == 200 {
            return answer.text();
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        let told = ratoon.logged("cannot connect to the database", &[("pool", pool.into())]);
        told["why"].as_str().unwrap().to_owned()
    };
    (0..count).map(ask).collect()
}

/// The same for these queries of a URL that leads to `address`.
#[track_caller]
fn answers(address: SocketAddr, queries: &[String]) -> Vec<String> {
    let urls: Vec<String> =
        queries.iter().map(|query| format!("postgres://ratoon@{address}/postgres?{query}")).collect();
    asked(&Ratoon::serving(&pools(&urls)), urls.len())
}

fn with_roots(mode: &str, roots: &Path) -> String {
    format!("sslmode={mode}&sslrootcert={}", roots.display())
}

/// A server with a certificate for these names, and a URL's beginning and roots that go with it.
fn secured(authority: &Authority, names: &str) -> Postgres {
    let postgres = Postgres::start();
    postgres.speak_tls(&authority.vouch_for(names));
    postgres
}

#[test]
fn a_server_that_is_who_it_should_be_is_reached_in_every_mode() {
    let authority = Authority::new();
    let postgres = secured(&authority, "DNS:localhost,IP:127.0.0.1");
    let roots = authority.certificate();
    let mut queries = vec!["sslmode=disable".into(), String::new(), "sslmode=require".into()];
    queries.extend(["prefer", "require", "verify-ca", "verify-full"].map(|mode| with_roots(mode, &roots)));
    assert_eq!(answers(postgres.address(), &queries), ["f", "t", "t", "t", "t", "t", "t"]);

    let by_name = format!("postgres://ratoon@localhost:{}/postgres?", postgres.address().port());
    let over_unix = format!("{}&sslmode=verify-full", postgres.url());
    let urls = [format!("{by_name}{}", with_roots("verify-full", &roots)), over_unix];
    assert_eq!(asked(&Ratoon::serving(&pools(&urls)), 2), ["t", "f"]);
}

#[test]
fn a_certificate_for_another_name_will_do_for_all_but_verify_full() {
    let authority = Authority::new();
    let postgres = secured(&authority, "DNS:elsewhere.example");
    let roots = authority.certificate();
    let queries = ["require", "verify-ca", "verify-full"].map(|mode| with_roots(mode, &roots));
    let said = answers(postgres.address(), &queries);
    assert_eq!(said[..2], ["t", "t"]);
    assert!(said[2].contains("no TLS: invalid peer certificate: certificate not valid for name"), "{said:?}");
}

#[test]
fn an_authority_nobody_knows_is_refused_where_one_is_asked_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let postgres = secured(&stranger, "IP:127.0.0.1");
    let roots = authority.certificate();
    let mut queries = vec!["sslmode=require".into(), with_roots("prefer", &roots)];
    queries.extend(["require", "verify-ca", "verify-full"].map(|mode| with_roots(mode, &roots)));
    let said = answers(postgres.address(), &queries);
    // Who prefers TLS goes on without.
    assert_eq!(said[..2], ["t", "f"]);
    for refused in &said[2..] {
        assert!(refused.contains("no TLS: invalid peer certificate: "), "{refused}");
    }
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let postgres = Postgres::start();
    let authority = Authority::new();
    let mut queries = vec!["sslmode=disable".into(), "sslmode=prefer".into(), "sslmode=require".into()];
    queries.extend(["verify-ca", "verify-full"].map(|mode| with_roots(mode, &authority.certificate())));
    let said = answers(postgres.address(), &queries);
    assert_eq!(said[..2], ["f", "f"]);
    for refused in &said[2..] {
        assert!(refused.contains("the server does not offer TLS, and sslmode asks for it"), "{refused}");
    }
}

#[test]
fn where_no_authority_is_named_those_of_the_machine_are_asked() {
    let authority = Authority::new();
    let postgres = secured(&authority, "IP:127.0.0.1");
    let urls = ["sslmode=verify-full", "sslmode=verify-ca", "sslrootcert=system"]
        .map(|query| format!("{}?{query}", postgres.tcp_url()));
    let config = pools(&urls).replace("workers = 1\n", "workers = 1\npass_env = [\"SSL_CERT_FILE\"]\n");
    let trusting = |roots: &Path| {
        let ratoon = Ratoon::start_with(&config, |command| {
            command.env("SSL_CERT_FILE", roots);
        });
        ratoon.logged("serving: every pool has a ready worker", &[]);
        asked(&ratoon, urls.len())
    };
    assert_eq!(trusting(&authority.certificate()), ["t", "t", "t"]);
    for refused in trusting(&Authority::new().certificate()) {
        assert!(refused.contains("no TLS: invalid peer certificate: "), "{refused}");
    }
}

#[test]
fn authorities_that_cannot_be_read_are_an_error_that_names_their_file() {
    let authority = Authority::new();
    let postgres = secured(&authority, "IP:127.0.0.1");
    let said = answers(postgres.address(), &["sslmode=verify-full&sslrootcert=/nowhere/ca.pem".into()]);
    assert!(said[0].contains("sslrootcert /nowhere/ca.pem: "), "{said:?}");
}

#[test]
fn a_login_is_bound_to_the_certificate_it_was_made_under() {
    let authority = Authority::new();
    let postgres = secured(&authority, "IP:127.0.0.1");
    postgres.add_role("shop", "secret");
    let bound = format!("{}?channel_binding=require", postgres.tcp_url_as("shop", "secret"));
    let urls = [format!("{bound}&sslmode=require"), format!("{bound}&sslmode=disable")];
    let said = asked(&Ratoon::serving(&pools(&urls)), 2);
    assert_eq!(said[0], "t");
    assert!(said[1].contains("channel binding"), "{said:?}");
}

#[test]
fn a_connection_with_tls_is_as_fresh_as_any() {
    let authority = Authority::new();
    let postgres = secured(&authority, "IP:127.0.0.1");
    let url = format!("{}?{}", postgres.tcp_url(), with_roots("verify-full", &authority.certificate()));
    let ratoon = Ratoon::serving(&pools(&[url]));
    let backend = || super::sql(ratoon.address_of("p0"), "select pg_backend_pid()").text();
    let first = backend();
    assert_eq!(backend(), first);
    postgres.terminate_all();
    let second = backend();
    assert_ne!(second, first);
    assert_eq!(backend(), second);
}

/// Its engine cannot be replaced on the same connection: the keys are its own.
#[test]
fn a_session_that_has_met_a_type_of_ones_own_is_replaced_when_the_server_has_forgotten_all_names() {
    let postgres = secured(&Authority::new(), "IP:127.0.0.1");
    postgres.query("create type mood as enum ('low')");
    let url = format!("{}?sslmode=require", postgres.tcp_url());
    let ratoon = Ratoon::serving(&sql::pool(&url, "workers = 1", ""));
    let mut client = Client::connect(ratoon.address());
    let mut backends = std::collections::BTreeSet::new();
    for spoil in ["prepare spoilt as select 1", "deallocate all", "discard all"] {
        assert_eq!(client.sql(IS_SECURE), "t");
        for _ in 0..3 {
            assert_eq!(client.ask("executed", "select 'low'::mood").text(), "1", "{spoil}");
        }
        backends.insert(client.sql("select pg_backend_pid()"));
        client.ask("sql", spoil);
    }
    assert_eq!(client.sql(IS_SECURE), "t");
    assert_eq!(backends.len(), 3);
    assert_eq!(ratoon.status_of("web")["database"]["reconnects"]["reset_failed"], 3);
}
