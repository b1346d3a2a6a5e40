//! A worker process, as the supervisor knows it, or the order to fork one.

use nix::unistd::Pid;
use ratoon_worker::channel::Channel;

use super::Allowance;
use crate::act::logs::Captured;
use crate::act::unsent::Unsent;
use crate::decide::event::{Edition, Generation, WorkerRef};

/// See the module's header.
pub(in crate::act) struct Worker {
    pub(in crate::act) who: WorkerRef,
    /// The template that forked it, or was told to.
    pub(in crate::act) template: u64,
    pub(in crate::act) edition: Edition,
    pub(in crate::act) generation: Generation,
    /// When it was ordered, as the cells' clock has it.
    pub(in crate::act) ordered: u64,
    /// `None` once it has hung up, or talked nonsense.
    pub(in crate::act) channel: Option<Channel>,
    /// `None` until the template has announced it, and again once it is reaped.
    pub(in crate::act) process: Option<Pid>,
    pub(in crate::act) allowance: Allowance,
    /// Whether it was asked where it is stuck, and has not said so.
    pub(in crate::act) asked: bool,
    pub(in crate::act) unsent: Unsent,
    /// What it prints.
    pub(in crate::act) captured: Option<Captured>,
}

impl Worker {
    /// Nothing more is heard of it, and it is told nothing more: an honest one reads the end of its channel, and leaves.
    pub(in crate::act) fn hang_up(&mut self) {
        if let Some(channel) = self.channel.take() {
            channel.hang_up();
        }
    }
}
