//! One request in the application's hands: the clock runs, panics and errors end here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{HeaderValue, StatusCode};

use super::{Held, Server, Stage};
use crate::app::{App, Context, Request, Response};
use crate::body::Body;
use crate::clock;
use crate::log::{RequestId, speak_of};

impl<A: App> Server<A> {
    /// Runs the application on one request.
    pub(super) fn serve(&mut self, key: usize, request: Request) {
        let Some(connection) = self.crowd.get_mut(key) else {
            return;
        };
        let id = RequestId::of(request.headers(), self.since, self.worker.pid, self.served);
        let mut context = Context { worker: &self.worker, peer: connection.peer, served: self.served, id: id.clone() };
        self.served += 1;
        // What the loop did since it looked at the clock is not this request's time.
        self.now = clock::now();
        let begun = self.now;
        if let Some(cell) = self.scoreboard.cell(self.worker.slot) {
            cell.begin(begun, begun.saturating_add(self.request_timeout), connection.line());
        }
        speak_of(Some(id));
        let answer = catch_unwind(AssertUnwindSafe(|| self.app.handle(request, &mut context)));
        let response = presentable(answer, connection.line());
        self.now = clock::now();
        let deadline = begun.saturating_add(self.request_timeout);
        let held = Held { key, serial: connection.serial, deadline };
        let held = response.body().needs_the_application().then_some(held);
        connection.respond(response, self.stage != Stage::Serving, &self.rules, self.now);
        self.held = held;
        if held.is_none() {
            self.end_request();
        }
        self.turn(key);
        self.let_go_if_sent();
    }

    /// The application may produce a response for as long as a handler may run. Where it is the client that does not
    /// take it in time, this one connection pays, and not the worker.
    pub(super) fn break_off_if_overdue(&mut self) {
        if let Some(Held { key, deadline, .. }) = self.held
            && self.now >= deadline
        {
            let request = self.crowd.get_mut(key).map(|each| String::from_utf8_lossy(each.line()).into_owned());
            tracing::warn!(request, "response broken off: not taken within request_timeout");
            self.close(key);
            self.let_go_if_sent();
        }
    }

    /// Is the response that the application itself was producing through?
    pub(super) fn let_go_if_sent(&mut self) {
        let Some(Held { key, serial, .. }) = self.held else {
            return;
        };
        let sends = self.crowd.get_mut(key).is_some_and(|each| each.serial == serial && each.is_sending());
        if !sends {
            self.held = None;
            self.now = clock::now();
            self.end_request();
        }
    }

    fn end_request(&self) {
        if let Some(cell) = self.cell() {
            cell.end(self.now, self.shown_state());
        }
        speak_of(None);
    }
}

/// The handler's response, or what stands in for one it did not give.
fn presentable(answer: std::thread::Result<crate::Result<Response>>, line: &[u8]) -> Response {
    let line = || String::from_utf8_lossy(line);
    match answer {
        Ok(Ok(response)) if !response.status().is_informational() => response,
        Ok(Ok(response)) => {
            tracing::error!(request = %line(), status = response.status().as_u16(), "a handler cannot answer with an interim status");
            failure(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Ok(Err(error)) => {
            tracing::error!(request = %line(), status = error.status().as_u16(), %error, "the handler failed");
            failure(error.status())
        }
        Err(_) => {
            tracing::error!(request = %line(), status = 500, "the handler panicked");
            failure(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// What the client sees of a handler's failure.
fn failure(status: StatusCode) -> Response {
    let mut response = Response::new(Body::from(format!("{status}\n")));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}
