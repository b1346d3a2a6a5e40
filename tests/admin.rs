//! Promised: "there is something to look at": the admin process, its routes, and that nobody depends on it.

mod crash;
mod crowd;
mod lifecycle;
mod page;
mod pictures;
mod rights;

use std::net::SocketAddr;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{ADMIN, Client, Ratoon, Response, SOON, eventually, fixture, get};

/// A supervisor with a status page and these pools.
#[track_caller]
fn serving(pools: &str) -> Ratoon {
    let ratoon = start(pools);
    ratoon.logged("serving: every pool has a ready worker", &[]);
    ratoon
}

#[track_caller]
fn start(pools: &str) -> Ratoon {
    Ratoon::start(&format!("{ADMIN}{pools}"))
}

/// A word that keeps a handler until the file of this name is there.
fn until(ratoon: &Ratoon, name: &str) -> String {
    format!("await:{}", ratoon.directory().join(name).to_str().unwrap().replace('/', "~"))
}

/// What `/status.json` says.
#[track_caller]
fn status(address: SocketAddr) -> Value {
    let response = get(address, "/status.json");
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

#[track_caller]
fn send(address: SocketAddr, head: &str) -> Response {
    let mut client = Client::connect(address);
    client.send(format!("{head}\r\nHost: test\r\n\r\n").as_bytes());
    client.try_response_to(head.starts_with("HEAD")).unwrap()
}

#[test]
fn every_route_answers_and_says_what_it_is() {
    let ratoon = serving(&fixture::pool("web", "workers = 2"));
    for (route, kind) in [
        ("/", "text/"),
        ("/status.json", "application/json"),
        ("/metrics", "text/plain; version=0.0.4"),
        ("/healthz", "text/plain"),
        ("/readyz", "text/plain"),
        ("/readyz?pool=web", "text/plain"),
    ] {
        let response = get(ratoon.admin(), route);
        assert_eq!(response.status, 200, "{route}: {}", response.text());
        assert!(response.header("content-type").unwrap().starts_with(kind), "{route}: {response:?}");
        assert_eq!(response.header("cache-control"), Some("no-store"), "{route}");
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{route}: {policy}");
        let head = send(ratoon.admin(), &format!("HEAD {route} HTTP/1.1"));
        assert_eq!((head.status, head.body.len()), (200, 0), "{route}");
    }
    assert_eq!(get(ratoon.admin(), "/healthz").text(), "ok\n");
    assert_eq!(get(ratoon.admin(), "/readyz").text(), "ready\n");
    let missing = get(ratoon.admin(), "/etc/passwd");
    assert_eq!((missing.status, missing.text().contains("/status.json")), (404, true));
    assert_eq!(get(ratoon.admin(), "/readyz?pool=nowhere").status, 404);
}

/// "Read-only: nothing there changes anything."
#[test]
fn whatever_would_change_something_is_refused() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "RELOAD"] {
        let refused = send(ratoon.admin(), &format!("{method} /status.json HTTP/1.1\r\nContent-Length: 0"));
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(status(ratoon.admin())["state"], "serving");
}

/// "`/status.json` is the document of `ratoon status --json`."
#[test]
fn the_document_is_that_of_the_control_socket() {
    let config = format!("{}{}", crate::harness::CONTROL, fixture::pool("web", "workers = 2"));
    let ratoon = serving(&config);
    ratoon.ready_workers("web", 2);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<String>>();
    eventually("both say the same", SOON, || {
        let (here, there) = (status(ratoon.admin()), ratoon.status());
        assert_eq!(keys(&here), keys(&there));
        (here["pools"] == there["pools"] || without_ages(&here) == without_ages(&there)).then_some(())
    });
}

/// The document without what is another number every moment.
fn without_ages(status: &Value) -> Value {
    match status {
        Value::Object(table) => {
            let lasting = table.iter().filter(|(key, _)| !key.ends_with("_ms"));
            lasting.map(|(key, value)| (key.clone(), without_ages(value))).collect()
        }
        Value::Array(list) => list.iter().map(without_ages).collect(),
        other => other.clone(),
    }
}

/// "`/readyz`: every pool has a ready worker and is not stopping."
#[test]
fn readiness_follows_the_pools_and_names_the_one_that_is_not_ready() {
    let slow = fixture::pool("slow", "workers = 1\nsettings = { start = \"await:go\" }");
    let mut ratoon = start(&(fixture::pool("quick", "workers = 1") + &slow));
    ratoon.ready_workers("quick", 1);
    let readiness = |query: &str| {
        let response = get(ratoon.admin(), &format!("/readyz{query}"));
        (response.status, response.text())
    };
    eventually("the slow pool is starting", SOON, || {
        (readiness("") == (503, "pool slow: no worker is ready, some are starting\n".into())).then_some(())
    });
    assert_eq!(readiness("?pool=quick"), (200, "ready\n".into()));
    assert_eq!(readiness("?pool=slow").0, 503);
    assert_eq!(get(ratoon.admin(), "/healthz").status, 200);

    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    ratoon.logged("serving: every pool has a ready worker", &[]);
    eventually("all are ready", SOON, || (readiness("") == (200, "ready\n".into())).then_some(()));

    let word = until(&ratoon, "done");
    let (mut client, _) = ratoon.engage(ratoon.address_of("quick"), &word);
    ratoon.signal(Signal::SIGTERM);
    eventually("it is stopping", SOON, || (readiness("") == (503, "the daemon is stopping\n".into())).then_some(()));
    std::fs::write(ratoon.directory().join("done"), "").unwrap();
    assert_eq!(client.response().status, 200);
    ratoon.leaves_in_peace();
}

#[test]
fn a_pool_whose_workers_come_with_its_clients_is_ready_without_any() {
    let ratoon = serving(&fixture::pool("web", "scaling = \"ondemand\""));
    assert_eq!(ratoon.workers("web"), []);
    assert_eq!(get(ratoon.admin(), "/readyz").text(), "ready\n");
}

#[test]
fn a_pool_that_has_failed_is_not_ready() {
    let ratoon = start(&fixture::pool("web", "workers = 10\nsettings = { start = \"exit:3\" }"));
    eventually("the pool has failed", SOON, || {
        let response = get(ratoon.admin(), "/readyz");
        (response.text() == "pool web: failed: it is tried again, slowly\n" && response.status == 503).then_some(())
    });
}

#[test]
fn the_page_can_be_behind_a_unix_socket() {
    let listen = "[admin]\nlisten = { address = \"unix:DIR/admin.sock\", mode = \"0600\" }\n";
    let ratoon = Ratoon::serving(&format!("{listen}{}", fixture::pool("web", "workers = 1")));
    let path = ratoon.directory().join("admin.sock");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(Client::connect_unix(&path).unwrap().get("/healthz").text(), "ok\n");
    drop(ratoon);
}

#[test]
fn without_an_address_there_is_no_such_process() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1"));
    assert!(crate::harness::process::children(ratoon.pid(), "ratoon: admin").is_empty());
}
