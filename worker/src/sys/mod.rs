//! The only door to what the compiler cannot check: forking, shared memory, the process title, leaving.
//!
//! Every `unsafe` block of the library is in this folder, with the fact that makes it sound and where that fact is
//! established. Nothing here decides anything.
#![allow(unsafe_code)]

pub(crate) mod accept;
pub(crate) mod alternate_stack;
pub(crate) mod caught;
pub(crate) mod descriptor;
pub(crate) mod dispositions;
pub(crate) mod environment;
pub(crate) mod fork;
pub(crate) mod mask;
pub(crate) mod rights;
pub mod shared;
pub mod signal;
pub(crate) mod silence;
pub(crate) mod title;
pub(crate) mod trace;
pub(crate) mod unsent;
