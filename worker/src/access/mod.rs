//! The access log: one line for each request, written by the worker that served it, or by the supervisor for one that
//! died of it.
//!
//! Owns the forms of a line ([`Form`]) and what stands in it ([`Entry`]). No value can begin a line or end its field,
//! and no line is longer than what a pipe takes in one piece.

mod entry;
mod form;
mod query;

pub use entry::Entry;
pub use form::Form;
pub use query::{Query, shown};

/// No line is longer, in bytes with its end: so much a pipe takes whole or not at all (`PIPE_BUF`).
pub const LONGEST: usize = 4096;
