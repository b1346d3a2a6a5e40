//! The PROXY protocol, by hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::harness::{CONTROL, Client, Ratoon, SOON, eventually, process};

const REQUEST: &str = "GET /headers HTTP/1.1\r\nHost: test\r\n\r\n";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A supervisor whose pool expects PROXY headers over TCP and over a Unix socket.
fn announced(lines: &str) -> Ratoon {
    Ratoon::serving(&format!(
        "[pool.web]\nlisten = [{{ address = \"127.0.0.1:0\", proxy_protocol = true }}, \
         {{ address = \"unix:DIR/web.sock\", proxy_protocol = true }}, \"unix:DIR/plain.sock\"]\n\
         trusted_proxies = [\"127.0.0.0/8\", \"unix\"]\nworkers = 1\n{lines}\n"
    ))
}

fn socket(ratoon: &Ratoon) -> PathBuf {
    ratoon.directory().join("web.sock")
}

/// A connection that begins with this header.
fn client(address: SocketAddr, header: &[u8]) -> Client {
    let mut client = Client::connect(address);
    client.send(header);
    client
}

/// Who is there in the application's eyes.
#[track_caller]
fn peer(client: &mut Client) -> Option<String> {
    let response = client.get("/headers");
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["peer"].as_str().map(str::to_owned)
}

/// A header of version 2 with this command, this kind, and these octets.
fn block(command: u8, kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, kind], &length, content].concat()
}

fn four() -> Vec<u8> {
    [&[192, 0, 2, 7, 198, 51, 100, 1][..], &51_000u16.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

fn six() -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let ends = [octets("2001:db8::7"), octets("2001:db8::1")].concat();
    [&ends[..], &51_000u16.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

#[test]
fn the_application_sees_the_client_whom_the_proxy_names_in_either_version() {
    let ratoon = announced("");
    let told = |text: &str| Some(text.to_owned());
    for (header, seen) in [
        (LINE.to_vec(), told("192.0.2.7:51000")),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 51000 443\r\n".to_vec(), told("[2001:db8::7]:51000")),
        (block(0x21, 0x11, &four()), told("192.0.2.7:51000")),
        (block(0x21, 0x21, &six()), told("[2001:db8::7]:51000")),
        // What stands behind the addresses is skipped.
        (block(0x21, 0x11, &[four(), vec![4, 0, 1, 0, 0x20, 0xff, 0xff]].concat()), told("192.0.2.7:51000")),
        // A client of the proxy's own Unix socket.
        (block(0x21, 0x31, &[b'/'; 216]), None),
    ] {
        for mut client in [client(ratoon.address(), &header), {
            let mut client = Client::connect_unix(&socket(&ratoon)).unwrap();
            client.send(&header);
            client
        }] {
            // It holds for the connection and not for its first request.
            assert_eq!([peer(&mut client), peer(&mut client)], [seen.clone(), seen.clone()]);
        }
    }
    assert_eq!(peer(&mut Client::connect_unix(&ratoon.directory().join("plain.sock")).unwrap()), None);
}

#[test]
fn a_proxy_that_speaks_for_itself_or_does_not_know_is_itself_the_one_who_is_there() {
    let ratoon = announced("");
    let headers = [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 51000 443\r\n".to_vec(),
        block(0x20, 0x00, &[]),
        block(0x20, 0x11, &four()),
        block(0x21, 0x00, &[]),
    ];
    for header in headers {
        let seen = peer(&mut client(ratoon.address(), &header)).unwrap();
        assert!(seen.starts_with("127.0.0.1:"), "{seen}");
        let mut client = Client::connect_unix(&socket(&ratoon)).unwrap();
        client.send(&header);
        assert_eq!(peer(&mut client), None);
    }
}

#[test]
fn a_header_may_arrive_byte_by_byte_and_together_with_requests() {
    let ratoon = announced("");
    for header in [LINE.to_vec(), block(0x21, 0x21, &six())] {
        let mut slow = Client::connect(ratoon.address());
        slow.dribble(&[&header, REQUEST.as_bytes(), REQUEST.as_bytes()].concat());
        let mut quick = client(ratoon.address(), &[&header, REQUEST.as_bytes(), REQUEST.as_bytes()].concat());
        for client in [&mut slow, &mut quick] {
            for _ in 0..2 {
                assert!(client.response().json()["peer"].as_str().unwrap().ends_with(":51000"));
            }
        }
    }
}

#[test]
fn a_connection_without_a_right_header_is_closed_without_a_word_and_the_log_says_why() {
    let ratoon = announced("[log]\nlevel = \"debug\"\n");
    let words = "it does not begin with a PROXY header";
    for (bytes, why) in [
        (REQUEST.as_bytes().to_vec(), words),
        (b"\x16\x03\x01\x02\x00".to_vec(), words),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 65536\r\n".to_vec(), "a malformed port in a PROXY header"),
        ([b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(), "a PROXY header of more than 107 bytes"),
        (block(0x22, 0x11, &four()), "a PROXY header of an unknown version or command"),
        (block(0x21, 0x21, &four()), "a PROXY header shorter than its addresses"),
        (block(0x21, 0x11, &[0; 5000]), "a PROXY header of more than 4096 bytes"),
    ] {
        let before = ratoon.all_logged("connection turned away", &[("why", why.into())]).len();
        let mut client = client(ratoon.address(), &[&bytes, REQUEST.as_bytes()].concat());
        assert_eq!(client.until_closed().as_deref(), Some(&b""[..]), "{why}");
        let told = || ratoon.all_logged("connection turned away", &[("why", why.into())]).len();
        eventually(&format!("the log says {why:?}"), SOON, || (told() == before + 1).then_some(()));
    }
    // Half a header and then the end.
    let mut client = client(ratoon.address(), &LINE[..20]);
    client.finish();
    assert_eq!(client.until_closed().as_deref(), Some(&b""[..]));
    ratoon.logged("connection turned away", &[("why", "it ended within its PROXY header".into())]);
    // Whoever only looks whether somebody listens says nothing, and nothing is said of it.
    let before = ratoon.all_logged("connection turned away", &[]).len();
    let mut looker = Client::connect(ratoon.address());
    looker.finish();
    assert_eq!(looker.until_closed().as_deref(), Some(&b""[..]));
    assert_eq!(ratoon.all_logged("connection turned away", &[]).len(), before);
    // Where nobody asked for every one of them, there is one line for many.
    let warned = "turned away: a PROXY header is expected here, from one of trusted_proxies";
    assert_eq!(ratoon.all_logged(warned, &[("level", "WARN".into())]).len(), 1);
    assert_eq!(peer(&mut self::client(ratoon.address(), LINE)).as_deref(), Some("192.0.2.7:51000"));
}

#[test]
fn a_header_is_not_believed_from_anybody_else() {
    let ratoon = Ratoon::serving(
        "[pool.web]\nlisten = [{ address = \"127.0.0.1:0\", proxy_protocol = true }]\n\
         trusted_proxies = [\"192.0.2.1\", \"unix\"]\nworkers = 1\n",
    );
    let mut client = client(ratoon.address(), &[LINE, REQUEST.as_bytes()].concat());
    assert_eq!(client.until_closed().as_deref(), Some(&b""[..]));
    let line = ratoon.logged("turned away: a PROXY header is expected here, from one of trusted_proxies", &[]);
    assert_eq!(line["why"], "it is not from one of trusted_proxies");
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
}

#[test]
fn a_header_where_none_is_expected_is_a_bad_request() {
    let ratoon =
        Ratoon::serving("[pool.web]\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1\"]\nworkers = 1\n");
    for header in [LINE.to_vec(), block(0x21, 0x11, &four())] {
        let mut client = client(ratoon.address(), &[&header, REQUEST.as_bytes()].concat());
        assert_eq!(client.response().status, 400);
    }
}

#[test]
fn the_time_for_a_head_runs_from_the_beginning_and_not_from_the_end_of_a_header() {
    const TIMEOUT: Duration = Duration::from_secs(5);
    const LATE: Duration = Duration::from_secs(4);
    let ratoon = announced("header_timeout = \"5s\"");
    let begun = Instant::now();
    let mut silent = Client::connect(ratoon.address());
    let mut slow = client(ratoon.address(), &LINE[..30]);
    let mut late = Client::connect(ratoon.address());
    std::thread::sleep(LATE);
    late.send(&[LINE, b"GET"].concat());
    // A request has begun: so it is told.
    assert_eq!(late.response().status, 408);
    let passed = begun.elapsed();
    assert!(passed >= TIMEOUT && passed < TIMEOUT + LATE, "{passed:?}");
    for client in [&mut silent, &mut slow] {
        assert_eq!(client.until_closed().as_deref(), Some(&b""[..]));
    }
}

#[test]
fn the_client_whom_a_proxy_named_is_remembered_when_a_connection_changes_hands_and_so_is_that_none_was_named_yet() {
    let ratoon = announced("");
    let [old] = ratoon.ready_workers("web", 1)[..] else { panic!("not one") };
    let before = process::descriptors(old);
    let mut named = client(ratoon.address(), LINE);
    assert_eq!(peer(&mut named).as_deref(), Some("192.0.2.7:51000"));
    let mut half = client(ratoon.address(), &LINE[..25]);
    let mut block_half = client(ratoon.address(), &block(0x21, 0x11, &four())[..13]);
    let mut unnamed = Client::connect(ratoon.address());
    let mut begun = client(ratoon.address(), &[LINE, &REQUEST.as_bytes()[..20]].concat());
    eventually("all are there", SOON, || (process::descriptors(old) == before + 5).then_some(()));

    kill(old, Signal::SIGTERM).unwrap();
    ratoon.logged("gone", &[("pid", old.as_raw().into())]);
    ratoon.ready_workers("web", 1);

    half.send(&LINE[25..]);
    block_half.send(&block(0x21, 0x11, &four())[13..]);
    unnamed.send(LINE);
    for client in [&mut named, &mut half, &mut block_half, &mut unnamed] {
        assert_eq!(peer(client).as_deref(), Some("192.0.2.7:51000"));
    }
    begun.send(&REQUEST.as_bytes()[20..]);
    assert_eq!(begun.response().json()["peer"], "192.0.2.7:51000");
}

/// The address stays the same, so its socket does: the workers of the new generation are told what comes first there.
#[test]
fn headers_are_expected_from_a_reload_on_that_says_so() {
    let config = |announced: bool| {
        format!(
            "{CONTROL}[pool.web]\nlisten = [{{ address = \"127.0.0.1:0\", proxy_protocol = {announced} }}]\n\
             trusted_proxies = [\"127.0.0.1\"]\nworkers = 1\nsettle = \"0s\"\n"
        )
    };
    let ratoon = Ratoon::serving(&config(false));
    let mut kept = Client::connect(ratoon.address());
    let before = peer(&mut kept);
    for announced in [true, false] {
        ratoon.configure(&config(announced));
        let reload =
            crate::harness::ratoon(&["reload", "--socket", ratoon.directory().join("control.sock").to_str().unwrap()]);
        assert!(reload.status.success(), "{reload:?}");
        let header = if announced { LINE } else { b"" };
        let seen = peer(&mut client(ratoon.address(), header)).unwrap();
        assert_eq!(seen == "192.0.2.7:51000", announced, "{seen}");
        // One that was there before is known already.
        assert_eq!(peer(&mut kept), before);
    }
}
