//! How far something is, for whoever waits: one line that is redrawn on a terminal, plain lines elsewhere.
//!
//! Owns the line. What stands in it says the supervisor.

use std::io::{IsTerminal, Write, stdout};

use super::plain::cut;
use super::say;

/// The width of a terminal that does not say its own.
const USUAL: u16 = 80;

/// See the module's header.
pub(super) struct Progress {
    /// The terminal's columns.
    columns: Option<usize>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let columns = || terminal_size::terminal_size().map_or(USUAL, |(width, _)| width.0);
        Progress { columns: stdout().is_terminal().then(|| usize::from(columns())) }
    }

    /// So far it is.
    pub(super) fn show(&self, step: &str) {
        match self.columns {
            // One column less: a cursor beyond the last would begin a new line on some.
            Some(columns) => draw(&cut(step, columns.saturating_sub(1))),
            None => say(&cut(step, usize::MAX)),
        }
    }

    /// It is over: what is said now takes the line's place.
    pub(super) fn end(&self) {
        if self.columns.is_some() {
            draw("");
        }
    }
}

fn draw(line: &str) {
    let mut out = stdout();
    let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
}
