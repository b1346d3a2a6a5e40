//! Behind Debian's nginx and HAProxy, with the configurations that docs/ has, and Ratoon's as docs/proxies.md shows it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::{Value, json};

use crate::harness::{self, CONTROL, Client, Door, Front, Ratoon, SOON, Traffic, eventually, fixture, get, root};

/// A text of the repository with each of these replaced, wherever it stands; all of them do.
fn reworded(text: &str, words: &[(&str, &str)]) -> String {
    words.iter().fold(text.to_owned(), |text, (word, other)| {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
        text.replace(word, other)
    })
}

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The TOML under a heading of docs/proxies.md.
fn documented(heading: &str) -> String {
    let text = document("proxies.md");
    let chapter = text.split("\n## ").find(|chapter| chapter.starts_with(heading)).unwrap();
    let start = chapter.find("```toml\n").unwrap() + 8;
    chapter[start..start + chapter[start..].find("```").unwrap()].to_owned()
}

/// Ratoon behind nginx, as documented, with these further lines about its pool.
fn behind_nginx(lines: &str) -> (Ratoon, Front) {
    let group = ", group = \"www-data\"";
    let kept = if geteuid().is_root() { group } else { "" };
    let pool = reworded(&documented("nginx"), &[("/run/ratoon", "DIR"), (group, kept)]);
    let ratoon = Ratoon::serving(&format!("{CONTROL}{pool}{lines}\n"));
    std::fs::set_permissions(ratoon.directory(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let place = ratoon.directory().to_str().unwrap().to_owned();
    let front = Front::nginx(|[address, _]| {
        let listen = format!("listen {address};");
        reworded(&document("nginx.conf"), &[("/run/ratoon", &place), ("listen 80;", &listen)])
    });
    (ratoon, front)
}

/// Ratoon to stand behind HAProxy, as documented, with these further lines about its pool.
fn for_haproxy(lines: &str) -> Ratoon {
    let ports =
        [("127.0.0.1:8080", "127.0.0.1:0"), ("127.0.0.1:8081", "127.0.0.1:0"), ("127.0.0.1:9180", "127.0.0.1:0")];
    let config = reworded(&documented("HAProxy"), &ports);
    // Clients are at 127.0.0.1, too, and not to be taken for it.
    let config = reworded(&config, &[("trusted_proxies = [\"127.0.0.1\"]", "trusted_proxies = [\"127.0.0.9\"]")]);
    let config = config.replace("\n[admin]", &format!("{lines}\n[admin]"));
    Ratoon::serving(&format!("{CONTROL}{config}"))
}

/// Where its listeners are: the one for requests, the one for bytes.
fn listeners(ratoon: &Ratoon) -> [SocketAddr; 2] {
    let lines = ratoon.lines();
    let messages = lines.iter().filter_map(|line| line["message"].as_str()?.strip_prefix("listening on "));
    let found: Vec<SocketAddr> = messages.filter_map(|address| address.parse().ok()).collect();
    found[..2].try_into().unwrap()
}

/// HAProxy in front of these, as documented.
fn haproxy(here: &Ratoon, there: Option<&Ratoon>, words: &[(&str, &str)]) -> Front {
    Front::haproxy(|addresses| {
        let [requests, bytes] = listeners(here).map(|address| address.to_string());
        let check = |ratoon: &Ratoon| format!("addr 127.0.0.1 port {}", ratoon.admin().port());
        let [http, tcp] = addresses.map(|address| format!("bind {address}"));
        let there = there.map(|there| format!("server there {} {}", listeners(there)[0], check(there)));
        let text = reworded(
            &document("haproxy.cfg"),
            &[
                ("bind :80\n", &format!("{http}\n")),
                ("bind :81\n", &format!("{tcp}\n")),
                ("127.0.0.1:8080", &requests),
                ("127.0.0.1:8081", &bytes),
                ("addr 127.0.0.1 port 9180", &check(here)),
                ("server there 192.0.2.20:8080 addr 192.0.2.20 port 9180", there.as_deref().unwrap_or_default()),
                ("check inter 1s", "source 127.0.0.9 check inter 100ms"),
            ],
        );
        reworded(&text, words)
    })
}

const FORGED: &str = "X-Forwarded-For: 6.6.6.6, 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n\
                      Forwarded: for=6.6.6.6\r\n";

/// What the application sees of a client that claims to be somebody else.
#[track_caller]
fn seen(client: &mut Client) -> Value {
    client.send(format!("GET /headers HTTP/1.1\r\nHost: shop.example\r\n{FORGED}\r\n").as_bytes());
    let response = client.response();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

#[test]
fn behind_nginx_the_application_sees_the_client_whatever_that_claims() {
    let (_ratoon, front) = behind_nginx("workers = 2");
    let mut client = Client::connect(front.address());
    for _ in 0..3 {
        let seen = seen(&mut client);
        assert_eq!(
            seen["client"],
            json!({ "ip": "127.0.0.1", "port": null, "scheme": "http", "host": "shop.example" })
        );
        assert_eq!(seen["peer"], Value::Null, "nginx is on a Unix socket");
    }
}

#[test]
fn behind_haproxy_the_application_sees_the_client_whatever_that_claims() {
    let ratoon = for_haproxy("workers = 2");
    let front = haproxy(&ratoon, None, &[]);
    let mut client = Client::connect(front.address());
    for _ in 0..3 {
        let seen = seen(&mut client);
        assert_eq!(
            seen["client"],
            json!({ "ip": "127.0.0.1", "port": null, "scheme": "http", "host": "shop.example" })
        );
        assert!(seen["peer"].as_str().unwrap().starts_with("127.0.0.9:"), "{seen}");
    }
}

#[test]
fn haproxy_names_the_client_in_either_version_of_the_proxy_protocol() {
    let ratoon = for_haproxy("workers = 2");
    for version in ["send-proxy-v2", "send-proxy"] {
        let front = haproxy(&ratoon, None, &[("send-proxy-v2", version)]);
        let mut client = Client::connect(front.other_address());
        let address = client.local_address();
        for _ in 0..3 {
            client.send(b"GET /headers HTTP/1.1\r\nHost: shop.example\r\n\r\n");
            let seen = client.response().json();
            assert_eq!(seen["peer"], address.to_string(), "{version}");
            assert_eq!((&seen["client"]["ip"], &seen["client"]["port"]), (&json!("127.0.0.1"), &json!(address.port())));
        }
    }
    assert_eq!(
        ratoon.all_logged("turned away: a PROXY header is expected here, from one of trusted_proxies", &[]),
        [(); 0].map(|()| Value::Null)
    );
}

/// Short answers: what has begun to arrive cannot be asked for again.
#[track_caller]
fn visitors(front: &Front) -> Traffic {
    let traffic = Traffic::begin(&[Door::Tcp(front.address())], 4, &["hello", "sleep?ms=5", "whoami"]);
    traffic.goes_on(200);
    traffic
}

/// Reloads, and finds that no request was lost behind the proxy.
#[track_caller]
fn assert_reloads_cost_nothing(ratoon: &Ratoon, front: &Front) {
    let traffic = visitors(front);
    for _ in 0..5 {
        let socket = ratoon.directory().join("control.sock");
        let reload = harness::ratoon(&["reload", "--socket", socket.to_str().unwrap()]);
        assert!(reload.status.success(), "{reload:?}");
        traffic.goes_on(100);
    }
    traffic.ends_without_a_loss();
}

/// Kills eight workers that serve, and finds that no request was lost behind the proxy.
#[track_caller]
fn assert_killed_workers_cost_nothing(ratoon: &Ratoon, front: &Front) {
    let traffic = visitors(front);
    for round in 0..8 {
        // Each in turn: one that dies again and again is replaced later and later.
        kill(ratoon.ready_workers("web", 4)[round % 4], Signal::SIGKILL).unwrap();
        traffic.goes_on(100);
    }
    ratoon.ready_workers("web", 4);
    assert_eq!(ratoon.all_logged("died", &[("cause", "killed from outside".into())]).len(), 8);
    traffic.ends_without_a_loss();
}

const FOUR: &str = "workers = 4\nsettle = \"0s\"";

#[test]
fn behind_nginx_nobody_notices_reloads() {
    let (ratoon, front) = behind_nginx(FOUR);
    assert_reloads_cost_nothing(&ratoon, &front);
}

#[test]
fn behind_haproxy_nobody_notices_reloads() {
    let ratoon = for_haproxy(FOUR);
    let front = haproxy(&ratoon, None, &[]);
    assert_reloads_cost_nothing(&ratoon, &front);
}

#[test]
fn behind_nginx_nobody_notices_killed_workers() {
    let (ratoon, front) = behind_nginx(FOUR);
    assert_killed_workers_cost_nothing(&ratoon, &front);
}

#[test]
fn behind_haproxy_nobody_notices_killed_workers() {
    let ratoon = for_haproxy(FOUR);
    let front = haproxy(&ratoon, None, &[]);
    assert_killed_workers_cost_nothing(&ratoon, &front);
}

/// "A GET is asked again of another. What may have been done already, a POST, is answered 502."
#[test]
fn a_get_whose_worker_is_killed_is_asked_again_and_a_post_is_not() {
    let lines = format!("workers = 2\nprogram = [{:?}]", fixture::program());
    let (behind_nginx, nginx) = behind_nginx(&lines);
    let behind_haproxy = for_haproxy(&lines);
    let haproxy = haproxy(&behind_haproxy, None, &[]);
    for (ratoon, front) in [(&behind_nginx, &nginx), (&behind_haproxy, &haproxy)] {
        let begun = |word: &str| ratoon.all_logged("begins", &[("word", word.into())]);
        let killed_at = |word: &str, times: usize| {
            let line = eventually(&format!("{word} begins"), SOON, || begun(word).into_iter().nth(times - 1));
            kill(Pid::from_raw(line["pid"].as_i64().unwrap() as i32), Signal::SIGKILL).unwrap();
        };
        let mut client = Client::connect(front.address());
        client.send(b"POST /hang HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nonce");
        killed_at("hang", 1);
        assert_eq!(client.response().status, 502);
        let mut client = Client::connect(front.address());
        client.send(b"GET /await:go HTTP/1.1\r\nHost: test\r\n\r\n");
        killed_at("await:go", 1);
        eventually("another worker is asked", SOON, || (begun("await:go").len() == 2).then_some(()));
        std::fs::write(ratoon.directory().join("go"), "").unwrap();
        assert_eq!(client.response().status, 200);
        assert_eq!((begun("hang").len(), begun("await:go").len()), (1, 2));
    }
}

#[test]
fn a_server_that_is_stopped_with_a_drain_delay_is_taken_out_by_haproxy_and_nobody_notices() {
    let mut here = for_haproxy("workers = 2");
    let there = for_haproxy("workers = 2");
    let front = haproxy(&here, Some(&there), &[]);
    let traffic = Traffic::begin(&[Door::Tcp(front.address())], 4, &["hello", "sleep?ms=5", "whoami"]);
    traffic.goes_on(200);
    here.signal(Signal::SIGTERM);
    let is_out = || front.log().contains("Server ratoon/here is DOWN").then_some(());
    eventually("HAProxy has taken it out", SOON, is_out);
    // Whoever had not yet seen that would still be served.
    assert_eq!(get(listeners(&here)[0], "/hello").status, 200);
    here.leaves_in_peace();
    traffic.goes_on(200);
    traffic.ends_without_a_loss();
}
