//! One request and its response, in hyper's hands.
//!
//! hyper's connection is a state machine that is polled when its socket is ready, for the time of one request. Its
//! service is a letter box: the request is put in, the loop takes it out, and puts the response in when the
//! application has made it. So the application is never called from inside hyper, and runs outside any runtime.

mod engine;
mod letters;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Buf;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;

pub(super) use self::engine::{AtRest, Engine, Engines};
use self::letters::Outgoing;
use super::budget::Permit;
use super::chunks::ChunkReader;
use super::head::{Framing, Head, decimal};
use super::refusal::Refusal;
use super::upload::{Bounds, Upload};
use super::wire::Wire;
use crate::access::{Query, shown};
use crate::app::{Request, Response};
use crate::scoreboard::LINE;
use crate::woken::Woken;

/// How often hyper is let go on before others have their turn: each time it moves at most sixteen buffers.
const PORTION: usize = 4;

pub(super) struct Exchange {
    engine: Box<Engine>,
    wire: Rc<Wire>,
    permit: Permit,
    phase: Phase,
    client_goes_on: bool,
    old: bool,
    is_head: bool,
    line: [u8; LINE],
    line_length: usize,
}

// An exchange is boxed as a whole.
#[allow(clippy::large_enum_variant)]
enum Phase {
    /// hyper has not yet called the service.
    Head,
    /// The body arrives.
    Body(request::Parts, Incoming, Upload),
    /// The request is whole and with the loop.
    Handling,
    /// The response leaves; afterwards the connection is kept or not.
    Response { keep: bool, is_file: bool },
}

/// How far an exchange is.
#[derive(Debug)]
pub(super) enum Progress {
    /// It waits for its socket.
    Waits,
    /// It could go on, and others have waited long enough.
    Tires,
    /// The request is whole.
    Whole(Box<Request>),
    /// The response is out; the connection goes on if `keep`.
    Done { keep: bool },
    /// The request deserves a refusal.
    Refused(Refusal),
    /// The client is gone, or the response cannot be completed.
    Broken,
}

impl Exchange {
    /// The bytes of `head` are at the front of what has arrived. `rested` is the connection's own machine, if it has
    /// one; `permit` comes back if the request is never served; of
    /// its query as much is shown as `query` says.
    pub(super) fn begin(
        engines: &Engines,
        rested: Option<AtRest>,
        wire: &Rc<Wire>,
        head: &Head,
        longest_body: u64,
        permit: Permit,
        query: Query,
    ) -> Exchange {
        let mut line = [0; LINE];
        let line_length = {
            let mut inbound = wire.inbound();
            inbound.advance(head.start);
            let shown = shown(&inbound[..head.line], query);
            let length = shown.len().min(LINE);
            line[..length].copy_from_slice(&shown[..length]);
            length
        };
        let length = head.end - head.start;
        match head.framing {
            Framing::Length(body) => wire.begin((length as u64).saturating_add(body), None),
            Framing::Chunked => wire.begin(u64::MAX, Some(ChunkReader::new(length, longest_body))),
        }
        Exchange {
            engine: rested.and_then(AtRest::wake).unwrap_or_else(|| engines.make(wire)),
            wire: wire.clone(),
            permit,
            phase: Phase::Head,
            client_goes_on: head.keep_alive,
            old: head.old,
            is_head: head.is_head,
            line,
            line_length,
        }
    }

    /// The handler begins.
    pub(super) fn spend(&mut self) {
        self.permit.spend();
    }

    /// The request line, cut to what a cell of the scoreboard keeps.
    pub(super) fn line(&self) -> &[u8] {
        &self.line[..self.line_length]
    }

    /// The headers of a request that will never be served: its body is still arriving, or what came of it with the head was
    /// too much already.
    pub(super) fn take_headers(&mut self) -> Option<HeaderMap> {
        match &mut self.phase {
            Phase::Body(parts, ..) => Some(std::mem::take(&mut parts.headers)),
            Phase::Head => Some(self.engine.letters.request.take()?.into_parts().0.headers),
            Phase::Handling | Phase::Response { .. } => None,
        }
    }

    /// Whether the answer has no body, for it is asked for by HEAD.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Whether the client means to go on after this request.
    pub(super) fn client_goes_on(&self) -> bool {
        self.client_goes_on
    }

    /// Whether the request is still arriving.
    pub(super) fn receives(&self) -> bool {
        matches!(self.phase, Phase::Head | Phase::Body(..))
    }

    /// Whether the request is with the application, or waits for it.
    pub(super) fn is_handled(&self) -> bool {
        matches!(self.phase, Phase::Handling)
    }

    /// Whether the response is leaving.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.phase, Phase::Response { .. })
    }

    /// Whether a body on its way is in a file.
    pub(super) fn has_file(&self) -> bool {
        match &self.phase {
            Phase::Head | Phase::Handling => false,
            Phase::Body(_, _, upload) => upload.is_in_file(),
            Phase::Response { is_file, .. } => *is_file && !self.wire.has_whole_body(),
        }
    }

    /// Goes as far as the socket allows.
    pub(super) fn advance(&mut self, woken: &Woken, bounds: &Bounds) -> Progress {
        let mut context = woken.context();
        for _ in 0..PORTION {
            woken.take();
            match self.engine.machine.poll_without_shutdown(&mut context) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => return self.given_up(),
                Poll::Ready(Err(error)) => return self.failed(&error),
            }
            if self.wire.is_flushed() {
                let keep = matches!(self.phase, Phase::Response { keep: true, .. });
                return Progress::Done { keep };
            }
            if let Some(request) = self.engine.letters.request.take() {
                let (mut parts, incoming) = request.into_parts();
                name_host(&mut parts);
                self.wire.unmute();
                self.phase = Phase::Body(parts, incoming, Upload::new());
            }
            match self.collect(&mut context, bounds) {
                Ok(None) => {}
                Ok(Some(request)) => return Progress::Whole(request),
                Err(refusal) => return Progress::Refused(refusal),
            }
            if !woken.take() {
                return Progress::Waits;
            }
        }
        Progress::Tires
    }

    /// The response is made. The connection goes on afterwards if both sides mean it to; `leaving` says that we do not.
    pub(super) fn respond(&mut self, mut response: Response, leaving: bool) {
        let says_close = |value: &HeaderValue| {
            value.as_bytes().split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
        };
        let endless = self.old && response.body().remaining().is_none();
        let headers = response.headers_mut();
        let asked = headers.get_all(CONNECTION).iter().any(says_close);
        let keep = self.client_goes_on && !leaving && !endless && !asked;
        if !keep {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers.remove(TRANSFER_ENCODING);
        if self.old && !keep {
            // Otherwise hyper promises to go on whenever an old client asked for it.
            *response.version_mut() = Version::HTTP_10;
        }
        // The length of a body that is not sent is the application's to say; of one that is sent, it is counted.
        let status = response.status();
        let unsent = status == StatusCode::NOT_MODIFIED || (self.is_head && status != StatusCode::NO_CONTENT);
        if !unsent || response.body().remaining() != Some(0) || !has_one_length(response.headers()) {
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        let stated = response.headers().get(CONTENT_LENGTH).and_then(|value| decimal(value.as_bytes()));
        let stated = stated.filter(|length| !self.is_head && *length > 0);
        self.phase = Phase::Response { keep, is_file: response.body().is_file() };
        let wire = self.wire.clone();
        self.engine.letters.response.set(Some(response.map(|body| Outgoing { body, stated, wire })));
    }

    /// The machine, if it is empty. One that has read a chunked body may have read beyond its end: that goes back to
    /// the wire.
    pub(super) fn end(self) -> Option<Box<Engine>> {
        if !self.wire.is_chunked() {
            self.wire.give_back(&[]);
            return Some(self.engine);
        }
        let parts = self.engine.machine.into_parts();
        self.wire.give_back(&parts.read_buf);
        None
    }

    fn collect(&mut self, context: &mut Context<'_>, bounds: &Bounds) -> Result<Option<Box<Request>>, Refusal> {
        let Phase::Body(_, incoming, upload) = &mut self.phase else {
            return Ok(None);
        };
        loop {
            match Pin::new(&mut *incoming).poll_frame(context) {
                Poll::Pending => return Ok(None),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        upload.add(piece, bounds)?;
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    return Err(self.wire.why_stopped().unwrap_or(Refusal::bad("a malformed or incomplete body")));
                }
                Poll::Ready(None) => break,
            }
        }
        self.wire.withdraw_grant();
        match std::mem::replace(&mut self.phase, Phase::Handling) {
            Phase::Body(parts, _, upload) => Ok(Some(Box::new(Request::from_parts(parts, upload.finish())))),
            other => {
                self.phase = other;
                Ok(None)
            }
        }
    }

    /// hyper has closed its side: it disliked the head, or the client went away.
    fn given_up(&self) -> Progress {
        match self.phase {
            Phase::Head => Progress::Refused(self.wire.why_stopped().unwrap_or(Refusal::bad("a malformed head"))),
            Phase::Body(..) => {
                Progress::Refused(self.wire.why_stopped().unwrap_or(Refusal::bad("a malformed or incomplete body")))
            }
            Phase::Handling | Phase::Response { .. } => Progress::Broken,
        }
    }

    fn failed(&self, error: &hyper::Error) -> Progress {
        let is_ours = error.is_user();
        if is_ours {
            tracing::error!(request = %String::from_utf8_lossy(self.line()), %error, "response broken off");
        }
        self.given_up()
    }
}

fn has_one_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let first = lengths.next().and_then(|value| decimal(value.as_bytes()));
    first.is_some() && lengths.next().is_none()
}

/// A host in the target goes before the one in Host, and takes its place (RFC 9112, 3.2.2).
fn name_host(parts: &mut request::Parts) {
    let authority = parts.uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = authority {
        parts.headers.insert(HOST, host);
    }
}
