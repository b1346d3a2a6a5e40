//! One request in the application's hands: the clock runs, panics and errors end here. What follows is `ending`'s.

use http::header::RETRY_AFTER;
use http::{Extensions, HeaderValue, StatusCode};

use super::wire::Wire;
use super::{Held, Server, Stage};
use crate::app::{App, Context, Own, Request, Response};
use crate::body::Body;
use crate::client::Client;
use crate::log::{RequestId, speak_of};
use crate::panics::{Panicked, contain};
use crate::protocol::Why;
use crate::scoreboard::Cell;
use crate::{clock, last_words, request_local};

/// What a client has been told whose request's time was over.
const GATEWAY_TIMEOUT: u16 = 504;

impl<A: App> Server<A> {
    /// Runs the application on one request.
    pub(super) fn serve(&mut self, key: usize, request: Request) {
        // What the loop did since it looked at the clock is not this request's time.
        self.now = clock::now();
        let id = RequestId::of(request.headers(), self.since, self.worker.pid, self.served);
        if self.records.is_on() {
            self.remember(key, &request, &id);
        }
        if self.is_not_to_run(key) {
            return;
        }
        self.make_way(key);
        let Some(connection) = self.crowd.get_mut(key) else {
            return;
        };
        let cell = self.scoreboard.cell(self.worker.slot);
        let (peer, served) = (connection.peer, self.served);
        let client = Client::of(request.headers(), peer, connection.is_hearsay, &self.rules.proxies);
        let own = Own {
            peer,
            client,
            served,
            id: id.clone(),
            extensions: Extensions::new(),
            deferred: Vec::new(),
            endings: Vec::new(),
        };
        let database = self.database.as_mut();
        let mut context = Context { worker: &self.worker, cell, database, own };
        self.served += 1;
        let begun = self.now;
        if let Some(cell) = cell {
            cell.has_waited(begun.saturating_sub(connection.waits_since(self.found_since)));
            if self.records.names_clients() {
                cell.set_client(context.own.client.ip());
            }
            cell.begin(begun, begun.saturating_add(self.request_timeout), connection.line());
        }
        if let Some(record) = &mut connection.record {
            record.handle(begun);
        }
        speak_of(Some(id));
        // What was touched while no request ran is no request's.
        request_local::end();
        let client = &connection.wire;
        let answer = contain(|| ask(&mut self.app, request, &mut context, client));
        let told = last_words::end();
        let Context { own, .. } = context;
        let response = presentable(answer, connection.line());
        self.now = clock::now();
        // The application may have moved it.
        let deadline = cell.map_or(u64::MAX, Cell::deadline);
        let is_produced = response.body().needs_the_application() && told.is_none();
        let (serial, answered) = (connection.serial, self.now);
        if let Some(cell) = cell {
            cell.answered(if told.is_some() { GATEWAY_TIMEOUT } else { response.status().as_u16() });
        }
        if let Some(record) = &mut connection.record {
            record.answered(if told.is_some() { StatusCode::GATEWAY_TIMEOUT } else { response.status() }, self.now);
            if told.is_some() {
                record.blame("request timeout");
            }
        }
        if let Some(bytes) = told {
            connection.wire.was_written_to(bytes);
            tracing::warn!(request = %String::from_utf8_lossy(connection.line()), "the handler has returned, too late: its client was told 504");
            connection.hang_up(self.now);
            drop(response);
        } else {
            let leaving = matches!(self.stage, Stage::Leaving { .. });
            connection.respond(response, leaving, &self.rules, self.now);
        }
        self.held = Some(Held { key, serial, since: begun, answered, deadline, is_produced, own });
        self.turn(key);
        self.remember_who_leaves(key);
        self.end_if_sent();
    }

    /// A response that has not left with its first write is known to the supervisor until it has.
    fn remember_who_leaves(&mut self, key: usize) {
        if let Some(cell) = self.scoreboard.cell(self.worker.slot)
            && let Some(connection) = self.crowd.get_mut(key)
            && let Some(mut record) = connection.record.take()
        {
            self.records.leaves(&mut record, connection.line(), connection.wire.traffic().1, cell);
            connection.record = Some(record);
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
            if let Some(record) = &mut connection.record {
                record.answered(StatusCode::SERVICE_UNAVAILABLE, self.now);
                record.blame("waited longer than queue_timeout");
            }
            connection.respond(too_late(), leaving, &self.rules, self.now);
            self.note_in_cell(Cell::was_late);
            self.turn(key);
        }
        is_late
    }

    /// From now on it is known of this request what is to be written down when it is over.
    fn remember(&mut self, key: usize, request: &Request, id: &RequestId) {
        if let Some(connection) = self.crowd.get_mut(key) {
            let client =
                Client::of(request.headers(), connection.peer, connection.is_hearsay, &self.rules.proxies).ip();
            connection.record = Some(self.records.begin(request, connection, client, id, self.now));
        }
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

    /// A response may take as long to leave as a handler may run. Where the application itself produces it and the client
    /// does not take it in time, this one connection pays, and not the worker; where deferred work waits for it, that
    /// waits no longer.
    pub(super) fn break_off_if_overdue(&mut self) {
        let Some(Held { key, is_produced, .. }) = self.held.as_ref().filter(|held| self.now >= held.deadline) else {
            return;
        };
        if *is_produced {
            let key = *key;
            tracing::warn!(request = self.line(), "response broken off: not taken within request_timeout");
            self.close(key);
        }
        self.end_request();
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
fn presentable(answer: Result<crate::Result<Response>, Panicked>, line: &[u8]) -> Response {
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
        Err(Panicked) => {
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
