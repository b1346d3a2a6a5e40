//! What proxies say in headers, `Forwarded` (RFC 7239) or `X-Forwarded-*`, and how far it is to be believed.
//!
//! Each proxy adds at the end, so the list is read from there: an entry is believed if whoever added it is trusted, and
//! whoever it names is the next to be asked for. So what a client has written there itself is never reached, and whatever it
//! is, it changes nothing. Each entry is found from the end of its line, too: nothing in front of it, such as a quote that
//! was never closed, has a say in where it begins. What cannot be read ends the walk; nothing is ever refused for it.

use std::net::{IpAddr, Ipv6Addr};

use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Client;
use crate::protocol::Trusted;
use crate::serve::is_host;

/// An entry names nobody: `unknown`, a name of the proxy's own, or what we cannot read.
type Node = Option<(IpAddr, Option<u16>)>;

/// By `X-Forwarded-For`, `-Proto` and `-Host`; the one who is there is trusted.
///
/// Of the last two only the last value counts: nothing says which proxy a value is of, but the last one is of one of ours.
pub(super) fn x_forwarded(client: &mut Client, headers: &HeaderMap, trusted: &Trusted) {
    let last = |name: &'static str| values_from_the_end(headers, HeaderName::from_static(name)).next();
    if let Some(scheme) = last("x-forwarded-proto").and_then(scheme) {
        client.scheme = scheme;
    }
    if let Some(host) = last("x-forwarded-host").and_then(host) {
        client.host = Some(host);
    }
    for entry in values_from_the_end(headers, HeaderName::from_static("x-forwarded-for")) {
        if !step(client, node(entry), trusted) {
            return;
        }
    }
}

/// By `Forwarded`; the one who is there is trusted.
pub(super) fn forwarded(client: &mut Client, headers: &HeaderMap, trusted: &Trusted) {
    for line in headers.get_all(http::header::FORWARDED).iter().rev() {
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let Some((before, element)) = last_element(rest) else {
                return;
            };
            rest = before;
            if element.trim_ascii().is_empty() {
                continue;
            }
            let Some(Told { whom, scheme, host }) = told(element) else {
                return;
            };
            // The outermost one that is trusted, and says so, has the last word.
            if let Some(scheme) = scheme {
                client.scheme = scheme;
            }
            if let Some(host) = host {
                client.host = Some(host);
            }
            if !step(client, whom, trusted) {
                return;
            }
        }
    }
}

/// The client is whom this entry names; whether there is somebody to be asked further.
fn step(client: &mut Client, node: Node, trusted: &Trusted) -> bool {
    let Some((ip, port)) = node else {
        return false;
    };
    (client.ip, client.port) = (Some(ip), port);
    trusted.covers(client.ip)
}

/// The members of a comma-separated list, over all lines of the header, from the last; empty ones are none.
fn values_from_the_end(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter().rev();
    lines
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii))
        .filter(|value| !value.is_empty())
}

/// What one proxy says in an element of `Forwarded`.
struct Told {
    whom: Node,
    scheme: Option<Scheme>,
    host: Option<HeaderValue>,
}

/// The last element of a line and what stands before its comma; `None` if that cannot be told.
fn last_element(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut is_quoted = false;
    for (at, byte) in line.iter().enumerate().rev() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            // Nothing that we look for needs one, and with it the end of a quote would be a matter of what is before it.
            b'\\' => return None,
            b',' if !is_quoted => return Some((&line[..at], &line[at + 1..])),
            _ => {}
        }
    }
    (!is_quoted).then_some((&[], line))
}

/// What an element says; `None` if it is none.
fn told(element: &[u8]) -> Option<Told> {
    let (mut whom, mut proto, mut host_told) = (None, None, None);
    for pair in split_outside_quotes(element) {
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        let value = unquoted(&value[1..])?;
        let place = match name.to_ascii_lowercase().as_slice() {
            b"for" => &mut whom,
            b"proto" => &mut proto,
            b"host" => &mut host_told,
            _ => continue,
        };
        // "Each parameter MUST NOT occur more than once per field-value."
        if place.replace(value).is_some() {
            return None;
        }
    }
    Some(Told { whom: whom.and_then(node), scheme: proto.and_then(scheme), host: host_told.and_then(host) })
}

/// The pairs of an element.
fn split_outside_quotes(element: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    element.split(move |byte| {
        is_quoted ^= *byte == b'"';
        *byte == b';' && !is_quoted
    })
}

/// A value, with or without its quotes; `None` if they stand where none belong.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let inner = match value {
        [b'"', inner @ .., b'"'] => inner,
        bare => bare,
    };
    (!inner.contains(&b'"')).then_some(inner)
}

/// An address, with a port or without: `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:4711`.
/// A port that is none of ours to read is not known, which costs the address nothing.
fn node(text: &[u8]) -> Node {
    let text = std::str::from_utf8(text).ok()?;
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, rest) = rest.split_once(']')?;
            (IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?), rest)
        }
        None => match text.parse::<IpAddr>() {
            Ok(ip) => (ip, ""),
            Err(_) => {
                let (ip, _) = text.split_once(':')?;
                (IpAddr::V4(ip.parse().ok()?), &text[ip.len()..])
            }
        },
    };
    let port = match port {
        "" => None,
        port => self::port(port.strip_prefix(':')?)?,
    };
    Some((ip.to_canonical(), port))
}

/// A port, or a name that a proxy has given it instead; `None` if it is neither.
fn port(text: &str) -> Option<Option<u16>> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => (!name.is_empty() && name.bytes().all(is_name)).then_some(None),
        None if text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok().map(Some),
        None => None,
    }
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    match text.to_ascii_lowercase().as_slice() {
        b"https" => Some(Scheme::HTTPS),
        b"http" => Some(Scheme::HTTP),
        _ => None,
    }
}

fn host(text: &[u8]) -> Option<HeaderValue> {
    (!text.is_empty() && is_host(text)).then(|| HeaderValue::from_bytes(text).ok())?
}

#[cfg(test)]
mod tests;
