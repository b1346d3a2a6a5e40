//! Which proxies stand in front of a pool, and what they are believed.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What a pool's workers believe of those who connect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Proxies {
    /// Who is believed.
    pub trusted: Trusted,
    /// The places of the listeners whose connections begin with a PROXY header.
    pub announced: Vec<u32>,
    /// In which headers they say it.
    pub forwarded: Forwarded,
}

/// In which headers trusted proxies say on whose behalf they ask. One or the other: whichever they do not write themselves,
/// a client could.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarded {
    /// In none.
    #[default]
    Off,
    /// `Forwarded`, RFC 7239.
    Forwarded,
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
    XForwarded,
}

/// Who is believed; by default nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trusted {
    /// By address.
    pub networks: Vec<IpNet>,
    /// Whether whoever connects over a Unix socket is.
    pub unix: bool,
}

impl Trusted {
    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether this one is; `None` is somebody on a Unix socket. An IPv4 address is one, in whatever form.
    pub fn covers(&self, peer: Option<IpAddr>) -> bool {
        match peer.map(|ip| ip.to_canonical()) {
            Some(ip) => self.networks.iter().any(|network| network.contains(&ip)),
            None => self.unix,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_is_believed_is_said_by_address_and_by_kind_of_socket() {
        let networks = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"].map(|text| text.parse().unwrap()).to_vec();
        let trusted = Trusted { networks, unix: false };
        for (address, is_covered) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.0.0.1", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("::a00:1", false),
        ] {
            assert_eq!(trusted.covers(Some(address.parse().unwrap())), is_covered, "{address}");
        }
        assert!(!trusted.covers(None) && Trusted { unix: true, ..trusted }.covers(None));
        assert!(!Trusted::default().covers("127.0.0.1".parse().ok()) && !Trusted::default().covers(None));
    }
}
