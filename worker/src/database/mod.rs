//! The database of a pool: a connection that is never connected before it is asked for, never stale when it is given to a
//! handler, and never shows one request what another has left.
//!
//! From the wire upwards:
//!
//! * [`target`], [`resolve`], [`reach`], [`tls`], [`socket`]: where the server is, and a connection to it;
//! * [`frames`], [`line`], [`drive`], [`driver`], [`deadline`]: the engine, tokio-postgres without its runtime, polled by hand;
//! * [`session`], [`cancel`], [`reset`], [`statements`], [`hand`]: one login, and what is done with it; [`harmless`]: after what of it
//!   nothing has to be undone;
//! * [`login`], [`backoff`]: how a new session is come by; [`lease`]: who may have one, and how one goes from worker to worker;
//! * [`custody`]: a worker and its one session, from request to request;
//! * [`client`], [`rows`], [`copy`], [`error`]: what the handler sees.

mod backoff;
mod cancel;
mod client;
mod copy;
mod custody;
mod deadline;
mod descriptors;
mod drive;
mod driver;
mod error;
mod frames;
mod hand;
mod harmless;
mod keeper;
pub mod lease;
mod line;
mod login;
mod manager;
#[cfg(feature = "r2d2")]
mod r2d2;
mod reach;
mod reset;
mod resolve;
mod rows;
mod session;
mod socket;
mod statements;
mod target;
mod tls;

pub use self::client::{Client, Transaction, TransactionBuilder};
pub use self::copy::{CopyInWriter, CopyOutReader};
pub(crate) use self::custody::Database;
pub(crate) use self::deadline::Deadline;
pub(crate) use self::descriptors::kept_descriptors;
pub use self::error::Error;
pub use self::keeper::{Freshness, Keeper, Kept};
pub use self::manager::ManageConnection;
#[cfg(feature = "r2d2")]
pub use self::r2d2::R2d2;
pub use self::rows::RowIter;
pub use self::statements::{Statement, ToStatement};
pub use self::target::check_url;

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;
