//! What the access log says of one request.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

/// What the access log says of one request; bytes are as the client sent them, queries as they are to be shown.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// When it was over.
    pub ended: Option<SystemTime>,
    /// Whose it was, as far as is known.
    pub client: Option<IpAddr>,
    /// `GET`.
    pub method: Vec<u8>,
    /// The path, and the query as far as it is to be shown.
    pub target: Vec<u8>,
    /// `HTTP/1.1`.
    pub protocol: Vec<u8>,
    /// What its client was answered; 502 if that was nothing.
    pub status: u16,
    /// Bytes written to the client for it, head and all.
    pub bytes: u64,
    /// From the moment it was whole to the end of its response.
    pub duration: Duration,
    /// From the handler's start to its return.
    pub handler: Duration,
    /// Its headers, where the request came as far as that.
    pub headers: HeaderMap,
    /// Its id in the log.
    pub request_id: String,
    /// Which pool's it was.
    pub pool: String,
    /// In which slot.
    pub worker: u32,
    /// Of which generation.
    pub generation: u32,
    /// In which process.
    pub pid: i32,
    /// Why it did not go as it should, if it did not.
    pub cause: Option<String>,
}

impl Entry {
    /// Takes method, target and protocol from a request line, which may be cut.
    pub fn line(&mut self, line: &[u8]) {
        let mut words = line.splitn(3, |byte| *byte == b' ').map(<[u8]>::to_vec);
        let mut next = || words.next().unwrap_or_default();
        (self.method, self.target, self.protocol) = (next(), next(), next());
    }

    /// Whether this path is not to be written down; one that ends with `*` is the beginning of many.
    pub fn is_skipped(&self, skip: &str) -> bool {
        let path = self.target.split(|byte| *byte == b'?').next().unwrap_or_default();
        match skip.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning.as_bytes()),
            None => path == skip.as_bytes(),
        }
    }

    /// The value of a header; of several the first.
    pub(super) fn header(&self, name: &HeaderName) -> &[u8] {
        self.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default()
    }
}
