#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

/// A header of version 2.
fn block(command: u8, kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, kind][..], &length, content].concat()
}

fn four() -> Vec<u8> {
    [&[192, 0, 2, 7][..], &[198, 51, 100, 1], &51_000u16.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

fn six() -> Vec<u8> {
    let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let ends = [octets("2001:db8::7"), octets("2001:db8::1")].concat();
    [&ends[..], &51_000u16.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

fn address(text: &str) -> Origin {
    Origin::Address(text.parse().unwrap())
}

/// What all of it says, having said nothing before its last byte, and the same with a request behind it.
#[track_caller]
fn whole(bytes: &[u8]) -> Origin {
    for end in 0..bytes.len() {
        assert_eq!(read(&bytes[..end]), Ok(None), "{end} bytes of {}", bytes.escape_ascii());
    }
    let (origin, length) = read(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    let followed = [bytes, b"GET / HTTP/1.1\r\n"].concat();
    assert_eq!(read(&followed), Ok(Some((origin, length))));
    origin
}

#[test]
fn a_header_says_from_whom_the_connection_comes() {
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_LINE - 16));
    for (text, origin) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n", address("192.0.2.7:51000")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", address("255.255.255.255:65535")),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", address("0.0.0.0:0")),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 51000 443\r\n", address("[2001:db8::7]:51000")),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 51000 443\r\n", address("192.0.2.7:51000")),
        ("PROXY UNKNOWN\r\n", Origin::Socket),
        ("PROXY UNKNOWN 192.0.2.7 198.51.100.1 51000 443\r\n", Origin::Socket),
        (&long, Origin::Socket),
    ] {
        assert_eq!(whole(text.as_bytes()), origin, "{text}");
    }
    let mapped = [&b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07"[..], &six()[16..]].concat();
    for (command, kind, content, origin) in [
        (0x21, 0x11, four(), address("192.0.2.7:51000")),
        (0x21, 0x11, [four(), b"\x04\0\x01beyond what anybody reads".to_vec()].concat(), address("192.0.2.7:51000")),
        (0x21, 0x21, six(), address("[2001:db8::7]:51000")),
        (0x21, 0x21, mapped, address("192.0.2.7:51000")),
        (0x21, 0x21, [six(), vec![0; 4000]].concat(), address("[2001:db8::7]:51000")),
        (0x21, 0x31, vec![b'/'; PATHS], Origin::Unix),
        (0x21, 0x31, vec![0; PATHS + 1], Origin::Unix),
        // Nobody says.
        (0x21, 0x00, vec![], Origin::Socket),
        (0x21, 0x00, vec![1; 30], Origin::Socket),
        (0x21, 0x12, four(), Origin::Socket),
        (0x21, 0x22, six(), Origin::Socket),
        (0x21, 0x32, vec![0; PATHS], Origin::Socket),
        // The proxy for itself, whatever else it says.
        (0x20, 0x00, vec![], Origin::Socket),
        (0x20, 0x11, four(), Origin::Socket),
        (0x20, 0xff, vec![7; 3], Origin::Socket),
    ] {
        assert_eq!(whole(&block(command, kind, &content)), origin, "{command:x} {kind:x} {content:?}");
    }
}

#[test]
fn what_is_no_header_is_refused_with_its_first_wrong_byte() {
    let too_long = format!("PROXY UNKNOWN {}", "f".repeat(LONGEST_LINE));
    for (text, at) in [
        ("GET / HTTP/1.1\r\n", 0),
        ("\x16\x03\x01", 0),
        ("PRI * HTTP/2.0\r\n", 2),
        ("PROXYTCP4 ", 5),
        ("proxy TCP4 ", 0),
        (" PROXY TCP4", 0),
        ("\r\nPROXY", 2),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\n", 43),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\rG", 44),
        ("PROXY \r\n", 7),
        ("PROXY TCP4\r\n", 11),
        ("PROXY TCP5 192.0.2.7 198.51.100.1 51000 443\r\n", 44),
        ("PROXY UNKNOWNS\r\n", 15),
        ("PROXY  TCP4 192.0.2.7 198.51.100.1 51000 443\r\n", 45),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 51000 443 \r\n", 45),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 51000\r\n", 40),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 51000 0443\r\n", 45),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 +510 443\r\n", 43),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n", 44),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n", 41),
        ("PROXY TCP4 192.0.2.7 198.51.100.1  443\r\n", 39),
        ("PROXY TCP4 192.0.2.07 198.51.100.1 51000 443\r\n", 45),
        ("PROXY TCP4 192.0.2.7 198.51.100 51000 443\r\n", 42),
        ("PROXY TCP4 ::1 ::1 51000 443\r\n", 29),
        ("PROXY TCP6 192.0.2.7 198.51.100.1 51000 443\r\n", 44),
        ("PROXY TCP6 [::1] ::1 51000 443\r\n", 31),
        ("PROXY TCP6 fe80::1%lo ::1 51000 443\r\n", 36),
        ("PROXY TCP4 192.0.2.7\t198.51.100.1 51000 443\r\n", 44),
        (&too_long, LONGEST_LINE - 1),
    ] {
        refused_at(text.as_bytes(), at);
    }
    for (bytes, at) in [
        (block(0x22, 0x11, &four()), 12),
        (block(0x11, 0x11, &four()), 12),
        (block(0x00, 0x11, &four()), 12),
        (block(0x21, 0x10, &four()), 13),
        (block(0x21, 0x01, &four()), 13),
        (block(0x21, 0x13, &four()), 13),
        (block(0x21, 0x41, &four()), 13),
        (block(0x21, 0x11, &four()[..11]), 15),
        (block(0x21, 0x21, &six()[..35]), 15),
        (block(0x21, 0x31, &[0; PATHS - 1]), 15),
        (block(0x21, 0x11, &[0; LONGEST - FIXED + 1]), 15),
        (block(0x20, 0x00, &[0; 65_535]), 15),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), 11),
    ] {
        refused_at(&bytes, at);
    }
    let not_text = b"PROXY UNKNOWN \xff\r\n";
    refused_at(not_text, not_text.len() - 1);
}

/// It is refused with the byte at this place, and not before.
#[track_caller]
fn refused_at(bytes: &[u8], at: usize) {
    let shown = bytes.escape_ascii();
    assert_eq!(read(&bytes[..at]), Ok(None), "{at} bytes of {shown}");
    assert!(read(&bytes[..=at]).is_err(), "{} bytes of {shown}", at + 1);
    assert!(read(bytes).is_err(), "{shown}");
}

#[test]
fn no_bytes_make_it_panic_and_none_that_come_later_change_what_was_said() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let headers = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 2001:db8::1 51000 443\r\n".to_vec(),
        b"PROXY UNKNOWN whatever\r\n".to_vec(),
        block(0x21, 0x11, &four()),
        block(0x21, 0x21, &[six(), vec![1; 40]].concat()),
        block(0x21, 0x31, &[b'/'; PATHS]),
        block(0x20, 0x00, &[]),
    ];
    for round in 0..50_000 {
        let mut bytes = headers[random.usize(..headers.len())].clone();
        for _ in 0..random.usize(..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes[at] ^= 1 << random.u8(..8),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, *b"\r\n 0\0\x21"[..].get(random.usize(..6)).unwrap()),
            }
        }
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let verdict = read(&bytes);
        let first = (0..=bytes.len()).map(|end| read(&bytes[..end])).find(|verdict| *verdict != Ok(None));
        // How the bytes are cut makes no difference but for which of two faults is seen first.
        match (verdict, first.unwrap_or(Ok(None))) {
            (Err(_), Err(_)) => {}
            (at_once, bit_by_bit) => assert_eq!(at_once, bit_by_bit, "seed {seed}, round {round}"),
        }
        if let Ok(Some((_, length))) = verdict {
            assert!(length <= bytes.len() && length <= LONGEST, "seed {seed}, round {round}");
        }
    }
}
