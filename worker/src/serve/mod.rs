//! A worker's loop: waits, takes connections in, runs one request at a time, lets the rest drain, and leaves in time.
//!
//! Owns the application, the connections and the worker's cell of the scoreboard. Starts no thread, never waits for
//! a client: slow and silent ones cost a descriptor.

mod budget;
mod chunks;
mod connection;
mod crowd;
pub(crate) mod disk;
mod ear;
mod ending;
mod exchange;
mod handling;
mod handover;
mod head;
mod held;
mod inlets;
mod leaving;
mod post;
mod preface;
mod records;
mod refusal;
mod relief;
mod stage;
mod turned_away;
mod turns;
mod upload;
mod wire;

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};

use self::connection::Rules;
use self::crowd::Crowd;
use self::ear::Ear;
pub(crate) use self::head::is_host;
use self::held::Held;
use self::inlets::Inlets;
use self::leaving::LAST_CHANCE;
pub(crate) use self::post::Post;
use self::records::Records;
use self::relief::Relief;
use self::stage::Stage;
use self::turned_away::TurnedAway;
use self::wire::Scratch;
use crate::app::{App, Request, Worker};
use crate::channel::Channel;
use crate::cleaning::Cleaner;
use crate::database::Database;
use crate::pace::{Pace, SLOW};
use crate::panics::contain;
use crate::protocol::{Panics, Report};
use crate::scoreboard::{Cell, Scoreboard, State};
use crate::sys::shared::Shared;
use crate::{clock, last_words, request_local};

/// How many events are taken from the kernel at a time.
const EVENTS: usize = 64;
/// When waiting for events took longer than this, in nanoseconds, there were none at first.
const NAP: u64 = 20_000;

/// Connections have tokens below this: serial number and place.
const CHANNEL: u64 = u64::MAX;
const TERMINATE: u64 = u64::MAX - 1;
const INBOX: u64 = u64::MAX - 2;
const BELL: u64 = u64::MAX - 3;
const FIRST_LISTENER: u64 = u64::MAX - 1000;

const MILLI: u64 = 1_000_000;

pub(crate) struct Server<A> {
    app: A,
    worker: Worker,
    panics: Panics,
    cleaner: Cleaner,
    since: u64,
    served: u64,
    request_timeout: u64,
    max_connections: usize,
    /// How many descriptors this process may have.
    descriptors: usize,
    /// How many connections are given in one message at most: siblings must have the descriptors for it.
    batch: usize,
    rules: Rules,
    records: Records,
    pace: Pace,
    scratch: Scratch,
    scoreboard: Rc<Shared<Scoreboard>>,
    /// The way to the supervisor, if there is one.
    channel: Option<Channel>,
    terminate: UnixStream,
    database: Option<Database>,
    ear: Ear,
    epoll: Epoll,
    /// When the loop last looked at the clock.
    now: u64,
    /// The earliest moment at which what this turn of the loop has found can have come.
    found_since: u64,
    relief: Relief,
    turned_away: TurnedAway,
    /// When connections are offered to the siblings again, if the inbox had no room for them.
    gives_again: Option<u64>,
    /// When it is next looked whether a sibling has less to do.
    compares_again: u64,
    inlets: Inlets,
    crowd: Crowd,
    /// Connections that can go on.
    ready: VecDeque<usize>,
    /// Connections that could go on if a response did not hold this worker: they are left to the siblings.
    postponed: Vec<usize>,
    /// Whole requests that wait for the worker to be free.
    waiting: VecDeque<(usize, u32, Box<Request>)>,
    /// The request that keeps this worker from serving another.
    held: Option<Held>,
    stage: Stage,
}

impl<A: App> Server<A> {
    /// Tells the supervisor that this worker takes requests, and takes its orders from now on.
    ///
    /// # Errors
    /// `BrokenPipe` if the supervisor has hung up; else what epoll or sendmsg say.
    pub(crate) fn report_for_duty(&mut self, channel: Channel) -> std::io::Result<()> {
        self.epoll.add(&channel, EpollEvent::new(EpollFlags::EPOLLIN, CHANNEL))?;
        channel.send(&Report::Ready, &[])?;
        last_words::report_to(Some(&channel));
        self.channel = Some(channel);
        Ok(())
    }

    /// Serves until told to leave and everything held is served.
    ///
    /// # Errors
    /// What epoll says, if it fails: then nothing can be served any more.
    pub(crate) fn run(&mut self) -> Result<(), Errno> {
        self.settle();
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut turn_began = self.now;
        loop {
            // One moment for both: what one holds to be resting the other must not hold to be over.
            self.now = clock::now();
            let asked = self.now;
            let takes = self.may_take() || self.may_relieve();
            self.inlets.wait_if(takes, &self.epoll, self.now);
            self.ear.wait_if(self.database.as_ref(), &self.epoll);
            let found = match self.epoll.wait(&mut events, self.patience()) {
                Err(Errno::EINTR) => 0,
                found => found?,
            };
            self.now = clock::now();
            self.found_since = if self.now.saturating_sub(asked) >= NAP { self.now } else { turn_began };
            turn_began = self.now;
            // Whoever is in the inbox has waited for longer than a newcomer.
            let is_parcel = |event: &&EpollEvent| event.data() == INBOX;
            let is_given = events[..found].iter().any(|event| is_parcel(&event));
            if is_given {
                self.take_over();
            }
            for event in events[..found].iter().filter(|event| !is_parcel(event)) {
                self.note(*event);
            }
            if let Stage::Leaving { .. } = self.stage {
                self.take_what_is_left();
            }
            // Whoever has just been given has a turn first, before it may be given again.
            if !is_given {
                self.share();
            }
            self.give_turns();
            self.break_off_if_overdue();
            if self.now >= self.crowd.next_look() {
                self.look_at_deadlines();
            }
            self.hand_over();
            if self.may_leave() {
                self.end_request();
                return Ok(());
            }
        }
    }

    /// The application's last word.
    pub(crate) fn stop(&mut self) {
        if let Some(database) = &mut self.database {
            database.let_go();
        }
        if contain(|| self.app.stop()).is_err() {
            tracing::error!("the application's stop panicked");
        }
        request_local::end();
    }

    fn note(&mut self, event: EpollEvent) {
        match event.data() {
            CHANNEL => self.obey(),
            TERMINATE => self.depart_on_signal(),
            BELL => {
                if let Some(database) = &mut self.database {
                    database.let_go_if_wanted();
                }
            }
            token if token >= FIRST_LISTENER => self.take_in((token - FIRST_LISTENER) as u32),
            token => {
                let flags = event.events();
                let gone = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
                let half_closed = gone || flags.contains(EpollFlags::EPOLLRDHUP);
                let readable = half_closed || flags.contains(EpollFlags::EPOLLIN);
                let writable = gone || flags.contains(EpollFlags::EPOLLOUT);
                if let Some((key, connection)) = self.crowd.addressed(token) {
                    connection.wire.notice(readable, writable, half_closed);
                    if gone {
                        connection.wire.lose();
                    }
                    self.enqueue(key);
                }
            }
        }
    }

    fn is_free(&self) -> bool {
        self.held.is_none()
    }

    /// Whether a connection could be served here.
    fn may_take(&self) -> bool {
        self.is_free() && self.has_room() && !self.rules.budget.is_used_up()
    }

    /// Whether this worker could serve newcomers, had it room for them.
    fn is_full(&self) -> bool {
        self.stage == Stage::Serving && self.is_free() && !self.has_room() && !self.rules.budget.is_used_up()
    }

    fn has_room(&self) -> bool {
        self.crowd.len() < self.max_connections
    }

    /// How long there is nothing to do unless something happens.
    fn patience(&self) -> EpollTimeout {
        let now = self.now;
        let rest = self.inlets.rest(now);
        let is_leaving = matches!(self.stage, Stage::Leaving { .. });
        let asks_listeners = is_leaving && self.may_take() && rest.is_none() && self.inlets.may_yield();
        if !self.ready.is_empty() || asks_listeners {
            return EpollTimeout::ZERO;
        }
        let mut until = self.crowd.next_look().min(rest.unwrap_or(u64::MAX));
        if let Stage::Leaving { since, until: bound } = self.stage {
            let chance = Some(since + LAST_CHANCE).filter(|chance| now < *chance);
            until = until.min(bound).min(chance.unwrap_or(u64::MAX));
        }
        if self.is_full() && now < self.relief.again {
            until = until.min(self.relief.again);
        }
        if let Some(Held { since, deadline, .. }) = &self.held {
            let gives = Some(since.saturating_add(SLOW)).filter(|gives| self.has_siblings() && now < *gives);
            until = until.min(*deadline).min(gives.unwrap_or(u64::MAX));
        }
        until = until.min(self.gives_again.unwrap_or(u64::MAX)).min(self.inlets.looks_again(now));
        if until == u64::MAX {
            return EpollTimeout::NONE;
        }
        // Rounded up: waking a moment early would mean to wake twice.
        let millis = until.saturating_sub(now).div_ceil(MILLI);
        EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::NONE)
    }

    fn settle(&self) {
        if let Some(cell) = self.cell() {
            cell.settle(self.shown_state());
        }
    }

    fn shown_state(&self) -> State {
        match self.stage {
            Stage::Serving => State::Idle,
            Stage::Retiring { .. } | Stage::Leaving { .. } => State::Draining,
        }
    }

    fn cell(&self) -> Option<&Cell> {
        self.scoreboard.cell(self.worker.slot)
    }
}
