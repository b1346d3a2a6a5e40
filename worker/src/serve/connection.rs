//! One client's connection, from its acceptance to its end.
//!
//! Between requests it is nothing but a socket and the bytes that arrived and nobody took: that is what makes it
//! cheap to keep and possible to hand on. Knows when it must have got further; knows nothing of the application.

mod stages;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use super::budget::Budget;
use super::exchange::{AtRest, Engines, Exchange};
use super::head::HeadReader;
use super::records::Record;
use super::refusal::{Refusal, Refused};
use super::upload::Bounds;
use super::wire::Wire;
use crate::access::Query;
use crate::app::{Request, Response};
use crate::inbox::Label;
use crate::protocol::Proxies;
use crate::woken::Woken;

/// How long what a refused client still sends is read and thrown away, in nanoseconds, and how much of it, in bytes.
const LINGER: (u64, usize) = (2_000_000_000, 16 * 1024 * 1024);

/// From worker to worker: in the place of the address of somebody on a proxy's Unix socket.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What all connections of a worker have in common; times in nanoseconds.
pub(super) struct Rules {
    pub(super) engines: Engines,
    pub(super) woken: Woken,
    pub(super) bounds: Bounds,
    pub(super) longest_head: usize,
    pub(super) header_timeout: u64,
    pub(super) body_timeout: u64,
    pub(super) send_timeout: u64,
    pub(super) keep_alive_timeout: u64,
    /// How long a request may have waited and still be run.
    pub(super) queue_timeout: Option<u64>,
    /// Whether a client that has said that it sends nothing more does not wait for its answer.
    pub(super) half_closed_is_gone: bool,
    pub(super) budget: Budget,
    /// How much of a query is shown where a request line is.
    pub(super) query: Query,
    /// Whose word counts for the client's address.
    pub(super) proxies: Proxies,
}

pub(super) struct Connection {
    pub(super) wire: Rc<Wire>,
    /// Who is at its other end, as the socket says, or its PROXY header; `None` over a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    /// Whether a PROXY header says that there is somebody on a Unix socket, which is none of ours.
    pub(super) is_hearsay: bool,
    /// Tells this connection from an earlier one at the same place.
    pub(super) serial: u32,
    /// Whether the loop waits for its socket.
    pub(super) registered: bool,
    /// Whether it stands in the queue of those that can go on.
    pub(super) queued: bool,
    /// When it came, or its last response had left: an idle one has been so since then.
    pub(super) quiet_since: u64,
    /// When the last of what has arrived did.
    pub(super) arrived: u64,
    /// Since when its next request can have waited for a worker, and not for the answer to the one before it; 0 if there
    /// was none.
    pub(super) unanswered_since: u64,
    /// When it must have got further; `u64::MAX` if nothing presses.
    pub(super) deadline: u64,
    /// What its client is told instead of an answer, until somebody has counted it.
    refused: Option<Refused>,
    /// What is remembered of its request, if anything is.
    pub(super) record: Option<Box<Record>>,
    /// Whether its client got all of the last response.
    has_sent: bool,
    arrival: Arrival,
    stage: Stage,
}

/// When a request arrived.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Arrival {
    /// Its head began to.
    pub(super) head: u64,
    /// The head was whole.
    pub(super) body: u64,
    /// All of it was.
    pub(super) whole: u64,
}

enum Stage {
    /// A PROXY header arrives, or none does yet.
    Preface,
    /// A head arrives, or none does yet: then it is idle.
    Head { reader: HeadReader, timed: bool, rested: Option<AtRest> },
    /// A request is being exchanged.
    Exchange(Box<Exchange>),
    /// Our own words leave.
    Refusal { words: Vec<u8>, said: usize },
    /// They have left; what the client still sends is thrown away.
    Linger { left: usize },
}

/// What a connection wants of the loop.
#[derive(Debug)]
pub(super) enum Wish {
    /// To be told when its socket is ready.
    Wait,
    /// Its turn again, after the others: it has more than it has been given time for.
    Again,
    /// Its request to be served.
    Serve(Box<Request>),
    /// To be closed.
    Close,
    /// To be closed, since it did not begin with a PROXY header that can be believed, for this reason.
    TurnAway(&'static str),
}

impl Stage {
    /// No request has begun; `timed` says that one must arrive by the connection's deadline.
    fn before_a_request(is_announced: bool, timed: bool) -> Stage {
        match is_announced {
            true => Stage::Preface,
            false => Stage::Head { reader: HeadReader::default(), timed, rested: None },
        }
    }
}

impl Connection {
    /// One that is taken in now, and can have come at `came` already; `is_announced` says that a PROXY header comes first.
    pub(super) fn new(
        wire: Wire,
        (peer, is_announced): (Option<SocketAddr>, bool),
        serial: u32,
        rules: &Rules,
        came: u64,
        now: u64,
    ) -> Connection {
        Connection {
            wire: Rc::new(wire),
            peer,
            is_hearsay: false,
            serial,
            registered: false,
            queued: false,
            quiet_since: came,
            arrived: now,
            unanswered_since: 0,
            deadline: now.saturating_add(rules.header_timeout),
            refused: None,
            record: None,
            has_sent: false,
            arrival: Arrival { head: now, body: now, whole: now },
            stage: Stage::before_a_request(is_announced, true),
        }
    }

    /// One that was another worker's. What it says of times to come is believed within our own limits.
    pub(super) fn taken_over(wire: Wire, label: Label, serial: u32, rules: &Rules, now: u64) -> Connection {
        let quiet_since = label.quiet_since.min(now);
        let deadline = match label.head_by {
            Some(head_by) => head_by.min(now.saturating_add(rules.header_timeout)),
            None => quiet_since.saturating_add(rules.keep_alive_timeout),
        };
        let stage = Stage::before_a_request(label.is_announced, label.head_by.is_some());
        Connection {
            wire: Rc::new(wire),
            peer: label.peer.filter(|peer| *peer != NOBODY),
            is_hearsay: label.peer == Some(NOBODY),
            serial,
            registered: false,
            queued: false,
            quiet_since,
            arrived: quiet_since,
            unanswered_since: quiet_since,
            deadline,
            refused: None,
            record: None,
            has_sent: false,
            arrival: Arrival { head: now, body: now, whole: now },
            stage,
        }
    }

    /// What another worker must know to go on with it; `None` unless it is between requests.
    pub(super) fn label(&self) -> Option<Label> {
        let (is_announced, timed) = match self.stage {
            Stage::Preface => (true, true),
            Stage::Head { timed, .. } => (false, timed),
            _ => return None,
        };
        let head_by = timed.then_some(self.deadline);
        let peer = self.peer.or(self.is_hearsay.then_some(NOBODY));
        Some(Label { is_announced, peer, quiet_since: self.quiet_since, head_by })
    }

    /// Whether it is between requests, with nothing begun.
    pub(super) fn is_idle(&self) -> bool {
        match &self.stage {
            Stage::Preface => self.wire.inbound().is_empty(),
            Stage::Head { reader, .. } => !reader.begun(),
            _ => false,
        }
    }

    /// Whether it is nothing but a socket and some bytes: no request has come of it that must be answered.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.stage, Stage::Preface | Stage::Head { .. })
    }

    /// Whether its end must be waited for: a request is arriving, served or answered, and the client has not got all
    /// of it.
    pub(super) fn is_engaged(&self) -> bool {
        match self.stage {
            Stage::Linger { .. } => self.wire.is_owed(),
            _ => !self.is_idle(),
        }
    }

    /// Whether a response is leaving.
    pub(super) fn is_sending(&self) -> bool {
        matches!(&self.stage, Stage::Exchange(exchange) if exchange.is_sending())
    }

    /// Whether a body on its way is in a file.
    pub(super) fn has_file(&self) -> bool {
        matches!(&self.stage, Stage::Exchange(exchange) if exchange.has_file())
    }

    /// Whether nothing is left of it but bytes to be sent, or to be thrown away.
    pub(super) fn only_ends(&self) -> bool {
        self.is_sending() || matches!(self.stage, Stage::Refusal { .. } | Stage::Linger { .. })
    }

    /// Whether nobody waits any more for the answer to its request.
    pub(super) fn is_forsaken(&self, rules: &Rules) -> bool {
        self.wire.is_lost() || (rules.half_closed_is_gone && self.wire.is_half_closed())
    }

    /// Whether its request has waited for too long: here since its last bytes were read, and, as far as the kernel
    /// knows, in the queue, in the inbox or beside a busy worker before that.
    pub(super) fn is_late(&self, rules: &Rules, now: u64) -> bool {
        rules.queue_timeout.is_some_and(|most| {
            let outside = || self.wire.silence().min(now.saturating_sub(self.unanswered_since));
            now.saturating_sub(self.arrived) > most || (self.peer.is_some() && outside() > most)
        })
    }

    /// Since when its request has been waiting for its handler at the most, if what was last heard of it can have come
    /// at `found_since`: before that, or before it had its last response, there was nothing to wait with.
    pub(super) fn waits_since(&self, found_since: u64) -> u64 {
        self.quiet_since.max(found_since).min(self.arrived)
    }

    /// The handler of its request begins.
    pub(super) fn begin(&mut self) {
        if let Stage::Exchange(exchange) = &mut self.stage {
            exchange.spend();
        }
    }

    /// When its request arrived.
    pub(super) fn arrival(&self) -> Arrival {
        self.arrival
    }

    /// What is remembered of its request, if that is over, and whether its client got all of the response.
    pub(super) fn take_record(&mut self) -> Option<(Box<Record>, bool)> {
        let goes_on = matches!(self.stage, Stage::Exchange(_)) && !self.has_sent;
        self.record.take_if(|_| !goes_on).map(|record| (record, self.has_sent))
    }

    /// What its client has been told instead of an answer, once that has been said as far as it ever will be.
    pub(super) fn take_refused(&mut self, is_over: bool) -> Option<Refused> {
        let is_said = is_over || !matches!(self.stage, Stage::Refusal { .. });
        self.refused.take_if(|_| is_said)
    }

    /// The request line of the present exchange.
    pub(super) fn line(&self) -> &[u8] {
        match &self.stage {
            Stage::Exchange(exchange) => exchange.line(),
            _ => b"",
        }
    }

    /// Goes as far as its socket allows, but not beyond one request.
    pub(super) fn advance(&mut self, rules: &Rules, now: u64) -> Wish {
        loop {
            let step = match &mut self.stage {
                Stage::Preface => self.read_preface(rules, now),
                Stage::Head { .. } => self.read_head(rules, now),
                Stage::Exchange(_) => self.exchange(rules, now),
                Stage::Refusal { .. } => self.speak(now),
                Stage::Linger { .. } => self.linger(),
            };
            if let Some(wish) = step {
                return wish;
            }
        }
    }

    /// The application's answer; `leaving` says that the connection is not to be kept.
    pub(super) fn respond(&mut self, response: Response, leaving: bool, rules: &Rules, now: u64) {
        if let Stage::Exchange(exchange) = &mut self.stage {
            exchange.respond(response, leaving);
            self.deadline = now.saturating_add(rules.send_timeout);
        }
    }

    /// The client has been answered by others, and waits for nothing more.
    pub(super) fn hang_up(&mut self, now: u64) {
        self.begin_to_linger(now);
    }

    /// Its deadline has passed.
    pub(super) fn expire(&mut self, now: u64) -> Wish {
        if matches!(self.stage, Stage::Preface) {
            return Wish::TurnAway("its PROXY header did not arrive in time");
        }
        let slow = |why| Refusal::new(http::StatusCode::REQUEST_TIMEOUT, why);
        let refusal = match &self.stage {
            Stage::Head { reader, .. } if reader.begun() => slow("the head did not arrive in time"),
            Stage::Exchange(exchange) if exchange.receives() => slow("the body did not arrive in time"),
            _ => return Wish::Close,
        };
        self.refuse(refusal, None, now);
        Wish::Again
    }
}
