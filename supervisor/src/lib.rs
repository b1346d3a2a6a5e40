//! Ratoon, the daemon: a supervisor that keeps pools of reusable worker processes alive.
//!
//! Two halves. [`decide`] says what to do about what happened, and does nothing; [`act`] waits, tells it what happened,
//! and does what it says. [`config`] is the file an operator writes, [`cli`] the words an operator types, [`control`]
//! what passes between those and the running supervisor, [`admin`] the process that serves the status page, [`logger`] the
//! one that reads what is printed and writes the log's files, [`sample`] what a first run serves.

pub mod act;
pub mod admin;
pub mod cli;
pub mod config;
pub mod control;
pub mod decide;
pub mod logger;
pub mod sample;
mod span;
mod sys;
mod weight;
