//! The database of a pool: a connection that is fresh, clean and never connected before it is asked for.

mod drive;
mod reach;
mod resolve;
mod socket;
mod target;
mod tls;

pub use self::target::check_url;
