//! What a handler has of the database: plain blocking calls, with the names and types of the `postgres` crate.

use std::rc::Rc;

use tokio_postgres::types::{BorrowToSql, ToSql, Type};
use tokio_postgres::{IsolationLevel, Portal, Row, SimpleQueryMessage};

use super::copy::{CopyInWriter, CopyOutReader};
use super::driver::{Driver, Health};
use super::error::Error;
use super::hand::{Book, Hand};
use super::rows::RowIter;
use super::session::Session;
use super::statements::{Statement, ToStatement};

/// A connection to the database, for as long as a request lasts: [`crate::Context::database`] has it.
///
/// Every call waits for the server, and for no longer than the request's own deadline.
pub struct Client {
    pub(super) session: Session,
}

/// A transaction. Rolled back unless it is committed.
pub struct Transaction<'a> {
    engine: tokio_postgres::Transaction<'a>,
    driver: &'a mut Driver,
    book: &'a mut Book,
}

/// A transaction that is about to begin, with options.
pub struct TransactionBuilder<'a> {
    /// `None` while somebody else uses the session, which nobody does as long as a handler has it.
    engine: Option<tokio_postgres::TransactionBuilder<'a>>,
    driver: &'a mut Driver,
    book: &'a mut Book,
}

/// What can be done with a session in and outside of a transaction.
macro_rules! statements {
    () => {
        /// Executes a statement; the number of rows it has affected.
        ///
        /// # Errors
        /// What the server objects to, that the connection is lost, or that the request's deadline has passed.
        pub fn execute<Q: ToStatement + ?Sized>(
            &mut self,
            query: &Q,
            params: &[&(dyn ToSql + Sync)],
        ) -> Result<u64, Error> {
            self.hand().execute(query, params)
        }

        /// Executes a statement; its rows.
        ///
        /// # Errors
        /// As for `execute`.
        pub fn query<Q: ToStatement + ?Sized>(
            &mut self,
            query: &Q,
            params: &[&(dyn ToSql + Sync)],
        ) -> Result<Vec<Row>, Error> {
            self.hand().query(query, params)
        }

        /// Executes a statement; its one row.
        ///
        /// # Errors
        /// As for `execute`, and if there is not exactly one.
        pub fn query_one<Q: ToStatement + ?Sized>(
            &mut self,
            query: &Q,
            params: &[&(dyn ToSql + Sync)],
        ) -> Result<Row, Error> {
            self.hand().query_one(query, params)
        }

        /// Executes a statement; its row, if it has one.
        ///
        /// # Errors
        /// As for `execute`, and if there are several.
        pub fn query_opt<Q: ToStatement + ?Sized>(
            &mut self,
            query: &Q,
            params: &[&(dyn ToSql + Sync)],
        ) -> Result<Option<Row>, Error> {
            self.hand().query_opt(query, params)
        }

        /// Executes a statement; its rows as they arrive. What is not taken is read and dropped later.
        ///
        /// # Errors
        /// As for `execute`.
        pub fn query_raw<Q, P, I>(&mut self, query: &Q, params: I) -> Result<RowIter<'_>, Error>
        where
            Q: ToStatement + ?Sized,
            P: BorrowToSql,
            I: IntoIterator<Item = P>,
        {
            self.hand().query_raw(query, params)
        }

        /// Prepares a statement. Texts are prepared by themselves when they are used, and remembered; this is for whoever
        /// wants to know its parameters or columns.
        ///
        /// # Errors
        /// As for `execute`.
        pub fn prepare(&mut self, query: &str) -> Result<Statement, Error> {
            self.hand().prepare(query, &[])
        }

        /// The same, the types of its first parameters being these.
        ///
        /// # Errors
        /// As for `execute`.
        pub fn prepare_typed(&mut self, query: &str, types: &[Type]) -> Result<Statement, Error> {
            self.hand().prepare(query, types)
        }

        /// Executes several statements, separated by semicolons, without parameters; nothing comes back.
        ///
        /// # Errors
        /// As for `execute`.
        pub fn batch_execute(&mut self, query: &str) -> Result<(), Error> {
            self.hand().batch_execute(query)
        }

        /// Executes several statements, separated by semicolons, without parameters; their rows as text.
        ///
        /// # Errors
        /// As for `execute`.
        pub fn simple_query(&mut self, query: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
            self.hand().simple_query(query)
        }

        /// Begins a `COPY … FROM STDIN`.
        ///
        /// # Errors
        /// As for `execute`.
        pub fn copy_in<Q: ToStatement + ?Sized>(&mut self, query: &Q) -> Result<CopyInWriter<'_>, Error> {
            self.hand().copy_in(query)
        }

        /// Begins a `COPY … TO STDOUT`.
        ///
        /// # Errors
        /// As for `execute`.
        pub fn copy_out<Q: ToStatement + ?Sized>(&mut self, query: &Q) -> Result<CopyOutReader<'_>, Error> {
            self.hand().copy_out(query)
        }
    };
}

impl Client {
    statements!();

    /// Begins a transaction.
    ///
    /// # Errors
    /// As for `execute`.
    pub fn transaction(&mut self) -> Result<Transaction<'_>, Error> {
        self.build_transaction().start()
    }

    /// A transaction with options.
    pub fn build_transaction(&mut self) -> TransactionBuilder<'_> {
        let Session { engine, driver, book, .. } = &mut self.session;
        let engine = Rc::get_mut(engine).map(tokio_postgres::Client::build_transaction);
        TransactionBuilder { engine, driver, book }
    }

    /// Whether the connection is gone, as far as is known.
    pub fn is_closed(&self) -> bool {
        self.session.driver.health != Health::Sound
    }

    fn hand(&mut self) -> Hand<'_> {
        self.session.hand()
    }
}

impl<'a> TransactionBuilder<'a> {
    /// How far it is to be isolated from others.
    #[must_use]
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.engine = self.engine.map(|engine| engine.isolation_level(level));
        self
    }

    /// Whether it may not write.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.engine = self.engine.map(|engine| engine.read_only(read_only));
        self
    }

    /// Whether it may wait at its beginning for the sake of never failing; for serializable, read-only ones.
    #[must_use]
    pub fn deferrable(mut self, deferrable: bool) -> Self {
        self.engine = self.engine.map(|engine| engine.deferrable(deferrable));
        self
    }

    /// Begins it.
    ///
    /// # Errors
    /// As for [`Client::execute`].
    pub fn start(self) -> Result<Transaction<'a>, Error> {
        let TransactionBuilder { engine, driver, book } = self;
        let engine = engine.ok_or_else(|| Error::lost("it is still being reset"))?;
        let engine = driver.run(engine.start())?;
        Ok(Transaction { engine, driver, book })
    }
}

impl<'a> Transaction<'a> {
    statements!();

    /// Makes what it has done final.
    ///
    /// # Errors
    /// As for [`Client::execute`]. Where the connection was lost on the way, nobody knows whether it is final.
    pub fn commit(self) -> Result<(), Error> {
        let Transaction { engine, driver, book } = self;
        let committed = driver.run(engine.commit());
        book.request.is_in_doubt |= driver.health != Health::Sound;
        committed
    }

    /// Undoes what it has done, as dropping it does.
    ///
    /// # Errors
    /// As for [`Client::execute`].
    pub fn rollback(self) -> Result<(), Error> {
        let Transaction { engine, driver, .. } = self;
        driver.run(engine.rollback())
    }

    /// A transaction within this one: a savepoint.
    ///
    /// # Errors
    /// As for [`Client::execute`].
    pub fn transaction(&mut self) -> Result<Transaction<'_>, Error> {
        let engine = self.driver.run(self.engine.transaction())?;
        Ok(Transaction { engine, driver: self.driver, book: self.book })
    }

    /// The same, under a name.
    ///
    /// # Errors
    /// As for [`Client::execute`].
    pub fn savepoint(&mut self, name: impl Into<String>) -> Result<Transaction<'_>, Error> {
        let engine = self.driver.run(self.engine.savepoint(name))?;
        Ok(Transaction { engine, driver: self.driver, book: self.book })
    }

    /// Makes a statement and its parameters a portal, whose rows can be had in pieces.
    ///
    /// # Errors
    /// As for [`Client::execute`].
    pub fn bind<Q: ToStatement + ?Sized>(
        &mut self,
        query: &Q,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Portal, Error> {
        let statement = self.hand().statement(query)?;
        self.driver.run(self.engine.bind(&statement, params))
    }

    /// The next rows of a portal, at most so many; 0: all.
    ///
    /// # Errors
    /// As for [`Client::execute`].
    pub fn query_portal(&mut self, portal: &Portal, max_rows: i32) -> Result<Vec<Row>, Error> {
        self.driver.run(self.engine.query_portal(portal, max_rows))
    }

    fn hand(&mut self) -> Hand<'_> {
        Hand { engine: self.engine.client(), driver: self.driver, book: self.book }
    }
}
