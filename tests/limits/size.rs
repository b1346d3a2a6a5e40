//! What is too long is refused with a status of its own, and the client can read it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::is_refused;
use crate::harness::{Client, Ratoon};

const SMALL: &str = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\nmax_header = \"2KiB\"\nmax_body = \"1MiB\"\n";
const MIB: usize = 1024 * 1024;

#[test]
fn a_body_as_long_as_the_limit_is_taken_and_one_byte_more_is_refused_by_its_length() {
    let ratoon = Ratoon::serving(SMALL);
    let mut client = Client::connect(ratoon.address());
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n").as_bytes());
    client.send(&vec![b'x'; MIB]);
    assert_eq!(client.response().body.len(), MIB);
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", MIB + 1).as_bytes());
    is_refused(&mut client, 413);
    let mut client = Client::connect(ratoon.address());
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", u64::MAX).as_bytes());
    is_refused(&mut client, 413);
}

#[test]
fn a_body_in_chunks_is_refused_where_it_exceeds_the_limit() {
    let ratoon = Ratoon::serving(SMALL);
    let mut client = Client::connect(ratoon.address());
    let send = |client: &mut Client, length: usize| {
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let _ =
            client.try_send(&[format!("{length:x}\r\n").as_bytes(), &vec![b'x'; length], b"\r\n0\r\n\r\n"].concat());
    };
    send(&mut client, MIB);
    assert_eq!(client.response().body.len(), MIB);
    send(&mut client, MIB + 1);
    is_refused(&mut client, 413);
    let mut client = Client::connect(ratoon.address());
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let piece = [b"100\r\n".as_slice(), &[b'x'; 256], b"\r\n"].concat();
    for _ in 0..=MIB / 256 {
        client.send(&piece);
    }
    is_refused(&mut client, 413);
}

/// Uploads without looking at the answer before all is sent or the server no longer takes it; yields the answer, and
/// how much was not taken.
fn upload_blindly(ratoon: &Ratoon, head: &str, length: usize) -> (String, usize) {
    let mut stream = TcpStream::connect(ratoon.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'x'; 64 * 1024];
    let mut left = length;
    while left > 0 {
        match stream.write(&piece[..left.min(piece.len())]) {
            Ok(written) => left -= written,
            Err(_) => break,
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (String::from_utf8_lossy(&answer).into_owned(), left)
}

#[test]
fn a_client_that_is_still_uploading_can_read_why_it_is_refused() {
    let ratoon = Ratoon::serving(SMALL);
    for length in [8 * MIB, 20 * MIB] {
        let by_length = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let by_chunks = format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n");
        for head in [by_length, by_chunks] {
            let (answer, left) = upload_blindly(&ratoon, &head, length);
            assert!(answer.starts_with("HTTP/1.1 413 "), "{head}{answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
            // Some of what is refused is taken and thrown away: to many a client, an error while it sends is the end.
            assert!(length > 8 * MIB || left == 0, "{head}: {left} bytes were not taken");
        }
    }
}

#[test]
fn no_body_at_all_is_taken_where_the_limit_is_zero() {
    let ratoon = Ratoon::serving("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nmax_body = \"0B\"\n");
    let mut client = Client::connect(ratoon.address());
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    is_refused(&mut client, 413);
}

#[test]
fn a_request_line_beyond_the_limit_is_a_414_even_if_it_never_ends() {
    let ratoon = Ratoon::serving(SMALL);
    for end in [" HTTP/1.1\r\nHost: a\r\n\r\n", ""] {
        let mut client = Client::connect(ratoon.address());
        client.send(format!("GET /{}{end}", "a".repeat(3000)).as_bytes());
        is_refused(&mut client, 414);
    }
    let mut client = Client::connect(ratoon.address());
    client.dribble(format!("GET /{}", "a".repeat(3000)).as_bytes());
    is_refused(&mut client, 414);
    let mut client = Client::connect(ratoon.address());
    client.send(format!("GET /headers?{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1900)).as_bytes());
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_head_beyond_the_limit_is_a_431_by_its_length_or_by_the_number_of_its_lines() {
    let ratoon = Ratoon::serving(SMALL);
    let long_value = format!("GET /hello HTTP/1.1\r\nHost: a\r\nX: {}", "b".repeat(3000));
    let long_name = format!("GET /hello HTTP/1.1\r\nHost: a\r\n{}", "b".repeat(3000));
    let many = format!("GET /hello HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(100));
    for head in [&long_value, &long_name, &many, &format!("{long_value}\r\n\r\n"), &format!("{many}\r\n")] {
        let mut client = Client::connect(ratoon.address());
        let _ = client.try_send(head.as_bytes());
        is_refused(&mut client, 431);
        let mut client = Client::connect(ratoon.address());
        client.dribble(head.as_bytes());
        is_refused(&mut client, 431);
    }
    let mut client = Client::connect(ratoon.address());
    client.send(format!("GET /hello HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(99)).as_bytes());
    assert_eq!(client.response().status, 200);
}

#[test]
fn the_limit_of_a_head_counts_for_each_request_of_a_connection_anew() {
    let ratoon = Ratoon::serving(SMALL);
    let mut client = Client::connect(ratoon.address());
    let request = format!("GET /hello HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "b".repeat(1500));
    client.send(request.repeat(20).as_bytes());
    for _ in 0..20 {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn what_stands_between_and_behind_chunks_is_bounded_too() {
    let ratoon = Ratoon::serving(SMALL);
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = format!("{head}1;{}", "a".repeat(100_000));
    let extensions = format!("{head}{}", format!("1;{}\r\nx\r\n", "a".repeat(60)).repeat(1000));
    let trailer = format!("{head}0\r\nX: {}", "y".repeat(100_000));
    let trailers = format!("{head}0\r\n{}", "X: y\r\n".repeat(10_000));
    for request in [extension, extensions, trailer, trailers] {
        let mut client = Client::connect(ratoon.address());
        let _ = client.try_send(request.as_bytes());
        is_refused(&mut client, 431);
    }
}
