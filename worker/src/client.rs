//! On whose behalf a request is: the client's address, and how and by which name it asked, as trusted proxies tell it.
//!
//! Owns what the application and the log see of it. Where it comes from, and how much of it is to be believed, is
//! `forwarded`'s.

mod forwarded;

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue};

use crate::protocol::{Forwarded, Proxies};

/// On whose behalf a request is.
///
/// Where nobody stands in front, or nobody who is trusted, this is whoever is at the other end of the connection. Where the
/// pool has `trusted_proxies`, it is whom they name, by the PROXY protocol or in the headers that `forwarded` chooses: the
/// last address that one of them vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    ip: Option<IpAddr>,
    port: Option<u16>,
    scheme: Scheme,
    host: Option<HeaderValue>,
}

impl Client {
    /// That of a request that came with these headers over a connection from `peer`; `None` is believed as somebody on a
    /// Unix socket of ours, unless it `is_hearsay`: then only a proxy says that it was on one, of its own.
    pub(crate) fn of(headers: &HeaderMap, peer: Option<SocketAddr>, is_hearsay: bool, proxies: &Proxies) -> Client {
        let mut client = Client {
            ip: peer.map(|peer| peer.ip()),
            port: peer.map(|peer| peer.port()),
            scheme: Scheme::HTTP,
            host: headers.get(HOST).cloned(),
        };
        if !is_hearsay && proxies.trusted.covers(client.ip) {
            match proxies.forwarded {
                Forwarded::Off => {}
                Forwarded::Forwarded => forwarded::forwarded(&mut client, headers, &proxies.trusted),
                Forwarded::XForwarded => forwarded::x_forwarded(&mut client, headers, &proxies.trusted),
            }
        }
        client
    }

    /// The address; `None` for somebody on a Unix socket of whom nothing else is known.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The port, where it is known: most proxies do not tell it in a header.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// How the client asked: `https`, if a trusted proxy says so. This server itself speaks `http` alone.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The host that the client asked for, with its port if it named one: what a trusted proxy says, else the request's Host.
    pub fn host(&self) -> Option<&str> {
        self.host.as_ref().and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty())
    }
}
