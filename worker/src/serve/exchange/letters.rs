//! hyper's service: a letter box, so that the application is never called from inside hyper.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;

use crate::body::Body;
use crate::serve::wire::Wire;

/// Where hyper leaves the request and finds the response.
#[derive(Default)]
pub(super) struct Letters {
    pub(super) request: Cell<Option<http::Request<Incoming>>>,
    pub(super) response: Cell<Option<http::Response<Outgoing>>>,
}

pub(super) struct LetterBox(pub(super) Rc<Letters>);

impl Service<http::Request<Incoming>> for LetterBox {
    type Response = http::Response<Outgoing>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: http::Request<Incoming>) -> Answer {
        self.0.request.set(Some(request));
        Answer(self.0.clone())
    }
}

pub(super) struct Answer(Rc<Letters>);

impl Future for Answer {
    type Output = Result<http::Response<Outgoing>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
    }
}

/// A response's body, which tells the wire when hyper is through with it.
pub(super) struct Outgoing {
    pub(super) body: Body,
    /// The length that a 304 states for the body it leaves out: hyper writes it only for a body that claims to have it,
    /// and does not ask that body for a byte.
    pub(super) stated: Option<u64>,
    pub(super) wire: Rc<Wire>,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.stated.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stated.map_or_else(|| self.body.size_hint(), SizeHint::with_exact)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.wire.body_is_over();
    }
}
