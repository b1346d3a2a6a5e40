//! The supervisor's only door to what the compiler cannot check. Nothing here decides anything.
#![allow(unsafe_code)]

pub(crate) mod capabilities;
pub(crate) mod endowment;
pub(crate) mod identity;
pub(crate) mod inherited;
pub(crate) mod output;
pub(crate) mod overdue;
pub(crate) mod queue;
pub(crate) mod undertaker;
pub(crate) mod wait;
