//! What Ratoon promises, one chapter per file, one sentence per test. Everything here runs the real program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs, unreachable_pub)]

mod harness;

mod admin;
mod boot;
mod browser;
mod clean_state;
mod configuration;
mod container;
mod control;
mod database;
mod documentation;
mod examples;
mod fuzz;
mod handover;
mod hostile;
mod http;
mod isolation;
mod last_words;
mod limits;
mod listeners;
mod load;
mod logging;
mod metrics;
mod orphans;
mod outside;
mod proxies;
mod recycling;
mod reload;
mod robustness;
mod rotation;
mod sample;
mod scaling;
mod service_manager;
mod simulation;
mod stopping;
mod supervision;
mod suspension;
mod systemd;
mod upgrade;
