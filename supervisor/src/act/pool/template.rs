//! A template process, as the supervisor knows it.

use nix::unistd::Pid;
use ratoon_worker::channel::Channel;

use super::Allowance;
use crate::act::logs::Captured;
use crate::act::unsent::Unsent;
use crate::decide::event::{Edition, Generation, TemplateRef};

/// See the module's header.
pub(in crate::act) struct Template {
    pub(in crate::act) who: TemplateRef,
    pub(in crate::act) generation: Generation,
    pub(in crate::act) edition: Edition,
    pub(in crate::act) pid: Pid,
    /// `None` once it has hung up, or we have.
    pub(in crate::act) channel: Option<Channel>,
    /// Whether it has named its version: then it is linked with the worker library.
    pub(in crate::act) introduced: bool,
    pub(in crate::act) allowance: Allowance,
    /// Where each series begins that it has declared; `None` once it has loaded, and has been told.
    pub(in crate::act) places: Option<Vec<u16>>,
    pub(in crate::act) unsent: Unsent,
    /// What it prints.
    pub(in crate::act) captured: Option<Captured>,
}

impl Template {
    /// Nothing more is heard of it, and it is told nothing more.
    pub(in crate::act) fn hang_up(&mut self) {
        if let Some(channel) = self.channel.take() {
            channel.hang_up();
        }
    }
}
