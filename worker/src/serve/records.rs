//! What became of each request, written down when it is over: a line of the access log, and a word if it was slow.
//!
//! Owns what is remembered of a request until then; nothing, if neither is wanted. A line is one write, and never waits: it
//! is out before the next request of its connection begins, so that a crash leaves at most the lines of requests that had
//! not ended to the supervisor.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use super::connection::{Arrival, Connection};
use super::refusal::Refused;
use crate::access::{Entry, Form, Query, shown};
use crate::app::{Request, Worker};
use crate::client::Client;
use crate::clock;
use crate::log::{Lines, RequestId};
use crate::protocol::{Accounts, Proxies};
use crate::scoreboard::{Cell, Left, Stand};

/// What stands for the status of a request whose client had gone before there was one: nginx's number for it.
const CLIENT_GONE: u16 = 499;

/// See the module's header.
pub(super) struct Records {
    form: Option<Form>,
    lines: Option<Lines>,
    skip: Vec<String>,
    /// In nanoseconds.
    slow: Option<u64>,
    query: Query,
    who: Entry,
}

/// What is remembered of a request.
pub(super) struct Record {
    entry: Entry,
    is_skipped: bool,
    /// When its head began, its body, its waiting for the worker, its handler, and its answer to leave.
    moments: [u64; 5],
    /// How much had been sent over its connection before.
    sent_before: u64,
    /// Where the cell has it, once its response does not leave at once.
    stand: Option<Stand>,
}

/// What takes its time in a request, as the moments of a record divide it.
const STAGES: [&str; 5] = ["head", "body", "waiting", "handler", "sending"];

impl Records {
    /// `lines` is where lines go; without it there is no access log.
    pub(super) fn new(accounts: Accounts, lines: Option<Lines>, worker: &Worker) -> Records {
        // The supervisor has parsed it before.
        let form = accounts.access.and_then(|form| form.parse().ok()).filter(|_| lines.is_some());
        let who = Entry {
            pool: worker.pool.clone(),
            worker: worker.slot,
            generation: worker.generation,
            pid: worker.pid as i32,
            ..Entry::default()
        };
        let slow = Some(accounts.slow_log.saturating_mul(super::MILLI)).filter(|slow| *slow > 0);
        Records { form, lines, skip: accounts.skip, slow, query: accounts.query, who }
    }

    /// Whether there is anything to be remembered.
    pub(super) fn is_on(&self) -> bool {
        self.form.is_some() || self.slow.is_some()
    }

    /// Whether the client is to be found in the cell, should the worker die.
    pub(super) fn names_clients(&self) -> bool {
        self.form.is_some()
    }

    /// A request is whole, and with its worker.
    pub(super) fn begin(
        &self,
        request: &Request,
        connection: &Connection,
        client: Option<IpAddr>,
        id: &RequestId,
        now: u64,
    ) -> Box<Record> {
        let path = request.uri().path();
        let target = request.uri().path_and_query().map_or(path, |target| target.as_str());
        let headers = self.masked(request.headers().clone());
        let entry = Entry {
            client,
            method: request.method().as_str().into(),
            target: shown(target.as_bytes(), self.query).into_owned(),
            protocol: format!("{:?}", request.version()).into_bytes(),
            status: CLIENT_GONE,
            headers,
            request_id: id.to_string(),
            ..self.who.clone()
        };
        let Arrival { head, body, whole } = connection.arrival();
        let is_skipped = self.skip.iter().any(|skip| entry.is_skipped(skip));
        let sent_before = connection.wire.traffic().1;
        Box::new(Record { entry, is_skipped, moments: [head, body, whole, now, now], sent_before, stand: None })
    }

    /// Its response does not leave at once: should the worker die before it has, the supervisor writes the line.
    pub(super) fn leaves(&self, record: &mut Record, line: &[u8], sent: u64, cell: &Cell) {
        if self.form.is_some() && !record.is_skipped && record.stand.is_none() {
            let (client, status) = (record.entry.client, record.entry.status);
            let [.., begun, answered] = record.moments;
            let sent = sent.saturating_sub(record.sent_before);
            record.stand = Some(cell.leaves(&Left { begun, answered, status, sent, client, line: line.to_vec() }));
        }
    }

    /// It is over; `sent` is how much has been sent over its connection by now, and `is_whole` says that its client got all
    /// that it was to get.
    pub(super) fn end(&self, record: Box<Record>, sent: u64, is_whole: bool, cell: Option<&Cell>) {
        let Record { mut entry, is_skipped, moments, sent_before, stand } = *record;
        let now = clock::now();
        if let Some(slow) = self.slow
            && now.saturating_sub(moments[0]) >= slow
        {
            complain(&entry, &moments, now);
        }
        let (Some(form), Some(lines), false) = (&self.form, &self.lines, is_skipped) else {
            return;
        };
        entry.ended = Some(SystemTime::now());
        entry.bytes = sent.saturating_sub(sent_before);
        entry.duration = Duration::from_nanos(now.saturating_sub(moments[2]));
        entry.handler = Duration::from_nanos(moments[4].saturating_sub(moments[3]));
        if !is_whole && entry.cause.is_none() {
            entry.cause = Some("client gone".into());
        }
        lines.write(&form.line(&entry));
        // Not before: rather twice than not at all.
        if let (Some(cell), Some(stand)) = (cell, stand) {
            cell.has_left(stand);
        }
    }

    /// A request was refused that the application never saw, and its client has been told.
    pub(super) fn refused(&self, refused: Refused, connection: &Connection, proxies: &Proxies, cell: Option<&Cell>) {
        if let Some(cell) = cell {
            cell.refused(refused.status.as_u16());
        }
        let (Some(form), Some(lines)) = (&self.form, &self.lines) else {
            return;
        };
        let headers = refused.headers.unwrap_or_default();
        let mut entry = Entry {
            ended: Some(SystemTime::now()),
            client: Client::of(&headers, connection.peer, connection.is_hearsay, proxies).ip(),
            status: refused.status.as_u16(),
            bytes: connection.wire.traffic().1.saturating_sub(refused.sent_before),
            headers: self.masked(headers),
            cause: Some("refused".into()),
            ..self.who.clone()
        };
        entry.line(&shown(&refused.line, self.query));
        lines.write(&form.line(&entry));
    }

    /// Without what is not to be shown of the address that led here.
    fn masked(&self, mut headers: HeaderMap) -> HeaderMap {
        if self.query != Query::Full
            && let Some(referrer) = headers.get_mut(http::header::REFERER)
            && let Ok(kept) = shown(referrer.as_bytes(), self.query).as_ref().try_into()
        {
            *referrer = kept;
        }
        headers
    }

    /// What a request has deferred has taken so long.
    pub(super) fn deferred(&self, request: &str, took: u64) {
        if self.slow.is_some_and(|slow| took >= slow) {
            tracing::warn!(request, stage = "deferred", took = seconds(took), "slow request");
        }
    }
}

impl Record {
    /// The handler begins.
    pub(super) fn handle(&mut self, now: u64) {
        (self.moments[3], self.moments[4]) = (now, now);
    }

    /// It is answered.
    pub(super) fn answered(&mut self, status: StatusCode, now: u64) {
        self.entry.status = status.as_u16();
        self.moments[4] = now;
    }

    /// So much has been sent over its connection by now.
    pub(super) fn has_sent(&self, sent: u64, cell: &Cell) {
        if let Some(stand) = self.stand {
            cell.has_sent(stand, sent.saturating_sub(self.sent_before));
        }
    }

    /// It has not gone as it should.
    pub(super) fn blame(&mut self, cause: &str) {
        self.entry.cause = Some(cause.into());
    }
}

/// Says that a request was slow, and what took longest.
fn complain(entry: &Entry, moments: &[u64; 5], now: u64) {
    let ends = moments[1..].iter().chain([&now]);
    let spans: Vec<u64> = moments.iter().zip(ends).map(|(begin, end)| end.saturating_sub(*begin)).collect();
    let longest = (0..STAGES.len()).max_by_key(|stage| spans[*stage]).unwrap_or_default();
    let [head, body, waiting, handler, sending] = [0, 1, 2, 3, 4].map(|stage| seconds(spans[stage]));
    let line = [&entry.method[..], &entry.target, &entry.protocol].join(&b' ');
    tracing::warn!(
        request_id = entry.request_id,
        request = %String::from_utf8_lossy(&line),
        status = entry.status,
        stage = STAGES[longest],
        took = seconds(now.saturating_sub(moments[0])),
        head, body, waiting, handler, sending,
        "slow request"
    );
}

fn seconds(nanos: u64) -> String {
    format!("{:.3}s", nanos as f64 / 1e9)
}
