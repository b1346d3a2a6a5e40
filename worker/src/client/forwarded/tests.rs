#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use super::*;
use crate::protocol::{Forwarded, Proxies};

/// Our proxies are at 10.0.0.0/8 and 2001:db8:10::/48; whoever is on a Unix socket is one, too.
fn believed(forwarded: Forwarded, peer: Option<&str>, headers: &[(&'static str, &[u8])]) -> String {
    let networks = ["10.0.0.0/8", "2001:db8:10::/48"].map(|text| text.parse().unwrap()).to_vec();
    let proxies = Proxies { trusted: Trusted { networks, unix: true }, announced: Vec::new(), forwarded };
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    let client = Client::of(&map, peer.map(|text| text.parse::<SocketAddr>().unwrap()), false, &proxies);
    let ip = client.ip().map_or_else(|| "unix".to_owned(), |ip| ip.to_string());
    let port = client.port().map_or_else(String::new, |port| format!("#{port}"));
    format!("{ip}{port} {}://{}", client.scheme(), client.host().unwrap_or_default())
}

const PROXY: Option<&str> = Some("10.0.0.1:4000");

#[track_caller]
fn assert_for(lines: &[&str], address: &str) {
    let headers: Vec<(&'static str, &[u8])> = lines.iter().map(|line| ("x-forwarded-for", line.as_bytes())).collect();
    assert_eq!(believed(Forwarded::XForwarded, PROXY, &headers), format!("{address} http://"), "{lines:?}");
}

#[test]
fn the_list_is_read_from_its_end_as_far_as_trusted_proxies_have_written_it() {
    for (lines, address) in [
        (&[][..], "10.0.0.1#4000"),
        (&["192.0.2.7"], "192.0.2.7"),
        (&["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        (&["6.6.6.6,192.0.2.7,10.0.0.2 ,\t10.0.0.3"], "192.0.2.7"),
        (&["6.6.6.6, 192.0.2.7", "10.0.0.2"], "192.0.2.7"),
        (&["192.0.2.7", "6.6.6.6"], "6.6.6.6"),
        (&["10.6.6.6, 192.0.2.7"], "192.0.2.7"),
        // All of them ours: the client is the outermost.
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (&["2001:db8:10::2, 10.0.0.2"], "2001:db8:10::2"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["[2001:db8::7]"], "2001:db8::7"),
        (&["[2001:db8::7]:4711"], "2001:db8::7#4711"),
        (&["192.0.2.7:4711"], "192.0.2.7#4711"),
        (&["192.0.2.7:0"], "192.0.2.7#0"),
        (&["::ffff:192.0.2.7"], "192.0.2.7"),
        (&["6.6.6.6, ::ffff:10.0.0.2"], "6.6.6.6"),
        (&[", ,192.0.2.7,, "], "192.0.2.7"),
        // What cannot be read ends it, with whoever said so.
        (&["unknown"], "10.0.0.1#4000"),
        (&["192.0.2.7, unknown"], "10.0.0.1#4000"),
        (&["192.0.2.7, _hidden, 10.0.0.2"], "10.0.0.2"),
        (&["192.0.2.7, 10.0.0.2, "], "192.0.2.7"),
        (&["unix:"], "10.0.0.1#4000"),
        (&["192.0.2.07"], "10.0.0.1#4000"),
        (&["192.0.2.7:"], "10.0.0.1#4000"),
        (&["192.0.2.7:65536"], "10.0.0.1#4000"),
        (&["192.0.2.7:+80"], "10.0.0.1#4000"),
        (&["192.0.2.7:00080"], "192.0.2.7#80"),
        (&["192.0.2.7:000080"], "10.0.0.1#4000"),
        (&["192.0.2.7:80:80"], "10.0.0.1#4000"),
        (&["192.0.2.7 6.6.6.6"], "10.0.0.1#4000"),
        (&["\"192.0.2.7\""], "10.0.0.1#4000"),
        (&["[192.0.2.7]"], "10.0.0.1#4000"),
        (&["[2001:db8::7"], "10.0.0.1#4000"),
        (&["2001:db8::7]"], "10.0.0.1#4000"),
        (&["[2001:db8::7]x"], "10.0.0.1#4000"),
        (&["fe80::1%eth0"], "10.0.0.1#4000"),
        (&["client.example"], "10.0.0.1#4000"),
        (&["for=192.0.2.7"], "10.0.0.1#4000"),
        (&["\u{ff11}92.0.2.7"], "10.0.0.1#4000"),
    ] {
        assert_for(lines, address);
    }
    let huge = format!("{}192.0.2.7", "10.0.0.2, ".repeat(100_000));
    assert_for(&[&format!("6.6.6.6, {huge}")], "192.0.2.7");
    assert_for(&vec!["10.0.0.2"; 10_000], "10.0.0.2");
}

#[test]
fn nobody_is_believed_who_is_not_trusted_and_no_header_that_was_not_chosen() {
    let headers: [(&str, &[u8]); 5] = [
        ("x-forwarded-for", b"192.0.2.7"),
        ("x-forwarded-proto", b"https"),
        ("x-forwarded-host", b"shop.example"),
        ("forwarded", b"for=192.0.2.8;proto=https;host=other.example"),
        ("host", b"inner:80"),
    ];
    for (forwarded, peer, seen) in [
        (Forwarded::XForwarded, Some("192.0.2.1:5"), "192.0.2.1#5 http://inner:80"),
        (Forwarded::Forwarded, Some("192.0.2.1:5"), "192.0.2.1#5 http://inner:80"),
        (Forwarded::Off, PROXY, "10.0.0.1#4000 http://inner:80"),
        (Forwarded::XForwarded, PROXY, "192.0.2.7 https://shop.example"),
        (Forwarded::Forwarded, PROXY, "192.0.2.8 https://other.example"),
        (Forwarded::XForwarded, None, "192.0.2.7 https://shop.example"),
        (Forwarded::Off, None, "unix http://inner:80"),
    ] {
        assert_eq!(believed(forwarded, peer, &headers), seen, "{forwarded:?} {peer:?}");
    }
}

#[test]
fn the_last_scheme_and_host_count_and_only_if_they_are_such() {
    for (proto, host, seen) in [
        (&["https"][..], &["shop.example:8443"][..], "10.0.0.1#4000 https://shop.example:8443"),
        (&["HTTPS"], &["[2001:db8::1]:443"], "10.0.0.1#4000 https://[2001:db8::1]:443"),
        (&["https, http"], &["evil.example, shop.example"], "10.0.0.1#4000 http://shop.example"),
        (&["http", "https"], &["evil.example", "shop.example"], "10.0.0.1#4000 https://shop.example"),
        (&["javascript"], &["evil.example/path"], "10.0.0.1#4000 http://inner"),
        (&["https, gopher"], &["shop.example, evil example"], "10.0.0.1#4000 http://inner"),
        (&[""], &["user@evil.example"], "10.0.0.1#4000 http://inner"),
        (&["\"https\""], &["\"shop.example\""], "10.0.0.1#4000 http://inner"),
    ] {
        let mut headers: Vec<(&str, &[u8])> = vec![("host", b"inner")];
        headers.extend(proto.iter().map(|value| ("x-forwarded-proto", value.as_bytes())));
        headers.extend(host.iter().map(|value| ("x-forwarded-host", value.as_bytes())));
        assert_eq!(believed(Forwarded::XForwarded, PROXY, &headers), seen, "{proto:?} {host:?}");
    }
}

#[track_caller]
fn assert_forwarded(lines: &[&[u8]], seen: &str) {
    let headers: Vec<(&str, &[u8])> = lines.iter().map(|line| ("forwarded", *line)).collect();
    let shown: Vec<String> = lines.iter().map(|line| line.escape_ascii().to_string()).collect();
    assert_eq!(believed(Forwarded::Forwarded, PROXY, &headers), seen, "{shown:?}");
}

#[test]
fn elements_are_read_as_the_rfc_has_them() {
    for (line, seen) in [
        ("for=192.0.2.7", "192.0.2.7 http://"),
        ("For=192.0.2.7;Proto=HTTPS;by=203.0.113.43;Host=shop.example", "192.0.2.7 https://shop.example"),
        ("for=\"192.0.2.7:4711\"", "192.0.2.7#4711 http://"),
        ("for=\"[2001:db8::7]\"", "2001:db8::7 http://"),
        ("for=\"[2001:db8::7]:4711\";proto=https", "2001:db8::7#4711 https://"),
        ("for=\"192.0.2.7:_internal-4\"", "192.0.2.7 http://"),
        ("for=192.0.2.7:4711", "192.0.2.7#4711 http://"),
        ("proto=https;;for=192.0.2.7;", "192.0.2.7 https://"),
        ("for=192.0.2.7 ; proto=https", "192.0.2.7 https://"),
        ("for=6.6.6.6, for=192.0.2.7;proto=https, for=10.0.0.2;proto=http", "192.0.2.7 https://"),
        // Who says nothing of it leaves it to the next one.
        ("for=192.0.2.7, for=10.0.0.2;proto=https;host=shop.example", "192.0.2.7 https://shop.example"),
        ("for=192.0.2.7;secret=\"a,b;c=d\"", "192.0.2.7 http://"),
        ("for=192.0.2.7;host=\"shop.example:8443\"", "192.0.2.7 http://shop.example:8443"),
        ("for=192.0.2.7;host=\"evil example\"", "192.0.2.7 http://"),
        ("for=192.0.2.7;proto=gopher", "192.0.2.7 http://"),
        (", ,for=192.0.2.7, ,", "192.0.2.7 http://"),
        // Nobody is named: what else the proxy says is true all the same.
        ("for=unknown;proto=https", "10.0.0.1#4000 https://"),
        ("for=_hidden;host=shop.example", "10.0.0.1#4000 http://shop.example"),
        ("for=6.6.6.6, for=unknown", "10.0.0.1#4000 http://"),
        ("for=6.6.6.6, proto=https", "10.0.0.1#4000 https://"),
        ("for=6.6.6.6, for=_x, for=10.0.0.2", "10.0.0.2 http://"),
        // No elements.
        ("for=192.0.2.7;for=6.6.6.6", "10.0.0.1#4000 http://"),
        ("for=192.0.2.7;proto=https;Proto=http", "10.0.0.1#4000 http://"),
        ("192.0.2.7", "10.0.0.1#4000 http://"),
        ("for=\"192.0.2.7", "10.0.0.1#4000 http://"),
        ("for=192.0.2.7\"", "10.0.0.1#4000 http://"),
        ("for=\"192.0.2.7\"x", "10.0.0.1#4000 http://"),
        ("for=\"\\192.0.2.7\"", "10.0.0.1#4000 http://"),
        ("for=\"\"", "10.0.0.1#4000 http://"),
        ("for=", "10.0.0.1#4000 http://"),
        ("", "10.0.0.1#4000 http://"),
        (",", "10.0.0.1#4000 http://"),
    ] {
        assert_forwarded(&[line.as_bytes()], seen);
    }
    assert_forwarded(&[b"for=6.6.6.6", b"for=192.0.2.7", b"for=10.0.0.2"], "192.0.2.7 http://");
    assert_forwarded(&[b"for=\"6.6.6.6", b"for=192.0.2.7"], "192.0.2.7 http://");
    assert_forwarded(&[b"for=\xff\xfe"], "10.0.0.1#4000 http://");
}

/// What a client has sent is followed, in the same line or in one of its own, by what our proxy adds.
#[test]
fn nothing_that_a_client_sends_changes_what_a_proxy_adds() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let pieces: [&[u8]; 24] = [
        b"for=",
        b"6.6.6.6",
        b"10.0.0.2",
        b"\"",
        b"\"",
        b",",
        b",",
        b";",
        b"=",
        b"\\",
        b"[",
        b"]",
        b":",
        b" ",
        b"\t",
        b"proto=https",
        b"host=evil.example",
        b"by=",
        b"unknown",
        b"_x",
        b"::1",
        b"\xff",
        b"x=\"",
        b"%",
    ];
    let added: [(&[u8], &str); 4] = [
        (b"for=192.0.2.7", "192.0.2.7 http://"),
        (b"for=\"[2001:db8::7]:4711\";proto=https;host=shop.example", "2001:db8::7#4711 https://shop.example"),
        (b"proto=https;for=192.0.2.7, for=10.0.0.2", "192.0.2.7 https://"),
        // As a Host this would be allowed, and our proxy has put it into quotes.
        (b"for=192.0.2.7;host=\",for=6.6.6.6;x=\"", "192.0.2.7 http://,for=6.6.6.6;x="),
    ];
    for round in 0..100_000 {
        let length = random.usize(..12);
        let hostile: Vec<u8> = (0..length).flat_map(|_| pieces[random.usize(..pieces.len())]).copied().collect();
        let (ours, seen) = added[random.usize(..added.len())];
        let mut check = |forwarded, name: &'static str, ours: &[u8], seen: &str| {
            let joined = [&hostile, &b", "[..], ours].concat();
            let lines: Vec<&[u8]> = if random.bool() { vec![&joined] } else { vec![&hostile, ours] };
            let headers: Vec<(&str, &[u8])> = lines.iter().map(|line| (name, *line)).collect();
            let shown = joined.escape_ascii();
            assert_eq!(believed(forwarded, PROXY, &headers), seen, "seed {seed}, round {round}: {shown}");
        };
        check(Forwarded::Forwarded, "forwarded", ours, seen);
        check(Forwarded::XForwarded, "x-forwarded-for", b"192.0.2.7", "192.0.2.7 http://");
    }
}
