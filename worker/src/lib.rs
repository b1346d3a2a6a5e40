//! The worker library of Ratoon: plain blocking request handlers, each process serving one request at a time,
//! supervised by `ratoon`.
//!
//! An application implements [`App`] and hands itself to [`main`]. Started by the supervisor, the program is loaded
//! once and forked into workers; started by hand, it serves one worker on a loopback port, for development.
//!
//! ```no_run
//! use ratoon_worker::{App, Context, Request, Response, Result, Settings};
//!
//! struct Hello {
//!     greeting: String,
//! }
//!
//! impl App for Hello {
//!     fn load(_: Settings) -> Result<Self> {
//!         Ok(Hello { greeting: "Hello".into() })
//!     }
//!
//!     fn handle(&mut self, request: Request, _: &mut Context) -> Result<Response> {
//!         Ok(Response::new(format!("{}, {}!\n", self.greeting, request.uri().path()).into()))
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     ratoon_worker::main::<Hello>()
//! }
//! ```
//!
//! What a handler may count on: its request's body is complete; it has the process to itself, so it may block, and
//! `&mut self` needs no lock; a panic or an error is answered with 500 and logged, never shown, and a panic recycles the
//! worker, whose fields may be half changed (`panics`). What bounds it: `request_timeout`, after which the client is told
//! 504, and the supervisor, a little later, kills the process and forks another. For that a signal (SIGURG) is sent into
//! the handler: what it waits for may be interrupted, and is taken up again where the system does so.
//!
//! What the next request does not see of it: [`request_local!`] statics, [`Context::extensions`], the working directory,
//! the umask, the signal mask of the worker's first thread, the environment (as all of these were when [`App::start`] had
//! returned) and the database session. What it does see: the application's own fields, other statics, whatever they own.
//! Threads that the application starts share directory, umask and environment with the requests, and have them put back
//! with them; they must not change the environment, which is read after every request.

#[doc(hidden)]
pub mod access;
mod app;
mod body;
#[doc(hidden)]
pub mod channel;
#[doc(hidden)]
pub mod cleaning;
mod client;
#[doc(hidden)]
pub mod clock;
mod database;
mod error;
#[doc(hidden)]
pub mod inbox;
mod last_words;
#[doc(hidden)]
pub mod log;
#[doc(hidden)]
pub mod metrics;
mod pace;
mod panics;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod request_local;
mod role;
#[doc(hidden)]
pub mod scoreboard;
mod serve;
#[doc(hidden)]
pub mod sys;
mod woken;

pub use app::{App, Context, Request, Response, Settings, Worker};
pub use body::Body;
pub use client::Client;
#[cfg(feature = "r2d2")]
pub use database::R2d2;
#[doc(hidden)]
pub use database::lease;
pub use database::{Freshness, Keeper, Kept, ManageConnection};
pub use error::{Error, Result};
pub use http;
/// A configured PostgreSQL database, as [`Context::database`] has it: blocking calls with the names and types of the
/// `postgres` crate.
pub mod postgres {
    pub use fallible_iterator;
    pub use tokio_postgres::error::{DbError, ErrorPosition, Severity, SqlState};
    pub use tokio_postgres::{
        Column, IsolationLevel, Portal, Row, SimpleColumn, SimpleQueryMessage, SimpleQueryRow, binary_copy, row, types,
    };

    #[doc(hidden)]
    pub use crate::database::check_url;
    pub use crate::database::{
        Client, CopyInWriter, CopyOutReader, Error, RowIter, Statement, ToStatement, Transaction, TransactionBuilder,
    };
}
pub use metrics::declarations::Declarations;
pub use metrics::{Counter, Gauge, Histogram, Metrics};
pub use request_local::RequestLocal;
#[doc(hidden)]
pub use role::alone;
pub use role::{is_template, main};
