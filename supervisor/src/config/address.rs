//! Where a listener is bound: `"127.0.0.1:8080"`, `"[::1]:8080"`, `"unix:/run/web.sock"`.
//!
//! Owns the syntax of addresses and what is said about one that is wrong. Never resolves a name, never binds.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::error::quoted;

/// The longest path of a unix socket, in bytes: `sun_path` without its terminating zero.
pub(super) const LONGEST_UNIX_PATH: usize = 107;

/// Where a listener is bound; displayed as it is written in the file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port; port 0 lets the kernel choose a free one.
    Tcp(SocketAddr),
    /// An absolute path of at most 107 bytes.
    Unix(PathBuf),
    /// What systemd has opened under this name, and passes on: one socket or several.
    Systemd(String),
}

impl Address {
    /// Whether both cannot be listened on at once.
    pub(super) fn collides(&self, other: &Address) -> bool {
        self == other && !matches!(self, Address::Tcp(address) if address.port() == 0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// The address `text` says; the error says what would be right.
    fn from_str(text: &str) -> Result<Address, String> {
        match text.split_once(':') {
            Some(("unix", path)) => unix(path).map(|path| Address::Unix(path.to_owned())),
            Some(("systemd", name)) => systemd(name).map(Address::Systemd),
            _ => text.parse().map(Address::Tcp).map_err(|_| misspelt(text)),
        }
        .map_err(|wrong| format!("{} {wrong}", quoted(text)))
    }
}

fn unix(path: &str) -> Result<&Path, String> {
    if path.contains('\0') {
        return Err("holds a zero byte: remove it".to_owned());
    }
    if !path.starts_with('/') {
        return Err(format!("is not an absolute path: write \"unix:/run/{}\"", path.trim_start_matches(['@', '.'])));
    }
    if path.ends_with('/') {
        return Err(format!("names a directory: write for example \"unix:{path}web.sock\""));
    }
    if path.len() > LONGEST_UNIX_PATH {
        return Err(format!(
            "has a path of {} bytes, and the kernel takes {LONGEST_UNIX_PATH}: choose a shorter one",
            path.len()
        ));
    }
    Ok(Path::new(path))
}

/// A name as FileDescriptorName= of a .socket unit takes it.
fn systemd(name: &str) -> Result<String, String> {
    let is_fit = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    match name.len() {
        1..=255 if name.bytes().all(is_fit) => Ok(name.to_owned()),
        _ => {
            Err("names no socket of systemd: write \"systemd:NAME\", with FileDescriptorName=NAME in the .socket unit"
                .to_owned())
        }
    }
}

/// What would be right instead of `text`, which is not an IP address with a port.
fn misspelt(text: &str) -> String {
    if text.starts_with('/') {
        return format!("lacks its kind: write \"unix:{text}\"");
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return match rest.trim_end_matches('/').parse::<SocketAddr>() {
            Ok(address) => format!("is not an address: write \"{address}\""),
            Err(_) => format!("is not an address: leave \"{scheme}://\" out and write for example \"127.0.0.1:8080\""),
        };
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return format!("has no port: write \"{}\"", SocketAddr::new(ip, 8080));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = match port.parse::<u16>() {
        Ok(port) => port,
        Err(_) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            return format!("has no such port: {port} is above 65535");
        }
        Err(_) => return r#"is not an address: write for example "127.0.0.1:8080" or "unix:/run/web.sock""#.to_owned(),
    };
    match (host, host.parse::<Ipv6Addr>()) {
        ("" | "*", _) => {
            format!("has no IP address: write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for all of IPv4")
        }
        (_, Ok(ip)) => format!("lacks the brackets of IPv6: write \"{}\"", SocketAddr::new(ip.into(), port)),
        _ => format!("names a host, and an IP address is wanted: write \"127.0.0.1:{port}\""),
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Address;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"an address such as "127.0.0.1:8080" or "unix:/run/web.sock""#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Address, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_displayed_as_it_is_read() {
        for text in [
            "127.0.0.1:8080",
            "0.0.0.0:0",
            "[::1]:8080",
            "[fe80::1%3]:80",
            "unix:/run/x.sock",
            "unix:/run/a b",
            "systemd:web",
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_wrong_address_is_told_what_would_be_right() {
        let long = format!("unix:/{}", "x".repeat(107));
        let too_long =
            format!("{} has a path of 108 bytes, and the kernel takes 107: choose a shorter one", quoted(&long));
        for (text, message) in [
            ("localhost:8080", r#""localhost:8080" names a host, and an IP address is wanted: write "127.0.0.1:8080""#),
            ("shop.example:80", r#""shop.example:80" names a host, and an IP address is wanted: write "127.0.0.1:80""#),
            (":8080", r#"":8080" has no IP address: write "127.0.0.1:8080", or "0.0.0.0:8080" for all of IPv4"#),
            ("8080", r#""8080" has no IP address: write "127.0.0.1:8080", or "0.0.0.0:8080" for all of IPv4"#),
            ("*:80", r#""*:80" has no IP address: write "127.0.0.1:80", or "0.0.0.0:80" for all of IPv4"#),
            ("0.0.0.0", r#""0.0.0.0" has no port: write "0.0.0.0:8080""#),
            ("::1", r#""::1" has no port: write "[::1]:8080""#),
            ("[::1]", r#""[::1]" has no port: write "[::1]:8080""#),
            (
                "fe80::1:2:3:4:5:6:8080",
                r#""fe80::1:2:3:4:5:6:8080" lacks the brackets of IPv6: write "[fe80:0:1:2:3:4:5:6]:8080""#,
            ),
            ("127.0.0.1:99999", r#""127.0.0.1:99999" has no such port: 99999 is above 65535"#),
            (
                "127.0.0.1:http",
                r#""127.0.0.1:http" is not an address: write for example "127.0.0.1:8080" or "unix:/run/web.sock""#,
            ),
            ("", r#""" is not an address: write for example "127.0.0.1:8080" or "unix:/run/web.sock""#),
            ("http://127.0.0.1:8080/", r#""http://127.0.0.1:8080/" is not an address: write "127.0.0.1:8080""#),
            ("tcp://x", r#""tcp://x" is not an address: leave "tcp://" out and write for example "127.0.0.1:8080""#),
            ("/run/x.sock", r#""/run/x.sock" lacks its kind: write "unix:/run/x.sock""#),
            ("unix:x.sock", r#""unix:x.sock" is not an absolute path: write "unix:/run/x.sock""#),
            ("unix:@x", r#""unix:@x" is not an absolute path: write "unix:/run/x""#),
            ("unix:/run/", r#""unix:/run/" names a directory: write for example "unix:/run/web.sock""#),
            (
                "systemd:",
                r#""systemd:" names no socket of systemd: write "systemd:NAME", with FileDescriptorName=NAME in the .socket unit"#,
            ),
            ("unix:/a\0b", r#""unix:/a\0b" holds a zero byte: remove it"#),
            (&long, &too_long),
        ] {
            assert_eq!(text.parse::<Address>(), Err(message.to_owned()));
        }
        assert!(format!("unix:/{}", "x".repeat(106)).parse::<Address>().is_ok());
    }

    #[test]
    fn a_port_chosen_by_the_kernel_collides_with_nothing() {
        let [chosen, fixed, file] =
            ["127.0.0.1:0", "127.0.0.1:80", "unix:/run/x"].map(|text| text.parse::<Address>().unwrap());
        assert!(!chosen.collides(&chosen));
        assert!(fixed.collides(&fixed) && file.collides(&file));
        assert!(!fixed.collides(&file));
    }
}
