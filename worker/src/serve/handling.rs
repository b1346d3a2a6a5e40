//! One request in the application's hands: the clock runs, panics and errors end here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use super::wire::Wire;
use super::{Held, Server, Stage};
use crate::app::{App, Context, Request, Response};
use crate::body::Body;
use crate::log::{RequestId, speak_of};
use crate::protocol::Why;
use crate::scoreboard::Cell;
use crate::{clock, last_words};

impl<A: App> Server<A> {
    /// Runs the application on one request.
    pub(super) fn serve(&mut self, key: usize, request: Request) {
        // What the loop did since it looked at the clock is not this request's time.
        self.now = clock::now();
        if self.is_not_to_run(key) {
            return;
        }
        self.make_way(key);
        let Some(connection) = self.crowd.get_mut(key) else {
            return;
        };
        let id = RequestId::of(request.headers(), self.since, self.worker.pid, self.served);
        let cell = self.scoreboard.cell(self.worker.slot);
        let (worker, peer, served) = (&self.worker, connection.peer, self.served);
        let database = self.database.as_mut();
        let mut context = Context { worker, peer, served, id: id.clone(), cell, database };
        self.served += 1;
        let begun = self.now;
        if let Some(cell) = cell {
            cell.has_waited(begun.saturating_sub(connection.waits_since(self.found_since)));
            cell.begin(begun, begun.saturating_add(self.request_timeout), connection.line());
        }
        speak_of(Some(id));
        let client = &connection.wire;
        let answer = catch_unwind(AssertUnwindSafe(|| ask(&mut self.app, request, &mut context, client)));
        let told = last_words::end();
        let response = presentable(answer, connection.line());
        self.now = clock::now();
        self.pace.took(self.now.saturating_sub(begun));
        if told {
            tracing::warn!(request = %String::from_utf8_lossy(connection.line()), "the handler has returned, too late: its client was told 504");
            connection.hang_up(self.now);
            self.end_request();
            self.turn(key);
            self.leave_database();
            return;
        }
        // The application may have moved it.
        let deadline = cell.map_or(u64::MAX, Cell::deadline);
        let held = Held { key, serial: connection.serial, since: begun, deadline };
        let held = response.body().needs_the_application().then_some(held);
        let leaving = matches!(self.stage, Stage::Leaving { .. });
        connection.respond(response, leaving, &self.rules, self.now);
        self.held = held;
        if held.is_none() {
            self.end_request();
        }
        self.turn(key);
        self.let_go_if_sent();
        self.leave_database();
    }

    /// What the request has left in the database's session goes.
    fn leave_database(&mut self) {
        if let Some(database) = &mut self.database {
            database.end_request();
        }
    }

    /// A request whose client has gone is forgotten; one that has waited for too long is answered so.
    fn is_not_to_run(&mut self, key: usize) -> bool {
        let Some(connection) = self.crowd.get_mut(key) else {
            return true;
        };
        if connection.is_forsaken(&self.rules) {
            tracing::debug!(request = %String::from_utf8_lossy(connection.line()), "not run: its client has gone");
            self.note_in_cell(Cell::was_gone);
            self.close(key);
            return true;
        }
        let is_late = connection.is_late(&self.rules, self.now);
        if is_late {
            tracing::debug!(request = %String::from_utf8_lossy(connection.line()), "not run: it waited too long");
            let leaving = matches!(self.stage, Stage::Leaving { .. });
            connection.respond(too_late(), leaving, &self.rules, self.now);
            self.note_in_cell(Cell::was_late);
            self.turn(key);
        }
        is_late
    }

    /// A request begins: whoever need not wait for its end is not made to.
    fn make_way(&mut self, key: usize) {
        if let Some(connection) = self.crowd.get_mut(key) {
            connection.begin();
        }
        if self.rules.budget.is_over() && self.stage == Stage::Serving {
            self.retire_because(Why::Requests);
        } else if self.pace.is_slow() && self.has_siblings() {
            self.give_away();
        }
    }

    fn note_in_cell(&self, note: impl FnOnce(&Cell)) {
        if let Some(cell) = self.cell() {
            note(cell);
        }
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
            self.ready.extend(self.postponed.drain(..));
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

/// Calls the application, and has the frames of the stack below this one known as its own.
#[inline(never)]
fn ask<A: App>(app: &mut A, request: Request, context: &mut Context, client: &Wire) -> crate::Result<Response> {
    let floor = 0;
    last_words::begin(client, &raw const floor);
    app.handle(request, context)
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
            let mut response = failure(error.status());
            if error.is_temporary() {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        }
        Err(_) => {
            tracing::error!(request = %line(), status = 500, "the handler panicked");
            failure(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Said instead of running what nobody may be waiting for any more.
fn too_late() -> Response {
    let mut response = failure(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// What the client sees of a handler's failure.
fn failure(status: StatusCode) -> Response {
    let mut response = Response::new(Body::from(format!("{status}\n")));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}
