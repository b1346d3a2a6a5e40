//! Orders that a process has not taken yet: it is in a request, and what it was told before fills its channel.
//!
//! Owns their order, and that none is lost while the process lives. The same order twice is one.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};

use ratoon_worker::channel::Channel;
use ratoon_worker::protocol::Order;
use serde::Serialize;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Unsent<O = Order> {
    orders: VecDeque<(O, Vec<OwnedFd>)>,
}

impl<O> Default for Unsent<O> {
    fn default() -> Unsent<O> {
        Unsent { orders: VecDeque::new() }
    }
}

impl<O: Serialize + Clone + PartialEq> Unsent<O> {
    /// Sends it, or keeps it until there is room.
    ///
    /// # Errors
    /// What sendmsg says of a process that is gone, or dup of descriptors there is no room for.
    pub(super) fn send(&mut self, channel: &Channel, order: &O, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.flush(channel);
        if self.orders.is_empty() {
            match channel.send(order, descriptors) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
        let own: io::Result<Vec<OwnedFd>> = descriptors.iter().map(BorrowedFd::try_clone_to_owned).collect();
        self.orders.retain(|(waiting, _)| waiting != order);
        self.orders.push_back((order.clone(), own?));
        Ok(())
    }

    /// Sends what there is room for by now.
    pub(super) fn flush(&mut self, channel: &Channel) {
        while let Some((order, descriptors)) = self.orders.front() {
            let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(std::os::fd::AsFd::as_fd).collect();
            match channel.send(order, &descriptors) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // One that is gone needs no orders.
                Ok(()) | Err(_) => self.orders.pop_front(),
            };
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Those that need no descriptor, to be written down.
    pub(super) fn plain(&self) -> Vec<O> {
        self.orders.iter().filter(|(_, beside)| beside.is_empty()).map(|(order, _)| order.clone()).collect()
    }

    /// Written down by a predecessor.
    pub(super) fn inherited(orders: Vec<O>) -> Unsent<O> {
        Unsent { orders: orders.into_iter().map(|order| (order, Vec::new())).collect() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ratoon_worker::channel::Received;

    use super::*;

    #[test]
    fn what_a_full_channel_does_not_take_is_sent_in_order_once_there_is_room() {
        let (ours, theirs) = Channel::pair().unwrap();
        while ours.send(&Order::Drain, &[]).is_ok() {}
        let mut unsent: Unsent = Unsent::default();
        for listener in [1, 2, 1] {
            unsent.send(&ours, &Order::Close { listener }, &[]).unwrap();
        }
        unsent.send(&ours, &Order::Retire, &[]).unwrap();
        let mut arrived = Vec::new();
        while !unsent.is_empty() || arrived.last() != Some(&Order::Retire) {
            match theirs.try_receive::<Order>() {
                Received::Message(Order::Drain, _) => {}
                Received::Message(order, _) => arrived.push(order),
                other => assert!(matches!(other, Received::Nothing), "{other:?}"),
            }
            unsent.flush(&ours);
        }
        assert_eq!(arrived, [Order::Close { listener: 2 }, Order::Close { listener: 1 }, Order::Retire]);
    }
}
