//! Which proxies are believed: `["127.0.0.1", "10.0.0.0/8", "unix"]`.
//!
//! Owns how a network of addresses is written and what is said about one that is wrong. Never resolves a name: whoever is
//! believed is known by address alone.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use ratoon_worker::protocol::Trusted;
use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::ser::Serializer;

use super::error::quoted;
use super::form::Form;

/// For `#[serde(with)]`: a list of addresses, networks, and the word for Unix sockets.
pub(super) struct Proxies;

/// Whoever connects over a Unix socket.
const UNIX: &str = "unix";

impl Form for Proxies {
    type Value = Trusted;

    fn serialize<S: Serializer>(trusted: &Trusted, serializer: S) -> Result<S::Ok, S::Error> {
        if trusted.is_empty() {
            return serializer.serialize_none();
        }
        let networks = trusted.networks.iter().map(written);
        serializer.collect_seq(networks.chain(trusted.unix.then(|| UNIX.to_owned())))
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Trusted, D::Error> {
        deserializer.deserialize_any(List)
    }
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = Trusted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a list such as ["127.0.0.1", "10.0.0.0/8", "unix"]"#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Trusted, E> {
        match text == UNIX || network(text).is_ok() {
            true => Err(E::custom(format!("found {}, wanted a list: write [{0}]", quoted(text)))),
            false => Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Trusted, A::Error> {
        let mut trusted = Trusted::default();
        while let Some(text) = items.next_element::<String>()? {
            match text.as_str() {
                UNIX => trusted.unix = true,
                text => trusted.networks.push(network(text).map_err(A::Error::custom)?),
            }
        }
        Ok(trusted)
    }
}

/// The network `text` says, an address being the smallest; the error says what would be right.
fn network(text: &str) -> Result<IpNet, String> {
    let wrong = |wrong: String| format!("{} {wrong}", quoted(text));
    let unmapped = |ip: Ipv6Addr| wrong(format!("is an IPv4 address in disguise: write \"{}\"", ip.to_canonical()));
    if let Ok(ip) = text.parse::<IpAddr>() {
        return match ip {
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Err(unmapped(ip)),
            ip => Ok(ip.into()),
        };
    }
    let found: IpNet = text.parse().map_err(|_| wrong(misspelt(text)))?;
    match found {
        IpNet::V6(found) if found.addr().to_ipv4_mapped().is_some() => Err(unmapped(found.addr())),
        found if found.addr() != found.network() => {
            Err(wrong(format!("has bits beyond its prefix: write \"{}\"", found.trunc())))
        }
        found => Ok(found),
    }
}

/// What would be right instead of `text`, which is neither an address nor a network.
fn misspelt(text: &str) -> String {
    let (host, _) = text.split_once('/').unwrap_or((text, ""));
    if text.starts_with(UNIX) || text.starts_with('/') {
        return "names a path, and whoever reaches a unix socket is believed or not: write \"unix\"".to_owned();
    }
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => format!("has no prefix from 0 to 32: write for example \"{ip}/24\""),
        Ok(IpAddr::V6(ip)) => format!("has no prefix from 0 to 128: write for example \"{ip}/64\""),
        Err(_) => r#"is no IP address and no network: write for example "192.0.2.7" or "10.0.0.0/8""#.to_owned(),
    }
}

/// As one would write it.
fn written(network: &IpNet) -> String {
    match network.prefix_len() == network.max_prefix_len() {
        true => network.addr().to_string(),
        false => network.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_smallest_network() {
        for (text, again) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1/32", "127.0.0.1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::", "2001:db8::"),
            ("2001:0db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(network(text).map(|network| written(&network)), Ok(again.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_answered_with_what_would_be_right() {
        for (text, wrong) in [
            ("10.0.0.1/8", r#""10.0.0.1/8" has bits beyond its prefix: write "10.0.0.0/8""#),
            ("10.0.0.0/33", r#""10.0.0.0/33" has no prefix from 0 to 32: write for example "10.0.0.0/24""#),
            ("10.0.0.0/", r#""10.0.0.0/" has no prefix from 0 to 32: write for example "10.0.0.0/24""#),
            ("::1/129", r#""::1/129" has no prefix from 0 to 128: write for example "::1/64""#),
            ("::ffff:10.0.0.1", r#""::ffff:10.0.0.1" is an IPv4 address in disguise: write "10.0.0.1""#),
            ("::ffff:10.0.0.0/104", r#""::ffff:10.0.0.0/104" is an IPv4 address in disguise: write "10.0.0.0""#),
            (
                "unix:/run/web.sock",
                "\"unix:/run/web.sock\" names a path, and whoever reaches a unix socket is believed or not: write \"unix\"",
            ),
            (
                "proxy.example",
                r#""proxy.example" is no IP address and no network: write for example "192.0.2.7" or "10.0.0.0/8""#,
            ),
            (
                "127.0.0.1:80",
                r#""127.0.0.1:80" is no IP address and no network: write for example "192.0.2.7" or "10.0.0.0/8""#,
            ),
            ("", r#""" is no IP address and no network: write for example "192.0.2.7" or "10.0.0.0/8""#),
        ] {
            assert_eq!(network(text), Err(wrong.to_owned()), "{text}");
        }
    }
}
