//! Well-formed requests, and what becomes of them.

use fastrand::Rng;

const PATHS: [&str; 6] = ["/hello", "/echo", "/headers?a=b", "/nothing", "http://a.test/hello", "/"];
const HEADERS: [&str; 12] = [
    "X-One: 1",
    "Accept: */*",
    "Connection: keep-alive",
    "Connection: x-one",
    "Cookie: a=b; c=\"d\"",
    "Content-Type: text/plain",
    "TE: trailers",
    "Expect: 100-continue",
    "User-Agent: m\u{fc}ller/1.0 (a; b)",
    "X-Empty:",
    "Content-Lengths: 7",
    "Transfer_Encoding: chunked",
];

/// Bytes that mean something somewhere, or must not be.
const STRANGE: &[u8] = b"\0\t\n\r :;,/019afx\x7f\xff";

/// One to three requests, one after the other.
pub fn requests(rng: &mut Rng) -> Vec<u8> {
    (0..rng.usize(1..=3)).flat_map(|_| request(rng)).collect()
}

fn request(rng: &mut Rng) -> Vec<u8> {
    let method = ["GET", "POST", "HEAD"][rng.usize(..3)];
    let path = if method == "POST" { "/echo" } else { PATHS[rng.usize(..PATHS.len())] };
    let version = if rng.u8(..8) == 0 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut lines = vec![format!("Host: {}", ["a", "a.test:80", "[::1]", ""][rng.usize(..4)])];
    for _ in 0..rng.usize(..4) {
        lines.push(HEADERS[rng.usize(..HEADERS.len())].to_owned());
    }
    let body: Vec<u8> = (0..rng.usize(..40)).map(|_| b"abc\r\n05;:, "[rng.usize(..11)]).collect();
    let chunked = version == "HTTP/1.1" && rng.bool();
    let tail = match (method, chunked) {
        ("POST", true) => {
            lines.push("Transfer-Encoding: chunked".to_owned());
            chunks(rng, &body)
        }
        ("POST", false) => {
            lines.push(format!("Content-Length: {}", body.len()));
            body
        }
        _ => Vec::new(),
    };
    rng.shuffle(&mut lines);
    let head = format!("{method} {path} {version}\r\n{}\r\n\r\n", lines.join("\r\n"));
    [head.as_bytes(), &tail].concat()
}

fn chunks(rng: &mut Rng, mut body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !body.is_empty() {
        let (piece, rest) = body.split_at(rng.usize(1..=body.len()));
        let extension =
            ["", ";a", ";a=b", "; a=\"b;c\"", " ;a"][rng.usize(..5).saturating_mul(usize::from(rng.bool()))];
        bytes.extend_from_slice(format!("{:x}{extension}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
        body = rest;
    }
    bytes.extend_from_slice(["0\r\n\r\n", "0\r\nX: y\r\n\r\n", "000;a\r\n\r\n"][rng.usize(..3)].as_bytes());
    bytes
}

/// Something happens to them, or nothing.
pub fn mutate(rng: &mut Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..[0, 1, 1, 1, 1, 2, 2, 3][rng.usize(..8)] {
        if bytes.is_empty() {
            break;
        }
        let place = rng.usize(..bytes.len());
        match rng.u8(..12) {
            0 => bytes[place] ^= 1 << rng.u8(..8),
            1 => bytes[place] = STRANGE[rng.usize(..STRANGE.len())],
            2 => _ = bytes.remove(place),
            3 => bytes.insert(place, STRANGE[rng.usize(..STRANGE.len())]),
            4 => {
                let end = rng.usize(place..=bytes.len().min(place + 40));
                let again = bytes[place..end].to_vec();
                bytes.splice(place..place, again);
            }
            5 => line_ends(rng, &mut bytes),
            6 | 7 => lines(rng, &mut bytes),
            8 | 9 => digits(rng, &mut bytes),
            10 => bytes.truncate(place),
            _ => {
                let other = requests(rng);
                let from = rng.usize(..other.len());
                bytes.truncate(place);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

/// One CRLF becomes something like it.
fn line_ends(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let places: Vec<usize> = (1..bytes.len()).filter(|place| bytes[place - 1..=*place] == *b"\r\n").collect();
    if let Some(place) = rng.choice(places) {
        let other: [&[u8]; 8] = [b"\n", b"\r", b"\r\r\n", b"\r\n\r\n", b"", b"\n\r", b"\r\n ", b" \r\n"];
        bytes.splice(place - 1..=place, other[rng.usize(..8)].iter().copied());
    }
}

/// A header is doubled, left out, or joined by one that frames another body.
fn lines(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let starts: Vec<usize> = (2..bytes.len()).filter(|place| bytes[place - 2..*place] == *b"\r\n").collect();
    let Some(start) = rng.choice(starts) else { return };
    let end = bytes[start..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |found| start + found + 1);
    let line = bytes[start..end].to_vec();
    let framing: [&[u8]; 10] = [
        b"Content-Length: 3\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 99999999\r\n",
        b"Content-Length: 4, 4\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: , chunked\r\n",
        b"Connection: close\r\n",
        b"Host: b\r\n",
        b"Expect: more\r\n",
    ];
    match rng.u8(..4) {
        0 => _ = bytes.splice(start..start, line),
        1 => _ = bytes.drain(start..end),
        _ => _ = bytes.splice(start..start, framing[rng.usize(..10)].iter().copied()),
    }
}

/// A number becomes another.
fn digits(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let places: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place].is_ascii_hexdigit()).collect();
    let Some(place) = rng.choice(places) else { return };
    let other: [&[u8]; 10] =
        [b"0", b"1", b"9", b"00", b"-1", b"+1", b"0x1", b"ffffffffffffffff", b"18446744073709551617", b"1 "];
    bytes.splice(place..=place, other[rng.usize(..10)].iter().copied());
}
