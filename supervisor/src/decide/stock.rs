//! What the workers of one edition are forked from: its limits, its preparation, its template, and how they did.
//!
//! A pool has one stock as a rule, two while a reload is under way, and those of before until their last workers, and
//! then their templates, are gone. Never decides which of them is to be forked from.

use serde::{Deserialize, Serialize};

use super::event::{Edition, Time};
use super::limits::Limits;
use super::restart::Recent;
use super::roster::Seat;
use super::template::Template;

/// See the module's header.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stock {
    pub(super) edition: Edition,
    pub(super) limits: Limits,
    pub(super) preparation: Preparation,
    pub(super) template: Seat<Template>,
    /// Deaths of its workers by a fault.
    pub(super) faults: Recent,
}

/// How far the command is that must succeed before the first template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Preparation {
    /// It has not been run.
    Needed,
    /// It runs.
    Running {
        /// When it must have ended.
        deadline: Time,
    },
    /// It has succeeded, or there is none.
    Done,
}

impl Stock {
    pub(super) fn new(edition: Edition, limits: Limits) -> Stock {
        let preparation = if limits.prepare { Preparation::Needed } else { Preparation::Done };
        Stock { edition, limits, preparation, template: Seat::default(), faults: Recent::default() }
    }

    /// When something must have happened, if something must.
    pub(super) fn deadline(&self) -> Option<Time> {
        let preparation = match self.preparation {
            Preparation::Running { deadline } => Some(deadline),
            Preparation::Needed | Preparation::Done => None,
        };
        preparation.into_iter().chain(self.template.held().and_then(Template::deadline)).min()
    }

    /// Whether nothing of it runs.
    pub(super) fn is_bare(&self) -> bool {
        self.template.held().is_none() && !matches!(self.preparation, Preparation::Running { .. })
    }
}
