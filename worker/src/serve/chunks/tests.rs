//! Chunked bodies as bytes, and what becomes of them; each read whole, byte by byte, and cut once at every place.

#![allow(clippy::unwrap_used)]

use super::{ChunkReader, EXTRAS, Expects};

const LONGEST: u64 = 1000;

/// 200 for a body that is whole, 100 for one of which more must come, or the status of the refusal.
fn verdict<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> u16 {
    let mut reader = ChunkReader::new(0, LONGEST);
    for piece in pieces {
        if let Err(refusal) = reader.read(piece) {
            return refusal.status.as_u16();
        }
    }
    if reader.expects == Expects::Nothing { 200 } else { 100 }
}

fn check(expected: u16, table: &[(&str, &[u8])]) {
    for (sentence, body) in table {
        assert_eq!(verdict(std::iter::once(*body)), expected, "{sentence}: whole");
        assert_eq!(verdict(body.chunks(1)), expected, "{sentence}: byte by byte");
        for cut in 0..body.len() {
            let (front, back) = body.split_at(cut);
            assert_eq!(verdict([front, back].into_iter()), expected, "{sentence}: cut at {cut}");
        }
    }
}

#[test]
fn what_the_grammar_allows_is_taken() {
    check(
        200,
        &[
            ("a body of no chunk", b"0\r\n\r\n"),
            ("one chunk", b"5\r\nhello\r\n0\r\n\r\n"),
            ("two chunks", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
            ("a size in either case", b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
            ("leading zeros", b"00000000000000000005\r\nhello\r\n000\r\n\r\n"),
            ("data that looks like an end", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
            ("an extension without a value", b"5;name\r\nhello\r\n0\r\n\r\n"),
            ("an extension with a token", b"5;name=value\r\nhello\r\n0\r\n\r\n"),
            ("an extension with a quoted string", b"5;name=\"a; \\\"b\\\"\"\r\nhello\r\n0\r\n\r\n"),
            ("extensions with white space between them", b"5 ; a = b ; c\r\nhello\r\n0;d\r\n\r\n"),
            ("a trailer", b"5\r\nhello\r\n0\r\nChecksum: 1\r\n\r\n"),
            ("two trailers", b"0\r\na: 1\r\nb:\r\n\r\n"),
            ("the next request, whatever it is", b"0\r\n\r\n\x00\n\n"),
        ],
    );
}

#[test]
fn what_is_cut_short_waits_for_more() {
    check(
        100,
        &[
            ("nothing", b""),
            ("a size", b"5"),
            ("a size line without its end", b"5\r"),
            ("half a chunk", b"5\r\nhel"),
            ("a chunk without its line end", b"5\r\nhello"),
            ("no last chunk", b"5\r\nhello\r\n"),
            ("no empty line", b"0\r\n"),
            ("half an empty line", b"0\r\n\r"),
            ("a trailer and no empty line", b"0\r\na: 1\r\n"),
        ],
    );
}

#[test]
fn what_another_reader_might_frame_otherwise_is_refused() {
    check(
        400,
        &[
            ("no size", b"\r\nhello\r\n0\r\n\r\n"),
            ("a size that is none", b"x\r\n"),
            ("a size in C's hexadecimal", b"0x5\r\nhello\r\n0\r\n\r\n"),
            ("a sign", b"+5\r\nhello\r\n0\r\n\r\n"),
            ("a minus", b"-1\r\n"),
            ("an underscore", b"1_0\r\n"),
            ("a space before the size", b" 5\r\nhello\r\n0\r\n\r\n"),
            ("a space after the size", b"5 \r\nhello\r\n0\r\n\r\n"),
            ("a tab after the last size", b"5\r\nhello\r\n0\t\r\n\r\n"),
            ("a size beyond 64 bits", b"10000000000000000\r\n"),
            ("a size line that ends in a bare LF", b"5\nhello\r\n0\r\n\r\n"),
            ("a size line with a bare CR", b"5\rX\nhello\r\n0\r\n\r\n"),
            ("a chunk longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
            ("a chunk shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
            ("a chunk that ends in a bare LF", b"5\r\nhello\n0\r\n\r\n"),
            ("a chunk that ends in a bare CR", b"5\r\nhello\r0\r\n\r\n"),
            ("an extension without a name", b"5;\r\nhello\r\n0\r\n\r\n"),
            ("an extension that is no token", b"5;a/b\r\nhello\r\n0\r\n\r\n"),
            ("an extension without its value", b"5;a=\r\nhello\r\n0\r\n\r\n"),
            ("an extension with a space behind it", b"5;a \r\nhello\r\n0\r\n\r\n"),
            ("a quoted string without its end", b"5;a=\"b\r\nhello\r\n0\r\n\r\n"),
            ("a quoted string with an escaped end", b"5;a=\"b\\\"\r\nhello\r\n0\r\n\r\n"),
            ("more behind a quoted string", b"5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"),
            ("an extension with a bare LF", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
            ("an extension with a NUL", b"5;\x00\r\nhello\r\n0\r\n\r\n"),
            ("a bare LF for the empty line", b"0\r\n\n"),
            ("a bare LF and a request behind the last chunk", b"0\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("a trailer that ends in a bare LF", b"0\r\na: 1\n\r\n\r\n"),
            ("a trailer without a colon", b"0\r\na\r\n\r\n"),
            ("a trailer with a space before its colon", b"0\r\na : 1\r\n\r\n"),
            ("a trailer that is continued", b"0\r\na: 1\r\n b\r\n\r\n"),
            ("a trailer with a NUL", b"0\r\na: \x00\r\n\r\n"),
        ],
    );
}

#[test]
fn what_is_too_long_is_refused_when_it_is_announced() {
    let long = |front: &str, length: usize| [front.as_bytes(), &vec![b'a'; length]].concat();
    check(
        413,
        &[
            ("a chunk longer than the longest body", b"3e9\r\n"),
            ("two chunks that are together", b"1\r\nx\r\n3e8\r\n"),
            ("the largest size there is", b"ffffffffffffffff\r\n"),
        ],
    );
    for (sentence, body) in [
        ("an extension without end", long("5;", EXTRAS + 100)),
        ("a size without end", vec![b'0'; EXTRAS + 100]),
        ("a trailer without end", long("0\r\na:", EXTRAS + 100)),
        (
            "extensions without end",
            long("1;", EXTRAS / 2).into_iter().chain(*b"\r\nx\r\n").collect::<Vec<_>>().repeat(3),
        ),
        ("trailers without end", [b"0\r\n".to_vec(), b"a: b\r\n".repeat(EXTRAS)].concat()),
    ] {
        assert_eq!(verdict(std::iter::once(&body[..])), 431, "{sentence}: whole");
        assert_eq!(verdict(body.chunks(1)), 431, "{sentence}: byte by byte");
    }
}

#[test]
fn the_head_in_front_is_let_through() {
    let mut reader = ChunkReader::new(3, LONGEST);
    reader.read(b"\x00\n").unwrap();
    reader.read(b"\x010\r\n\r\n").unwrap();
    assert_eq!(reader.expects, Expects::Nothing);
}
