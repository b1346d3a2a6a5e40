//! What proxies say in headers, by hand.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::harness::{Client, Ratoon, SOON, eventually};

/// A supervisor whose pool believes this much.
fn believing(forwarded: &str) -> Ratoon {
    Ratoon::serving(&format!(
        "[pool.web]\nlisten = [\"127.0.0.1:0\", \"unix:DIR/web.sock\", \
         {{ address = \"unix:DIR/announced.sock\", proxy_protocol = true }}]\nworkers = 1\n{forwarded}\n"
    ))
}

fn socket(ratoon: &Ratoon, name: &str) -> PathBuf {
    ratoon.directory().join(name)
}

/// On whose behalf the application holds a request with these headers to be.
#[track_caller]
fn client(mut over: Client, headers: &str) -> (Value, Value) {
    over.send(format!("GET /headers HTTP/1.1\r\nHost: inner\r\n{headers}\r\n").as_bytes());
    let response = over.response();
    assert_eq!(response.status, 200, "{}", response.text());
    let mut seen = response.json();
    (seen["client"].take(), seen["headers"].take())
}

const X: &str = "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n";
const RFC: &str = "Forwarded: for=6.6.6.6;proto=http, for=\"[2001:db8::7]:4711\";proto=https;host=other.example\r\n";

#[test]
fn the_application_is_told_on_whose_behalf_a_trusted_proxy_asks_in_the_headers_that_were_chosen() {
    for (forwarded, expected) in [
        ("x-forwarded", json!({ "ip": "192.0.2.7", "port": null, "scheme": "https", "host": "shop.example" })),
        ("forwarded", json!({ "ip": "2001:db8::7", "port": 4711, "scheme": "https", "host": "other.example" })),
    ] {
        let trusted = "trusted_proxies = [\"127.0.0.1\", \"unix\"]\n";
        let ratoon = believing(&format!("{trusted}forwarded = \"{forwarded}\""));
        let doors = [Client::connect(ratoon.address()), Client::connect_unix(&socket(&ratoon, "web.sock")).unwrap()];
        for door in doors {
            let (seen, headers) = client(door, &format!("{X}{RFC}"));
            assert_eq!(seen, expected);
            // The headers themselves are left as they are.
            assert!(headers.as_array().unwrap().contains(&json!(["x-forwarded-for", "6.6.6.6, 192.0.2.7"])));
        }
        // A proxy that says nothing is itself the client.
        let (seen, _) = client(Client::connect(ratoon.address()), "");
        assert_eq!(
            (&seen["ip"], &seen["scheme"], &seen["host"]),
            (&json!("127.0.0.1"), &json!("http"), &json!("inner"))
        );
        assert!(seen["port"].is_u64());
    }
}

#[test]
fn nobody_else_is_believed_and_nothing_is_unless_it_is_asked_for() {
    let ratoon = believing("trusted_proxies = [\"192.0.2.1\", \"unix\"]\nforwarded = \"x-forwarded\"");
    let (seen, headers) = client(Client::connect(ratoon.address()), X);
    assert_eq!((&seen["ip"], &seen["scheme"], &seen["host"]), (&json!("127.0.0.1"), &json!("http"), &json!("inner")));
    assert!(headers.as_array().unwrap().contains(&json!(["x-forwarded-proto", "https"])));
    let ratoon = believing("trusted_proxies = [\"127.0.0.1\", \"unix\"]");
    let (seen, _) = client(Client::connect(ratoon.address()), &format!("{X}{RFC}"));
    assert_eq!(seen["ip"], "127.0.0.1");
    let (seen, _) = client(Client::connect_unix(&socket(&ratoon, "web.sock")).unwrap(), X);
    assert_eq!(seen, json!({ "ip": null, "port": null, "scheme": "http", "host": "inner" }));
}

/// "On a listener with proxy_protocol, whoever the PROXY header names is the one whose headers are believed, or not."
#[test]
fn whom_a_proxy_header_names_is_believed_in_headers_only_if_it_is_a_trusted_proxy_itself() {
    let ratoon = believing("trusted_proxies = [\"10.0.0.0/8\", \"unix\"]\nforwarded = \"x-forwarded\"");
    for (named, expected) in [("192.0.2.9", "192.0.2.9"), ("10.0.0.9", "192.0.2.7")] {
        let mut door = Client::connect_unix(&socket(&ratoon, "announced.sock")).unwrap();
        door.send(format!("PROXY TCP4 {named} 198.51.100.1 51000 443\r\n").as_bytes());
        assert_eq!(client(door, X).0["ip"], expected);
    }
}

/// A client on a Unix socket of the proxy's is no proxy: "unix" is for those of the pool. Also when it is another worker's.
#[test]
fn whom_a_proxy_header_places_on_a_unix_socket_is_not_believed_in_headers() {
    let ratoon = believing("trusted_proxies = [\"unix\"]\nforwarded = \"x-forwarded\"");
    let mut door = Client::connect_unix(&socket(&ratoon, "announced.sock")).unwrap();
    door.send(&[&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[b'/'; 216]].concat());
    let mut seen = |request: &str| {
        door.send(format!("GET /headers HTTP/1.1\r\nHost: inner\r\n{request}\r\n").as_bytes());
        door.response().json()["client"].clone()
    };
    let nobody = json!({ "ip": null, "port": null, "scheme": "http", "host": "inner" });
    assert_eq!(seen(X), nobody);
    let before = ratoon.ready_workers("web", 1);
    kill(before[0], Signal::SIGTERM).unwrap();
    eventually("another worker", SOON, || Some(ratoon.workers("web")).filter(|now| now.len() == 1 && *now != before));
    assert_eq!(seen(X), nobody);
}

#[test]
fn whatever_stands_in_the_headers_the_request_is_served_with_the_nearest_address_that_is_known() {
    let trusted = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\", \"unix\"]\n";
    let ratoon = believing(&format!("{trusted}forwarded = \"forwarded\"\nmax_header = \"1MiB\""));
    let huge = "for=10.0.0.2, ".repeat(50_000);
    for (value, expected) in [
        ("for=unknown", "127.0.0.1"),
        ("for=_secret, for=10.0.0.2", "10.0.0.2"),
        ("for=\"", "127.0.0.1"),
        ("\u{1f980}", "127.0.0.1"),
        (";;;,,,===\\\"", "127.0.0.1"),
        ("x=\", for=192.0.2.7", "192.0.2.7"),
        (&format!("for=6.6.6.6, for=192.0.2.7, {huge}"), "192.0.2.7"),
    ] {
        let (seen, _) = client(Client::connect(ratoon.address()), &format!("Forwarded: {value}\r\n"));
        assert_eq!(seen["ip"], expected, "{}", &value[..value.len().min(60)]);
    }
}
