//! What passes over the control socket: one question, its answers, and the place where the two sides meet.
//!
//! A connection carries one question, a line of JSON, and then answers, each a line of JSON; after the last one the
//! supervisor hangs up. Everything here is a plain value that both sides share. The supervisor's side is
//! `act::control`, the operator's `cli`.

mod answer;
mod ask;
pub mod place;
pub mod status;
pub mod summary;

pub use answer::Answer;
pub use ask::{Ask, LONGEST, VERSION};
pub use status::Status;
