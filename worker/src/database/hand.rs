//! Statements on their way through a session: as prepared ones where that saves work, in one round trip where it can be.

use std::cell::RefCell;
use std::rc::Rc;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{BorrowToSql, ToSql, Type};
use tokio_postgres::{Client as Engine, Row, SimpleQueryMessage};

use super::copy::{CopyInWriter, CopyOutReader};
use super::driver::Driver;
use super::error::Error;
use super::frames::{Tally, Transaction};
use super::harmless::{self, Run, Verdict};
use super::rows::RowIter;
use super::statements::{Learned, Prepared, Statement, ToStatement};
use crate::clock;

type EngineError = tokio_postgres::Error;
/// What a statement's parameters are given as.
pub(super) type Params<'p> = &'p [&'p (dyn ToSql + Sync)];

/// What a session knows of statements.
pub(crate) struct Book {
    pub(super) prepared: Prepared,
    pub(super) learned: Rc<RefCell<Learned>>,
    /// Which session this is; another one once the server has forgotten all names.
    pub(super) session: u64,
    /// Whether statements may have names at all.
    pub(super) by_name: bool,
    /// Whether the engine has asked the server for types that it does not know by itself, by statements of its own.
    pub(super) has_asked_for_types: bool,
    /// When the server was last asked about a statement.
    pub(super) asked: u64,
    pub(super) request: Doings,
}

/// What the request in hand has done, as far as it bears on what has to be undone.
#[derive(Debug, Default)]
pub(crate) struct Doings {
    /// What had passed when it began.
    pub(super) began: Tally,
    /// How often it has executed statements that leave nothing behind.
    pub(super) harmless: u64,
    /// How often it has executed others that are prepared.
    pub(super) harmful: u64,
    /// One of those, of which it would be worth knowing whether it does.
    pub(super) in_question: Option<Suspect>,
    /// A COMMIT was sent, and the connection lost before its answer.
    pub(super) is_in_doubt: bool,
}

/// A statement that the server is to be asked about.
#[derive(Debug)]
pub(crate) struct Suspect {
    key: Box<str>,
    pub(super) question: Option<String>,
}

impl Book {
    fn note_types(&mut self, statement: &tokio_postgres::Statement) {
        let columns = statement.columns().iter().map(|column| column.type_());
        let is_foreign = |each: &Type| Type::from_oid(each.oid()).is_none();
        self.has_asked_for_types |= statement.params().iter().chain(columns).any(is_foreign);
    }

    /// What the server says of a statement. What cannot be asked is not asked again.
    pub(super) fn judge(&mut self, suspect: &Suspect, verdict: Verdict) {
        self.prepared.judge(&suspect.key, verdict);
    }
}

/// A session, lent to one call.
pub(super) struct Hand<'a> {
    pub(super) engine: &'a Engine,
    pub(super) driver: &'a mut Driver,
    pub(super) book: &'a mut Book,
}

/// How a statement goes to the server.
enum Plan {
    /// By its name.
    Named(tokio_postgres::Statement),
    /// By its text, its parameters being of these types.
    Typed(Rc<[Type]>),
}

fn typed<'p>(params: Params<'p>, types: &[Type]) -> Vec<(&'p (dyn ToSql + Sync), Type)> {
    params.iter().copied().zip(types.iter().cloned()).collect()
}

impl<'a> Hand<'a> {
    pub(super) fn query<Q: ToStatement + ?Sized>(&mut self, query: &Q, params: Params<'_>) -> Result<Vec<Row>, Error> {
        self.work(query, params.len(), async |engine, plan| match plan {
            Plan::Named(statement) => engine.query(statement, params).await,
            Plan::Typed(types) => engine.query_typed(query.text(), &typed(params, types)).await,
        })
    }

    pub(super) fn query_one<Q: ToStatement + ?Sized>(&mut self, query: &Q, params: Params<'_>) -> Result<Row, Error> {
        self.work(query, params.len(), async |engine, plan| match plan {
            Plan::Named(statement) => engine.query_one(statement, params).await,
            Plan::Typed(types) => engine.query_typed_one(query.text(), &typed(params, types)).await,
        })
    }

    pub(super) fn query_opt<Q: ToStatement + ?Sized>(
        &mut self,
        query: &Q,
        params: Params<'_>,
    ) -> Result<Option<Row>, Error> {
        self.work(query, params.len(), async |engine, plan| match plan {
            Plan::Named(statement) => engine.query_opt(statement, params).await,
            Plan::Typed(types) => engine.query_typed_opt(query.text(), &typed(params, types)).await,
        })
    }

    pub(super) fn execute<Q: ToStatement + ?Sized>(&mut self, query: &Q, params: Params<'_>) -> Result<u64, Error> {
        self.work(query, params.len(), async |engine, plan| match plan {
            Plan::Named(statement) => engine.execute(statement, params).await,
            Plan::Typed(types) => engine.execute_typed(query.text(), &typed(params, types)).await,
        })
    }

    pub(super) fn query_raw<Q, P, I>(mut self, query: &Q, params: I) -> Result<RowIter<'a>, Error>
    where
        Q: ToStatement + ?Sized,
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
    {
        let params: Vec<P> = params.into_iter().collect();
        let each = || params.iter().map(BorrowToSql::borrow_to_sql);
        let stream = self.work(query, params.len(), async |engine, plan| match plan {
            Plan::Named(statement) => engine.query_raw(statement, each()).await,
            Plan::Typed(types) => engine.query_typed_raw(query.text(), each().zip(types.iter().cloned())).await,
        })?;
        Ok(RowIter::new(self.driver, stream))
    }

    pub(super) fn prepare(&mut self, text: &str, given: &[Type]) -> Result<Statement, Error> {
        if !self.book.by_name {
            return Err(Error::nameless("a statement is given as its text"));
        }
        let statement = self.named(text, given)?;
        Ok(Statement { text: text.into(), given: given.into(), engine: statement, session: self.book.session })
    }

    pub(super) fn batch_execute(&mut self, text: &str) -> Result<(), Error> {
        self.driver.run(self.engine.batch_execute(text))
    }

    pub(super) fn simple_query(&mut self, text: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
        self.driver.run(self.engine.simple_query(text))
    }

    pub(super) fn copy_in<Q: ToStatement + ?Sized>(mut self, query: &Q) -> Result<CopyInWriter<'a>, Error> {
        let statement = self.statement_to_copy(query)?;
        match self.driver.run(self.engine.copy_in(&statement)) {
            Ok(sink) => Ok(CopyInWriter::new(self.driver, sink)),
            Err(error) => {
                self.driver.abandon();
                Err(error)
            }
        }
    }

    pub(super) fn copy_out<Q: ToStatement + ?Sized>(mut self, query: &Q) -> Result<CopyOutReader<'a>, Error> {
        let statement = self.statement_to_copy(query)?;
        let stream = self.driver.run(self.engine.copy_out(&statement))?;
        Ok(CopyOutReader::new(self.driver, stream))
    }

    /// Does the work by the plan that costs least. What the server no longer knows by its name, or knows in a form that
    /// is out of date, is told to it again, where that failure has hurt nothing.
    fn work<Q: ToStatement + ?Sized, T>(
        &mut self,
        query: &Q,
        params: usize,
        work: impl AsyncFn(&Engine, &Plan) -> Result<T, EngineError>,
    ) -> Result<T, Error> {
        let was_open = self.driver.line.look(|frames| frames.transaction()) != Transaction::None;
        let plan = self.plan(query, params)?;
        match self.driver.run(work(self.engine, &plan)) {
            Ok(done) => {
                if matches!(plan, Plan::Named(_)) {
                    self.note_run(&key(query));
                }
                Ok(done)
            }
            Err(error) if is_out_of_date(&error, &plan) && !self.driver.line.look(|frames| frames.have_bound()) => {
                self.book.prepared.forget(Some(&key(query)));
                self.book.learned.borrow_mut().forget(query.text());
                if was_open {
                    return Err(error);
                }
                let plan = self.plan(query, params)?;
                self.driver.run(work(self.engine, &plan))
            }
            failed => failed,
        }
    }

    /// A prepared statement has been executed.
    fn note_run(&mut self, key: &str) {
        let Book { prepared, request, .. } = &mut *self.book;
        match prepared.run(key, clock::now()) {
            Run::Harmless => request.harmless += 1,
            Run::Harmful => request.harmful += 1,
            Run::Questionable => {
                request.harmful += 1;
                if request.in_question.is_none()
                    && let Some(statement) = prepared.get(key)
                {
                    let version = self.driver.server_version();
                    let name = self.driver.line.look(|frames| frames.last_bound().map(str::to_owned));
                    let question = name.and_then(|name| harmless::question(&name, statement, version));
                    request.in_question = Some(Suspect { key: key.into(), question });
                }
            }
        }
    }

    fn plan<Q: ToStatement + ?Sized>(&mut self, query: &Q, params: usize) -> Result<Plan, Error> {
        let key = key(query);
        if self.book.by_name {
            if let Some(statement) = self.book.prepared.get(&key) {
                return Ok(Plan::Named(statement.clone()));
            }
            if self.book.prepared.knows(&key) {
                return self.statement(query).map(Plan::Named);
            }
        }
        let learned = self.book.learned.borrow().get(query.text()).filter(|types| types.len() == params);
        match learned {
            Some(types) => {
                self.book.prepared.put(&key, None);
                Ok(Plan::Typed(types))
            }
            None if self.book.by_name => self.statement(query).map(Plan::Named),
            None => match self.learn(query)? {
                types if types.len() == params => Ok(Plan::Typed(types)),
                types => Err(Error::parameters(types.len(), params)),
            },
        }
    }

    /// The statement under its name in this session.
    pub(super) fn statement<Q: ToStatement + ?Sized>(&mut self, query: &Q) -> Result<tokio_postgres::Statement, Error> {
        match query.statement() {
            Some(statement) if statement.session == self.book.session => Ok(statement.engine.clone()),
            Some(statement) => self.named(&statement.text, &statement.given),
            None => self.named(query.text(), &[]),
        }
    }

    /// A COPY is always known by a name, if only for a moment: where each transaction may be on another connection, others may
    /// have that name there.
    fn statement_to_copy<Q: ToStatement + ?Sized>(&mut self, query: &Q) -> Result<tokio_postgres::Statement, Error> {
        let is_alone = self.driver.line.look(|frames| frames.transaction()) == Transaction::None;
        match is_alone && !self.book.by_name {
            true => Err(Error::nameless("a COPY needs a transaction around it")),
            false => self.statement(query),
        }
    }

    fn named(&mut self, text: &str, given: &[Type]) -> Result<tokio_postgres::Statement, Error> {
        let key = key_of(text, given);
        if let Some(statement) = self.book.prepared.get(&key) {
            return Ok(statement.clone());
        }
        let statement = self.driver.run(self.engine.prepare_typed(text, given))?;
        self.book.note_types(&statement);
        self.book.learned.borrow_mut().put(text, statement.params());
        if self.book.by_name {
            self.book.prepared.put(&key, Some(statement.clone()));
        }
        Ok(statement)
    }

    /// What a text's parameters are, without leaving a name behind: where each transaction may be on another connection,
    /// it is asked within one.
    fn learn<Q: ToStatement + ?Sized>(&mut self, query: &Q) -> Result<Rc<[Type]>, Error> {
        let given = query.statement().map(|statement| statement.given.clone()).unwrap_or_default();
        let is_alone = self.driver.line.look(|frames| frames.transaction()) == Transaction::None;
        if is_alone {
            self.batch_execute("BEGIN")?;
        }
        let learned = self.driver.run(self.engine.prepare_typed(query.text(), &given));
        if let Ok(statement) = &learned {
            self.book.note_types(statement);
        }
        let learned = learned.map(|statement| Rc::from(statement.params()));
        if is_alone {
            self.batch_execute("ROLLBACK")?;
        }
        let types: Rc<[Type]> = learned?;
        self.book.learned.borrow_mut().put(query.text(), &types);
        Ok(types)
    }
}

fn key<Q: ToStatement + ?Sized>(query: &Q) -> std::borrow::Cow<'_, str> {
    match query.statement() {
        Some(statement) => key_of(&statement.text, &statement.given),
        None => query.text().into(),
    }
}

/// A text alone, or with the types it was given.
fn key_of<'t>(text: &'t str, given: &[Type]) -> std::borrow::Cow<'t, str> {
    if given.is_empty() {
        return text.into();
    }
    let given: Vec<String> = given.iter().map(|each| each.oid().to_string()).collect();
    format!("{text}\0{}", given.join(",")).into()
}

/// Whether it is what was remembered of the statement, and not the statement, that the server objects to.
fn is_out_of_date(error: &Error, plan: &Plan) -> bool {
    let Some(code) = error.code() else { return false };
    match plan {
        Plan::Named(_) => *code == SqlState::FEATURE_NOT_SUPPORTED || *code == SqlState::INVALID_SQL_STATEMENT_NAME,
        Plan::Typed(_) => [
            SqlState::DATATYPE_MISMATCH,
            SqlState::UNDEFINED_FUNCTION,
            SqlState::CANNOT_COERCE,
            SqlState::INDETERMINATE_DATATYPE,
        ]
        .contains(code),
    }
}
