//! Statements by their text: what a session has prepared, and what a worker has learned of their parameters.
//!
//! A name that the server knows is bound to its session, and is never used in another. What a text's parameters are is
//! worth remembering beyond it: then a statement is one round trip also where nothing is prepared.

use std::collections::HashMap;
use std::rc::Rc;

use tokio_postgres::Column;
use tokio_postgres::types::Type;

use super::harmless::{Run, Standing, Verdict};

/// As many a session has prepared at a time; the first ones to go are those that were not used lately.
const MOST: usize = 256;

/// A prepared statement. It may be kept: on another connection it is prepared again when it is used.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(super) text: Rc<str>,
    /// The types that whoever prepared it has given.
    pub(super) given: Rc<[Type]>,
    pub(super) engine: tokio_postgres::Statement,
    /// The session that knows it.
    pub(super) session: u64,
}

impl Statement {
    /// The types of its parameters.
    pub fn params(&self) -> &[Type] {
        self.engine.params()
    }

    /// The columns of its rows.
    pub fn columns(&self) -> &[Column] {
        self.engine.columns()
    }
}

/// What can be executed: SQL, or a statement that was prepared from it.
pub trait ToStatement: private::Sealed {
    #[doc(hidden)]
    fn text(&self) -> &str;
    #[doc(hidden)]
    fn statement(&self) -> Option<&Statement> {
        None
    }
}

mod private {
    pub trait Sealed {}
    impl Sealed for str {}
    impl Sealed for String {}
    impl Sealed for super::Statement {}
}

impl ToStatement for str {
    fn text(&self) -> &str {
        self
    }
}

impl ToStatement for String {
    fn text(&self) -> &str {
        self
    }
}

impl ToStatement for Statement {
    fn text(&self) -> &str {
        &self.text
    }

    fn statement(&self) -> Option<&Statement> {
        Some(self)
    }
}

/// What one session has prepared.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    by_text: HashMap<Rc<str>, Entry>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    used: u64,
    /// `None`: it was used once and not prepared yet.
    statement: Option<tokio_postgres::Statement>,
    standing: Standing,
}

impl Prepared {
    /// The statement, if it is prepared.
    pub(super) fn get(&mut self, text: &str) -> Option<&tokio_postgres::Statement> {
        self.uses += 1;
        let entry = self.by_text.get_mut(text)?;
        entry.used = self.uses;
        entry.statement.as_ref()
    }

    /// Whether it has been used here.
    pub(super) fn knows(&self, text: &str) -> bool {
        self.by_text.contains_key(text)
    }

    /// It has been used, or prepared.
    pub(super) fn put(&mut self, text: &str, statement: Option<tokio_postgres::Statement>) {
        if self.by_text.len() >= MOST
            && !self.by_text.contains_key(text)
            && let Some(oldest) = self.by_text.iter().min_by_key(|(_, entry)| entry.used).map(|(text, _)| text.clone())
        {
            self.by_text.remove(&oldest);
        }
        self.uses += 1;
        self.by_text.insert(text.into(), Entry { used: self.uses, statement, standing: Standing::default() });
    }

    /// It has been executed under its name.
    pub(super) fn run(&mut self, text: &str, now: u64) -> Run {
        let entry = self.by_text.get_mut(text).filter(|entry| entry.statement.is_some());
        entry.map_or(Run::Harmful, |entry| entry.standing.run(now))
    }

    /// What the server says of it.
    pub(super) fn judge(&mut self, text: &str, verdict: Verdict) {
        if let Some(entry) = self.by_text.get_mut(text) {
            entry.standing.judge(verdict);
        }
    }

    /// The server has forgotten them, or this one cannot be used any more.
    pub(super) fn forget(&mut self, text: Option<&str>) {
        match text {
            Some(text) => drop(self.by_text.remove(text)),
            None => self.by_text.clear(),
        }
    }
}

/// What a worker has learned: the types of the parameters of a text.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    by_text: HashMap<Box<str>, Rc<[Type]>>,
}

impl Learned {
    pub(super) fn get(&self, text: &str) -> Option<Rc<[Type]>> {
        self.by_text.get(text).cloned()
    }

    pub(super) fn put(&mut self, text: &str, types: &[Type]) {
        // Whoever writes values into the text has a new one every time: nothing is worth keeping then.
        if self.by_text.len() >= 4 * MOST {
            self.by_text.clear();
        }
        self.by_text.insert(text.into(), types.into());
    }

    pub(super) fn forget(&mut self, text: &str) {
        self.by_text.remove(text);
    }
}
