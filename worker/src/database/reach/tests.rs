use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use super::*;
use crate::protocol::{DatabaseRules, Secret};

fn target(url: &str) -> Target {
    Target::of(&DatabaseRules::at(Secret::new(url))).unwrap()
}

fn soon() -> u64 {
    clock::now() + 20_000_000_000
}

/// A port where somebody listens, and one where nobody does.
fn ports() -> (TcpListener, u16, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let live = listener.local_addr().unwrap().port();
    (listener, live, dead)
}

#[test]
fn a_place_where_nobody_listens_is_passed_over() {
    let (_listener, live, dead) = ports();
    let target = target(&format!("postgres://127.0.0.1:{dead},127.0.0.1:{live}/?sslmode=disable"));
    let reached = target.open_each(soon(), |opened, place| {
        assert!(matches!(opened.stream, Stream::Plain(_)));
        Ok(place.to_string())
    });
    assert_eq!(reached, Ok(format!("127.0.0.1:{live}")));
}

#[test]
fn each_attempt_is_named_with_its_reason() {
    let (_listener, live, dead) = ports();
    let target = target(&format!("postgres://127.0.0.1:{dead},127.0.0.1:{live}/?sslmode=disable"));
    let nowhere = target.open_each(soon(), |_, _| Err::<(), _>(AttemptError::Next("it is read-only".into())));
    let said = nowhere.unwrap_err().to_string();
    assert_eq!(said, format!("127.0.0.1:{dead}: Connection refused; 127.0.0.1:{live}: it is read-only"));
}

#[test]
fn what_would_be_the_same_anywhere_is_tried_once() {
    let (_listener, live, dead) = ports();
    let target = target(&format!("postgres://127.0.0.1:{live},127.0.0.1:{dead}/?sslmode=disable"));
    let refused = target.open_each(soon(), |_, _| Err::<(), _>(AttemptError::Stop("wrong password".into())));
    assert_eq!(refused.unwrap_err().to_string(), format!("127.0.0.1:{live}: wrong password"));
}

#[test]
fn one_of_two_places_has_half_of_the_time_and_the_last_all_that_is_left() {
    let (_listener, live, _) = ports();
    let target = target(&format!("postgres://127.0.0.1:{live},127.0.0.1:{live}/?sslmode=disable"));
    let (begun, end) = (clock::now(), soon());
    let mut ends = Vec::new();
    let _ = target.open_each(end, |opened, _| {
        ends.push(opened.until);
        Err::<(), _>(AttemptError::Next(String::new()))
    });
    assert!(begun < ends[0] && ends[0] <= end.midpoint(clock::now()), "{ends:?}");
    assert_eq!(ends[1], end);
}

#[test]
fn a_server_that_never_says_whether_it_has_tls_is_left_in_time() {
    let (_listener, live, dead) = ports();
    let target = target(&format!("postgres://127.0.0.1:{live},127.0.0.1:{dead}"));
    let until = clock::now() + 100_000_000;
    let nowhere = target.open_each(until, |_, _| Ok(())).unwrap_err().to_string();
    assert!(nowhere.contains("no answer to the question for TLS in time; "), "{nowhere}");
    assert!(nowhere.ends_with("Connection refused"), "{nowhere}");
}

#[test]
fn a_unix_socket_is_a_place_and_never_asked_for_tls() {
    let directory = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
    let target = target(&format!("host={} sslmode=verify-full", directory.path().display()));
    assert_eq!(target.open_each(soon(), |opened, _| Ok(matches!(opened.stream, Stream::Plain(_)))), Ok(true));
}

#[test]
fn a_peer_over_tcp_is_watched() {
    let (_listener, live, _) = ports();
    let mut target = target(&format!("postgres://127.0.0.1:{live}/?sslmode=disable"));
    target.tcp_user_timeout = 9_000;
    let options = target.open_each(soon(), |opened, _| {
        let Stream::Plain(socket) = opened.stream else { return Err(AttemptError::Stop("TLS".into())) };
        let asked =
            (getsockopt(&socket, TcpUserTimeout), getsockopt(&socket, TcpKeepIdle), getsockopt(&socket, KeepAlive));
        Ok((asked, getsockopt(&socket, TcpNoDelay)))
    });
    assert_eq!(options, Ok(((Ok(9_000), Ok(3), Ok(true)), Ok(true))));
}
