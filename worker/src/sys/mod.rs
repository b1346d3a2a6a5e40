//! The only door to what the compiler cannot check: forking, shared memory, the process title, leaving.
//!
//! Every `unsafe` block of the library is in this folder, with the fact that makes it sound and where that fact is
//! established. Nothing here decides anything.
#![allow(unsafe_code)]

pub mod accept;
pub mod descriptor;
pub mod environment;
pub mod fork;
pub mod shared;
pub mod signal;
pub mod title;
pub mod unsent;
