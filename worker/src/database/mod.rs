//! The database of a pool: a connection that is fresh, clean and never connected before it is asked for.

mod drive;
pub mod lease;
mod socket;
