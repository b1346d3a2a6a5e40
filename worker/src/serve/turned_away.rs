//! Connections that were closed since no PROXY header said whose they are: told in full where nobody is disturbed by it,
//! and in sum every few seconds, since it may be the proxy that is wrong, and then nothing is served.

use std::net::SocketAddr;

use super::turns::COMPLAINT;

#[derive(Debug, Default)]
pub(super) struct TurnedAway {
    /// Of how many nothing has been said in sum.
    untold: u64,
    complains_again: u64,
}

impl TurnedAway {
    /// One more, from there, for this reason.
    pub(super) fn note(&mut self, peer: Option<SocketAddr>, why: &'static str, now: u64) {
        let peer = peer.map_or_else(|| "a unix socket".to_owned(), |peer| peer.to_string());
        tracing::debug!(%peer, why, "connection turned away");
        self.untold += 1;
        if now >= self.complains_again {
            self.complains_again = now + COMPLAINT;
            let count = std::mem::take(&mut self.untold);
            tracing::warn!(count, %peer, why, "turned away: a PROXY header is expected here, from one of trusted_proxies");
        }
    }
}
