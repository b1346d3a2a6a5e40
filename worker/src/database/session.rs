//! One login at the server, by this worker or by another: what it takes to use it, to clean it, to pass it on and to end it.

use std::cell::RefCell;
use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;

use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Client as Engine, Config, SimpleQueryMessage};

use super::cancel::cancel;
use super::deadline::Deadline;
use super::drive::{Late, over};
use super::driver::{Driver, Health, said};
use super::error::Error;
use super::frames::Frames;
use super::hand::{Book, Doings, Hand, Suspect};
use super::harmless::{PAUSE, Verdict};
use super::line::Line;
use super::reach::AttemptError;
use super::reset::{Answer, Before, Reset};
use super::socket::{Readiness, Socket};
use super::statements::{Learned, Prepared};
use super::tls::{Negotiated, Stream};
use crate::clock;

/// A session.
pub(crate) struct Session {
    pub(super) engine: Rc<Engine>,
    pub(super) driver: Driver,
    pub(super) book: Book,
    undoing: Undoing,
    /// Whether its socket speaks the protocol in the clear: only such a one can be passed on.
    pub(super) is_plain: bool,
    /// When it is too old.
    pub(super) expires: u64,
    pub(super) idle_since: u64,
}

/// How far the undoing of what the last request has done is.
enum Undoing {
    /// Nothing is under way. What every reset asks is prepared here.
    Over { left: Option<tokio_postgres::Statement> },
    /// The reset has been sent and not been answered, and with it a question about this statement.
    Sent { work: Pin<Box<Resetting>>, in_question: Option<Suspect> },
}

impl Default for Undoing {
    fn default() -> Undoing {
        Undoing::Over { left: None }
    }
}

type Resetting = dyn Future<Output = Result<Answer, tokio_postgres::Error>>;

/// How a session is made.
pub(super) struct Terms<'a> {
    pub(super) engine: &'a Config,
    pub(super) reset: &'a Reset,
    pub(super) learned: &'a Rc<RefCell<Learned>>,
    pub(super) deadline: &'a Deadline,
}

impl Session {
    /// Logs in over a fresh connection, until a moment in the clock's nanoseconds.
    pub(super) fn log_in(terms: &Terms<'_>, stream: Stream, expires: u64, until: u64) -> Result<Session, AttemptError> {
        let is_plain = matches!(stream, Stream::Plain(_));
        let socket = stream.socket();
        let ways = (socket.descriptor(), socket.readiness());
        let mut config = terms.engine.clone();
        match is_plain {
            true => config.ssl_mode(SslMode::Disable),
            false => config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct),
        };
        let line = Line::new(stream);
        let mut session = Session::begin(terms, &config, line, ways, is_plain, until)?;
        (session.expires, session.idle_since) = (expires, clock::now());
        session.prepare(terms.reset, until).map_err(|error| match error.code() {
            // Not in its words: they may be those of the text.
            Some(code) => AttemptError::Stop(format!(
                "init_sql: the server refuses it with SQLSTATE {}; its own log says why",
                code.code()
            )),
            None => AttemptError::Next(error.in_full()),
        })?;
        Ok(session)
    }

    /// Takes over what another worker has logged in and left clean.
    pub(super) fn resume(
        terms: &Terms<'_>,
        socket: OwnedFd,
        startup: Vec<u8>,
        until: u64,
    ) -> Result<Session, AttemptError> {
        let socket = Socket::new(socket);
        let ways = (socket.descriptor(), socket.readiness());
        let mut config = terms.engine.clone();
        config.ssl_mode(SslMode::Disable);
        let line = Line::resumed(Stream::Plain(socket), startup);
        Session::begin(terms, &config, line, ways, true, until)
    }

    fn begin(
        terms: &Terms<'_>,
        config: &Config,
        line: Line,
        ways: (Rc<OwnedFd>, Readiness),
        is_plain: bool,
        until: u64,
    ) -> Result<Session, AttemptError> {
        let (descriptor, readiness) = &ways;
        let late = |Late| AttemptError::Next("the server has not answered the login in time".into());
        let (engine, connection) =
            over(descriptor.as_fd(), readiness, until, config.connect_raw(line.clone(), Negotiated))
                .map_err(late)?
                .map_err(|error| refused(&error))?;
        let book = Book {
            prepared: Prepared::default(),
            learned: Rc::clone(terms.learned),
            session: clock::now(),
            by_name: terms.reset.by_name(),
            has_asked_for_types: false,
            asked: 0,
            request: Doings::default(),
        };
        Ok(Session {
            engine: Rc::new(engine),
            driver: Driver::new(connection, line, ways, terms.deadline.clone()),
            book,
            undoing: Undoing::default(),
            is_plain,
            expires: u64::MAX,
            idle_since: 0,
        })
    }

    /// What a new session needs that the login has not brought.
    fn prepare(&mut self, reset: &Reset, until: u64) -> Result<(), Error> {
        match &reset.init_sql {
            Some(sql) => self.driver.run_until(until, self.engine.batch_execute(sql)),
            None => Ok(()),
        }
    }

    pub(super) fn hand(&mut self) -> Hand<'_> {
        Hand { engine: &self.engine, driver: &mut self.driver, book: &mut self.book }
    }

    /// A request is about to use it, as clean as it is.
    pub(super) fn begin_request(&mut self) {
        let began = self.driver.line.look(Frames::tally);
        self.book.request = Doings { began, ..Doings::default() };
    }

    /// Whether all that the request has done is known to have left nothing behind.
    pub(super) fn has_nothing_to_undo(&self, reset: &Reset) -> bool {
        let Doings { began, harmless, .. } = &self.book.request;
        let executions = self.driver.line.look(|frames| frames.tally().only_executions_since(began));
        reset.may_be_left_out() && executions == Some(*harmless) && self.is_at_rest()
    }

    /// Sends what undoes the request's doings, and does not wait for the answer. What goes to another worker is given away
    /// without what is prepared.
    pub(super) fn begin_reset(&mut self, reset: &Reset, is_given_away: bool) {
        // What has not been answered may still change it.
        let may_be_open = !self.driver.line.look(|frames| frames.are_at_rest());
        let Doings { began, harmless, harmful, in_question, .. } = std::mem::take(&mut self.book.request);
        let tally = self.driver.line.look(Frames::tally);
        // A request that does other things, too, is reset however harmless this statement is.
        let is_worth_asking = tally.only_executions_since(&began) == Some(harmless + harmful);
        let now = clock::now();
        let is_time = now.saturating_sub(self.book.asked) >= PAUSE;
        let may_ask = is_time && is_worth_asking && !is_given_away && reset.may_be_left_out();
        let in_question = in_question.filter(|_| may_ask);
        if in_question.is_some() {
            self.book.asked = now;
        }
        let question = in_question.as_ref().and_then(|suspect| suspect.question.clone());
        let left = match std::mem::take(&mut self.undoing) {
            Undoing::Over { left } => left,
            Undoing::Sent { .. } => None,
        };
        let before = Before {
            engine: Rc::clone(&self.engine),
            may_be_open,
            is_given_away,
            has_other_settings: tally.has_changed_since(&began),
            left,
        };
        let mut work = Box::pin(reset.begin(before, question));
        if self.driver.begin(&mut work).is_pending() {
            self.undoing = Undoing::Sent { work, in_question };
        }
    }

    /// Waits for the answer to the reset, if one is awaited. Afterwards the session is clean, or this is an error; and whether
    /// the server has forgotten what was prepared.
    pub(super) fn finish_reset(&mut self, until: u64) -> Result<bool, Error> {
        let (work, in_question) = match std::mem::take(&mut self.undoing) {
            Undoing::Sent { work, in_question } => (work, in_question),
            over => {
                self.undoing = over;
                return Ok(false);
            }
        };
        // It has had time to arrive.
        self.driver.look();
        let answer = self.driver.run_until(until, work)?;
        self.undoing = Undoing::Over { left: answer.left };
        if let Some(suspect) = in_question {
            self.book.judge(&suspect, answer.verdict.unwrap_or(Verdict::NEVER));
        }
        match self.is_at_rest() {
            true => Ok(answer.forgets_names),
            false => Err(Error::lost("it was not at rest after its reset")),
        }
    }

    /// The server knows nothing any more of what was prepared. If the engine has prepared something for itself it believes to
    /// have that still: then another one goes on.
    pub(super) fn forget_names(&mut self, terms: &Terms<'_>, until: u64) -> Result<(), AttemptError> {
        self.undoing = Undoing::default();
        self.book.prepared.forget(None);
        self.book.session = clock::now();
        if self.book.has_asked_for_types {
            if !self.is_plain {
                return Err(AttemptError::Next("TLS has but one engine".into()));
            }
            let socket = self.driver.socket.try_clone().map_err(|error| AttemptError::Next(error.to_string()))?;
            let mut again = Session::resume(terms, socket, self.driver.line.startup(), until)?;
            (again.expires, again.idle_since) = (self.expires, self.idle_since);
            self.driver.line.let_go();
            *self = again;
        }
        Ok(())
    }

    /// Whether the server has not said goodbye while nobody listened. Costs a system call.
    pub(super) fn is_there(&mut self) -> bool {
        self.driver.look();
        self.driver.health == Health::Sound
    }

    /// Whether no answer is on its way, as far as has been sent, but for the end of one that was an error.
    pub(super) fn owes_no_more_than_an_end(&self) -> bool {
        self.driver.line.look(|frames| frames.owe_no_more_than_an_end())
    }

    /// Whether no answer is on its way and no transaction is open.
    pub(super) fn is_at_rest(&self) -> bool {
        self.driver.line.look(|frames| frames.are_at_rest())
    }

    /// Whether the server answers, which takes a round trip.
    pub(super) fn answers(&mut self, until: u64) -> Result<(), Error> {
        self.driver.run_until(until, self.engine.check_connection())
    }

    /// Whether a question has this answer.
    pub(super) fn says(&mut self, question: &str, answer: &str, until: u64) -> Result<bool, Error> {
        Ok(self.answer(question, until)?.as_deref() == Some(answer))
    }

    /// The answer to a question, if it is a number.
    pub(super) fn number(&mut self, question: &str, until: u64) -> Result<Option<u64>, Error> {
        Ok(self.answer(question, until)?.and_then(|answer| answer.parse().ok()))
    }

    /// The first column of the first row.
    fn answer(&mut self, question: &str, until: u64) -> Result<Option<String>, Error> {
        let answers = self.driver.run_until(until, self.engine.simple_query(question))?;
        Ok(answers.iter().find_map(|each| match each {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    /// How often work became final through it.
    pub(super) fn settled(&self) -> u64 {
        self.driver.line.look(|frames| frames.settled())
    }

    /// Whether the connection is dead and nothing has become final since, as far as anybody here can know.
    pub(super) fn is_lost_since(&self, before: u64) -> bool {
        let has_worked = self.driver.line.look(|frames| frames.have_worked());
        let is_dead = matches!(self.driver.health, Health::Ended(_));
        is_dead && self.settled() == before && !has_worked && !self.book.request.is_in_doubt
    }

    /// The socket and the server's words of welcome, for whoever takes it over; then it is to be dropped by
    /// [`Session::let_go`].
    pub(super) fn parts(&self) -> (BorrowedFd<'_>, Vec<u8>) {
        (self.driver.socket.as_fd(), self.driver.line.startup())
    }

    /// Drops it without a word to the server.
    pub(super) fn let_go(self) {
        self.driver.line.let_go();
    }

    /// Ends it: politely where nothing is under way, and else with a word to the server, over another connection, that
    /// nobody waits for the answer any more.
    pub(super) fn end(mut self) {
        let is_quiet = self.driver.line.look(|frames| frames.owe_nothing());
        match self.driver.health {
            Health::Sound if is_quiet => {
                if matches!(self.undoing, Undoing::Sent { .. }) {
                    self.undoing = Undoing::default();
                }
                let Session { engine, mut driver, .. } = self;
                drop(engine);
                driver.look();
            }
            Health::Sound | Health::Abandoned => {
                if let Err(error) = cancel(&self.engine, &self.driver.socket, self.is_plain) {
                    tracing::debug!(%error, "a statement that was given up could not be cancelled");
                }
                self.let_go();
            }
            Health::Ended(_) => self.let_go(),
        }
    }
}

/// Who is not let in here is not let in by another of the servers: as in libpq, these are not asked.
fn refused(error: &tokio_postgres::Error) -> AttemptError {
    let is_final = error.code().is_some_and(|code| code.code().starts_with("28") || code.code().starts_with("3D"));
    match is_final {
        true => AttemptError::Stop(said(error)),
        false => AttemptError::Next(said(error)),
    }
}
