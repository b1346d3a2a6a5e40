//! What is said to a client whose request never reaches the application, and how the connection then ends.
//!
//! A refusal is written by us, closes the connection, and lingers: what the client is still sending is read and thrown
//! away for a while, for a connection closed over unread bytes is reset, and the reset can overtake the answer.

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};

/// A refusal: a status and a sentence. The sentence is ours, nothing of the request is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

/// A request that was refused, until somebody has written it down.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// The request line, as far as it had come.
    pub(super) line: Vec<u8>,
    /// If the head was whole and beyond reproach: of any other nothing is believed.
    pub(super) headers: Option<HeaderMap>,
    /// How much had been sent over its connection before.
    pub(super) sent_before: u64,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, why: &'static str) -> Refusal {
        Refusal { status, why }
    }

    pub(super) fn bad(why: &'static str) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, why)
    }

    /// The whole response; that to HEAD has no body.
    pub(super) fn response(&self, is_head: bool) -> Vec<u8> {
        let body = format!("{}: {}\n", self.status, self.why);
        let retry = if self.status == StatusCode::SERVICE_UNAVAILABLE { "retry-after: 1\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
             {retry}connection: close\r\ndate: {date}\r\n\r\n{body}",
            status = self.status,
            length = body.len(),
            date = httpdate::fmt_http_date(SystemTime::now()),
            body = if is_head { "" } else { &body },
        )
        .into_bytes()
    }
}
