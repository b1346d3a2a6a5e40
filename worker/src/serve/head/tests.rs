//! Heads as bytes, and the verdict on them; each read whole, byte by byte, and cut once at every place.

#![allow(clippy::unwrap_used)]

use super::{Framing, Head, HeadReader, MOST_LINES, Refusal};

const LONGEST: usize = 600;

type Verdict = Result<Option<Head>, Refusal>;

/// Reads what has arrived at each of `ends`, and stops at the first verdict, as a connection does.
fn read(bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> Verdict {
    let mut reader = HeadReader::default();
    for end in ends {
        match reader.read(&bytes[..end], LONGEST) {
            Ok(None) => {}
            verdict => return verdict,
        }
    }
    Ok(None)
}

/// The verdict on the whole, which must not depend on how it is cut.
fn verdict(sentence: &str, bytes: &[u8]) -> Verdict {
    let whole = read(bytes, [bytes.len()]);
    assert_eq!(read(bytes, 0..=bytes.len()), whole, "{sentence}: byte by byte");
    for cut in 0..bytes.len() {
        assert_eq!(read(bytes, [cut, bytes.len()]), whole, "{sentence}: cut at {cut}");
    }
    whole
}

/// 200 for a whole head, 100 for one of which more must come, or the status of the refusal.
fn status(sentence: &str, bytes: &[u8]) -> u16 {
    match verdict(sentence, bytes) {
        Ok(Some(_)) => 200,
        Ok(None) => 100,
        Err(refusal) => refusal.status.as_u16(),
    }
}

fn check_lines(table: &[(u16, &str, &str)]) {
    for (expected, sentence, line) in table {
        let head = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(status(sentence, head.as_bytes()), *expected, "{sentence}");
    }
}

fn check_fields(table: &[(u16, &str, &[u8])]) {
    for (expected, sentence, fields) in table {
        let head = [b"POST / HTTP/1.1\r\nHost: a\r\n", *fields, b"\r\n\r\n"].concat();
        assert_eq!(status(sentence, &head), *expected, "{sentence}");
    }
}

fn whole(bytes: &[u8]) -> Head {
    verdict("a whole head", bytes).unwrap().unwrap()
}

#[test]
fn a_request_line_is_three_words_with_one_space_between_them() {
    check_lines(&[
        (200, "the plain form", "GET / HTTP/1.1"),
        (200, "a method nobody has heard of", "BREW / HTTP/1.1"),
        (200, "a method in lower case", "get / HTTP/1.1"),
        (400, "two spaces", "GET  / HTTP/1.1"),
        (400, "two spaces before the version", "GET /  HTTP/1.1"),
        (400, "a tab", "GET\t/ HTTP/1.1"),
        (400, "a space in front", " GET / HTTP/1.1"),
        (400, "a space behind", "GET / HTTP/1.1 "),
        (400, "a fourth word", "GET / HTTP/1.1 x"),
        (400, "no version", "GET /"),
        (400, "no target", "GET HTTP/1.1"),
        (400, "a method with a character that no token has", "G@T / HTTP/1.1"),
        (501, "CONNECT", "CONNECT a:443 HTTP/1.1"),
    ]);
}

#[test]
fn a_version_is_1_1_or_1_0() {
    check_lines(&[
        (200, "1.0", "GET / HTTP/1.0"),
        (505, "1.2", "GET / HTTP/1.2"),
        (505, "0.9", "GET / HTTP/0.9"),
        (505, "2.0", "GET / HTTP/2.0"),
        (505, "the preface of HTTP/2", "PRI * HTTP/2.0"),
        (400, "lower case", "GET / http/1.1"),
        (400, "two digits", "GET / HTTP/1.10"),
        (400, "a leading zero", "GET / HTTP/01.1"),
        (400, "no minor version", "GET / HTTP/1"),
        (400, "another protocol", "GET / HTTPS/1.1"),
        (400, "letters", "GET / HTTP/a.b"),
    ]);
}

#[test]
fn a_target_is_a_path_or_a_url_or_an_asterisk() {
    check_lines(&[
        (200, "a path with a query", "GET /a/b?c=d&e HTTP/1.1"),
        (200, "two slashes", "GET //a HTTP/1.1"),
        (200, "a URL", "GET http://a/b HTTP/1.1"),
        (200, "a URL without a path", "GET http://a HTTP/1.1"),
        (200, "a URL with a query and no path", "GET http://a?b HTTP/1.1"),
        (200, "a URL with a port", "GET HTTPS://a:443/ HTTP/1.1"),
        (200, "a URL with an IPv6 address", "GET http://[::1]:80/ HTTP/1.1"),
        (200, "an asterisk with OPTIONS", "OPTIONS * HTTP/1.1"),
        (400, "an asterisk with another method", "GET * HTTP/1.1"),
        (400, "a relative path", "GET a HTTP/1.1"),
        (400, "a host alone", "GET a:80 HTTP/1.1"),
        (400, "another scheme", "GET ftp://a/ HTTP/1.1"),
        (400, "a URL without a host", "GET http:///b HTTP/1.1"),
        (400, "a URL with a user", "GET http://me@a/ HTTP/1.1"),
        (400, "a URL with a malformed port", "GET http://a:b/ HTTP/1.1"),
        (400, "a fragment", "GET /a#b HTTP/1.1"),
        (400, "a byte that must be percent-encoded", "GET /\u{e9} HTTP/1.1"),
    ]);
}

#[test]
fn a_line_ends_with_a_carriage_return_and_a_line_feed() {
    let table: [(u16, &str, &[u8]); 14] = [
        (200, "an empty line in front", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (200, "two empty lines in front", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "three empty lines in front", b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (100, "no empty line", b"GET / HTTP/1.1\r\nHost: a\r\n"),
        (100, "half an empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\r"),
        (100, "nothing", b""),
        (400, "a line feed in front", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "a line feed after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
        (400, "a line feed after a header", b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
        (400, "a line feed for the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
        (400, "a carriage return in a line", b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"),
        (400, "two carriage returns", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
        (400, "TLS", b"\x16\x03\x01\x02\x00\x01\x00"),
        (400, "a control character before a method that is refused", b"CONNECT a\x01b:1 HTTP/1.1\r\n"),
    ];
    for (expected, sentence, head) in table {
        assert_eq!(status(sentence, head), expected, "{sentence}");
    }
}

#[test]
fn a_header_is_a_token_a_colon_and_text() {
    check_fields(&[
        (200, "white space around the value", b"X: \t a b \t"),
        (200, "no white space", b"X:a"),
        (200, "no value", b"X:"),
        (200, "every character of a token", b"!#$%&'*+-.^_`|~09azAZ: a"),
        (200, "bytes beyond ASCII in the value", b"X: \xff\xe9"),
        (400, "a space before the colon", b"X : a"),
        (400, "a tab before the colon", b"X\t: a"),
        (400, "no name", b": a"),
        (400, "no colon", b"X"),
        (400, "a space in the name", b"X Y: a"),
        (400, "a line that continues another", b"X: a\r\n b"),
        (400, "a first line that continues none", b"\tX: a"),
        (400, "bytes beyond ASCII in the name", b"X\xe9: a"),
        (400, "a character that no token has", b"X(: a"),
        (400, "NUL in the value", b"X: a\0b"),
        (400, "an escape in the value", b"X: \x1b[2J"),
        (400, "DEL in the value", b"X: \x7f"),
        (417, "an expectation nobody knows", b"Expect: miracles"),
        (200, "the expectation that is known", b"Expect: 100-Continue"),
    ]);
}

#[test]
fn a_host_is_there_once_and_well_formed() {
    let hosts: [(u16, &str); 24] = [
        (200, "Host: a"),
        (200, "Host: a.example:8080"),
        (200, "Host: a:"),
        (200, "Host: 127.0.0.1:80"),
        (200, "Host: [::1]"),
        (200, "Host: [2001:db8::1]:443"),
        (200, "Host: a_b"),
        (200, "Host: a%41"),
        (200, "Host:"),
        (400, "X: a"),
        (400, "Host: a\r\nHost: a"),
        (400, "Host: a\r\nhOST: b"),
        (400, "Host: a, b"),
        (400, "Host: a b"),
        (400, "Host: a/b"),
        (400, "Host: me@a"),
        (400, "Host: http://a"),
        (400, "Host: a:b"),
        (400, "Host: a:65536"),
        (400, "Host: a:80:80"),
        (400, "Host: ::1"),
        (400, "Host: [::1"),
        (400, "Host: [a]"),
        (400, "Host: a%4"),
    ];
    for (expected, fields) in hosts {
        let head = format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n");
        assert_eq!(status(fields, head.as_bytes()), expected, "{fields}");
    }
    assert_eq!(status("no Host in HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(status("no Host beside a URL", b"GET http://a/ HTTP/1.1\r\n\r\n"), 400);
}

#[test]
fn what_frames_a_body_is_said_once() {
    check_fields(&[
        (400, "a length twice", b"Content-Length: 1\r\nContent-Length: 1"),
        (400, "two lengths", b"Content-Length: 1\r\nContent-Length: 2"),
        (400, "a list of lengths", b"Content-Length: 1, 1"),
        (400, "no length", b"Content-Length:"),
        (400, "a sign", b"Content-Length: +1"),
        (400, "a negative length", b"Content-Length: -1"),
        (400, "a hexadecimal length", b"Content-Length: 0x1"),
        (400, "digits with a space between", b"Content-Length: 1 1"),
        (400, "a length beyond 64 bits", b"Content-Length: 18446744073709551616"),
        (400, "a length and chunks", b"Content-Length: 1\r\nTransfer-Encoding: chunked"),
        (400, "chunks and a length", b"Transfer-Encoding: chunked\r\nContent-Length: 1"),
        (400, "a length and an unknown coding", b"Content-Length: 1\r\nTransfer-Encoding: x"),
        (400, "chunked twice", b"Transfer-Encoding: chunked, chunked"),
        (400, "chunked on two lines", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        (400, "a coding after chunked", b"Transfer-Encoding: chunked, gzip"),
        (400, "a coding after chunked, on another line", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip"),
        (400, "no coding", b"Transfer-Encoding:"),
        (400, "an empty member", b"Transfer-Encoding: , chunked"),
        (400, "an empty last member", b"Transfer-Encoding: chunked,"),
        (400, "a parameter of chunked", b"Transfer-Encoding: chunked;a=b"),
        (400, "chunked in quotation marks", b"Transfer-Encoding: \"chunked\""),
        (400, "chunked behind a vertical tab", b"Transfer-Encoding: \x0bchunked"),
        (501, "a coding before chunked", b"Transfer-Encoding: gzip, chunked"),
        (501, "an unknown coding", b"Transfer-Encoding: xchunked"),
    ]);
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(status("chunks in HTTP/1.0", old), 400);
}

#[test]
fn what_frames_a_body_is_found() {
    let framing = |fields: &str| whole(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).framing;
    assert_eq!(framing(""), Framing::Length(0));
    assert_eq!(framing("content-LENGTH: 007\r\n"), Framing::Length(7));
    assert_eq!(framing("Content-Length: 18446744073709551615\r\n"), Framing::Length(u64::MAX));
    assert_eq!(framing("transfer-encoding: CHUNKED\r\n"), Framing::Chunked);
}

#[test]
fn a_connection_is_kept_as_its_version_says() {
    let kept = |version: &str, fields: &str| {
        whole(format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n").as_bytes()).keep_alive
    };
    assert!(kept("1.1", ""));
    assert!(!kept("1.1", "Connection: close\r\n"));
    assert!(!kept("1.1", "Connection: keep-alive, Close\r\n"));
    assert!(!kept("1.1", "Connection: a\r\nConnection: close\r\n"));
    assert!(!kept("1.0", ""));
    assert!(kept("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!kept("1.0", "Connection: keep-alive\r\nConnection: close\r\n"));
}

#[test]
fn a_head_ends_where_the_next_bytes_begin() {
    let request = b"\r\nHEAD /a HTTP/1.0\r\nX: y\r\n\r\n";
    let head = whole(&[&request[..], b"GET / HT"].concat());
    assert_eq!((head.start, head.end, head.line), (2, request.len(), b"HEAD /a HTTP/1.0".len()));
    assert!(head.old && head.is_head);
}

#[test]
fn a_line_too_long_is_414_and_a_head_too_long_is_431() {
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(length - 16));
    let rest = "Host: a\r\n\r\n";
    let fits = line(LONGEST - rest.len()) + rest;
    assert_eq!(status("a head as long as it may be", fits.as_bytes()), 200);
    let table = [
        (431, "a head that is longer by one byte", line(LONGEST - rest.len() + 1) + rest),
        (100, "a line as long as a head may be", line(LONGEST)),
        (414, "a line that is longer by one byte", line(LONGEST + 1)),
        (414, "a line that does not end", line(LONGEST + 3).trim_end().to_owned()),
        (414, "a control character beyond the limit", line(LONGEST + 3).trim_end().to_owned() + "\0"),
        (431, "a header that does not end", line(20) + "X: " + &"a".repeat(LONGEST)),
        (431, "a line feed beyond the limit", line(20) + "X: " + &"a".repeat(LONGEST) + "\n"),
        (431, "headers that do not end", line(20) + &"X: a\r\n".repeat(LONGEST / 6)),
        (431, "too many headers", line(20) + &"a:\r\n".repeat(MOST_LINES + 1)),
        (
            200,
            "as many headers as there may be",
            line(20) + rest.trim() + "\r\n" + &"a:\r\n".repeat(MOST_LINES - 1) + "\r\n",
        ),
    ];
    for (expected, sentence, head) in table {
        assert_eq!(status(sentence, head.as_bytes()), expected, "{sentence}");
    }
}

/// Heads made of the pieces that matter, at random: however they are cut, the verdict is the same.
#[test]
fn how_a_head_is_cut_changes_nothing() {
    const PIECES: [&[u8]; 24] = [
        b"GET",
        b"HEAD",
        b"CONNECT",
        b" ",
        b"/",
        b"http://a",
        b"HTTP/1.1",
        b"HTTP/2.0",
        b"\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"\t",
        b"Host: a\r\n",
        b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"X: y\r\n",
        b":",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"\xff",
        &[b'a'; LONGEST / 2],
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..2000 {
        let mut head = Vec::new();
        for _ in 0..8 {
            // Xorshift: as random as this needs, and the same in every run.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            head.extend_from_slice(PIECES[(seed >> 32) as usize % PIECES.len()]);
        }
        let _ = verdict(&String::from_utf8_lossy(&head), &head);
    }
}
