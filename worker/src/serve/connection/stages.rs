//! What a connection does at each of its stages, as far as its socket lets it: `None` when it is at the next one.
//!
//! Owns how one stage leads to another. Never waits, and never looks at the clock.

use bytes::Buf;

use super::{Connection, LINGER, Rules, Stage, Wish};
use crate::access::LONGEST;
use crate::serve::exchange::{Exchange, Progress};
use crate::serve::head::{Framing, Head, HeadReader};
use crate::serve::preface::{self, Origin};
use crate::serve::refusal::{Refusal, Refused};
use crate::serve::upload;
use crate::serve::wire::Fill;

impl Connection {
    pub(super) fn read_preface(&mut self, rules: &Rules, now: u64) -> Option<Wish> {
        if !rules.proxies.trusted.covers(self.peer.map(|peer| peer.ip())) {
            return Some(Wish::TurnAway("it is not from one of trusted_proxies"));
        }
        let read = preface::read(&self.wire.inbound());
        match read {
            Ok(Some((origin, length))) => {
                self.wire.inbound().advance(length);
                self.is_hearsay = origin == Origin::Unix;
                self.peer = match origin {
                    Origin::Socket => self.peer,
                    Origin::Address(address) => Some(address),
                    Origin::Unix => None,
                };
                self.stage = Stage::before_a_request(false, true);
                None
            }
            Ok(None) => match self.wire.fill() {
                Fill::Some => {
                    self.arrived = now;
                    None
                }
                Fill::NotNow => Some(Wish::Wait),
                // Whoever only looks whether we listen says nothing.
                Fill::End | Fill::Broken if self.wire.inbound().is_empty() => Some(Wish::Close),
                Fill::End | Fill::Broken => Some(Wish::TurnAway("it ended within its PROXY header")),
            },
            Err(why) => Some(Wish::TurnAway(why)),
        }
    }

    pub(super) fn read_head(&mut self, rules: &Rules, now: u64) -> Option<Wish> {
        let Stage::Head { reader, timed, rested } = &mut self.stage else {
            return None;
        };
        if !rules.budget.allows() {
            return Some(Wish::Wait);
        }
        let judged = {
            let inbound = self.wire.inbound();
            if inbound.is_empty() { Ok(None) } else { reader.read(&inbound, rules.longest_head) }
        };
        match judged {
            Ok(Some(head)) => {
                if matches!(head.framing, Framing::Length(length) if length > rules.bounds.longest) {
                    self.refuse(upload::too_large(), Some(&head), now);
                    return None;
                }
                let (engines, longest) = (&rules.engines, rules.bounds.longest);
                let exchange = Exchange::begin(
                    engines,
                    rested.take(),
                    &self.wire,
                    &head,
                    longest,
                    rules.budget.permit(),
                    rules.query,
                );
                self.has_sent = false;
                self.arrival.body = now;
                self.stage = Stage::Exchange(Box::new(exchange));
                self.deadline = now.saturating_add(rules.body_timeout);
                None
            }
            Ok(None) => {
                if reader.begun() && !*timed {
                    *timed = true;
                    self.deadline = now.saturating_add(rules.header_timeout);
                }
                let has_begun = reader.begun();
                match self.wire.fill() {
                    Fill::Some => {
                        self.arrived = now;
                        if !has_begun {
                            self.arrival.head = now;
                        }
                        None
                    }
                    Fill::NotNow => Some(Wish::Wait),
                    Fill::End | Fill::Broken => Some(Wish::Close),
                }
            }
            Err(refusal) => {
                self.refuse(refusal, None, now);
                None
            }
        }
    }

    pub(super) fn exchange(&mut self, rules: &Rules, now: u64) -> Option<Wish> {
        let Stage::Exchange(exchange) = &mut self.stage else {
            return None;
        };
        if exchange.is_handled() {
            return Some(Wish::Wait);
        }
        let before = self.wire.traffic();
        match exchange.advance(&rules.woken, &rules.bounds) {
            progress @ (Progress::Waits | Progress::Tires) => {
                if self.wire.moved_since(before) {
                    let patience = if exchange.receives() { rules.body_timeout } else { rules.send_timeout };
                    self.deadline = now.saturating_add(patience);
                }
                Some(if matches!(progress, Progress::Tires) { Wish::Again } else { Wish::Wait })
            }
            Progress::Whole(request) => {
                if self.wire.moved_since(before) {
                    self.arrived = now;
                }
                self.deadline = u64::MAX;
                self.arrival.whole = now;
                Some(Wish::Serve(request))
            }
            Progress::Done { keep: true } => {
                self.has_sent = true;
                self.arrival.head = now;
                let idle = Stage::Head { reader: HeadReader::default(), timed: false, rested: None };
                if let Stage::Exchange(exchange) = std::mem::replace(&mut self.stage, idle)
                    && let Some(engine) = exchange.end()
                    && let Stage::Head { rested, .. } = &mut self.stage
                {
                    *rested = rules.engines.keep(engine);
                }
                self.quiet_since = now;
                self.unanswered_since = now;
                self.arrived = now;
                self.deadline = now.saturating_add(rules.keep_alive_timeout);
                let more = self.wire.may_have_more();
                Some(if more { Wish::Again } else { Wish::Wait })
            }
            // It may have sent more, or may be about to.
            Progress::Done { keep: false } if exchange.client_goes_on() || self.wire.may_have_more() => {
                self.has_sent = true;
                self.begin_to_linger(now);
                None
            }
            Progress::Done { keep: false } => {
                self.has_sent = true;
                Some(Wish::Close)
            }
            Progress::Broken => Some(Wish::Close),
            Progress::Refused(refusal) => {
                self.refuse(refusal, None, now);
                None
            }
        }
    }

    /// `whole` is the head, if nothing was wrong with that.
    pub(super) fn refuse(&mut self, refusal: Refusal, whole: Option<&Head>, now: u64) {
        tracing::debug!(status = refusal.status.as_u16(), why = refusal.why, peer = ?self.peer, "request refused");
        let is_head = match &self.stage {
            Stage::Head { reader, .. } => reader.is_head(),
            Stage::Exchange(exchange) => exchange.is_head(),
            Stage::Preface | Stage::Refusal { .. } | Stage::Linger { .. } => false,
        };
        self.deadline = now.saturating_add(LINGER.0);
        let line = match &self.stage {
            Stage::Exchange(exchange) => exchange.line().to_vec(),
            _ => first_line(&self.wire.inbound()).to_vec(),
        };
        let headers = match &mut self.stage {
            Stage::Exchange(exchange) => exchange.take_headers(),
            Stage::Head { .. } => whole.map(|head| head.headers(&self.wire.inbound())),
            Stage::Preface | Stage::Refusal { .. } | Stage::Linger { .. } => None,
        };
        let sent_before = self.wire.traffic().1;
        self.refused = Some(Refused { status: refusal.status, line, headers, sent_before });
        self.stage = Stage::Refusal { words: refusal.response(is_head), said: 0 };
    }

    pub(super) fn speak(&mut self, now: u64) -> Option<Wish> {
        let Stage::Refusal { words, said } = &mut self.stage else {
            return None;
        };
        match self.wire.send(&words[*said..]) {
            Ok(0) => Some(Wish::Wait),
            Ok(length) => {
                *said += length;
                if *said == words.len() {
                    self.begin_to_linger(now);
                }
                None
            }
            Err(_) => Some(Wish::Close),
        }
    }

    pub(super) fn begin_to_linger(&mut self, now: u64) {
        self.wire.finish();
        self.deadline = now.saturating_add(LINGER.0);
        self.stage = Stage::Linger { left: LINGER.1 };
    }

    pub(super) fn linger(&mut self) -> Option<Wish> {
        let Stage::Linger { left } = &mut self.stage else {
            return None;
        };
        match self.wire.discard() {
            Ok(None) => Some(Wish::Wait),
            Ok(Some(length)) if length > 0 && length <= *left => {
                *left -= length;
                None
            }
            _ => Some(Wish::Close),
        }
    }
}

/// The first line of what has arrived, as far as it can be of interest.
fn first_line(inbound: &[u8]) -> &[u8] {
    let start = inbound.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(inbound.len());
    let line = &inbound[start..];
    let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(line.len());
    &line[..end.min(LONGEST)]
}
