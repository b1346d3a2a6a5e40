//! A client's socket and what is known of it: what has arrived and nobody has taken, and whether it can be read or
//! written now.
//!
//! The loop and hyper both use it: the loop while a head arrives, hyper, through a [`Port`], while a request is being
//! exchanged. hyper is granted the bytes of one request and no more, so that whatever follows stays here. Readiness
//! is remembered, for the socket is registered edge-triggered: a flag falls only when the kernel has said "not now".

mod port;

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use bytes::BytesMut;
use nix::errno::Errno;
use nix::libc::POLLRDHUP;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use crate::sys::silence::silence;
use crate::sys::unsent::unsent;

pub(super) use self::port::Port;
use super::chunks::ChunkReader;
use super::refusal::Refusal;

/// How much is read at a time, in bytes.
const SCRATCH: usize = 64 * 1024;

/// Where bytes land between the kernel and whoever wants them; one per worker.
pub(super) type Scratch = Rc<RefCell<Box<[u8]>>>;

pub(super) fn scratch() -> Scratch {
    Rc::new(RefCell::new(vec![0; SCRATCH].into()))
}

pub(super) struct Wire {
    socket: OwnedFd,
    scratch: Scratch,
    inbound: RefCell<BytesMut>,
    readable: Cell<bool>,
    writable: Cell<bool>,
    half_closed: Cell<bool>,
    lost: Cell<bool>,
    ended: Cell<bool>,
    received: Cell<u64>,
    sent: Cell<u64>,
    counted: Cell<(u64, u64)>,
    taken: Cell<u64>,
    grant: Cell<u64>,
    muted: Cell<bool>,
    body_over: Cell<bool>,
    flushed: Cell<bool>,
    stopped: Cell<Option<Refusal>>,
    /// Judges the body as it passes, if it is chunked.
    chunks: RefCell<Option<ChunkReader>>,
}

/// What an attempt to read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fill {
    Some,
    NotNow,
    /// The client will send nothing more.
    End,
    Broken,
}

impl Wire {
    /// `leftover` is what has arrived already.
    pub(super) fn new(socket: OwnedFd, scratch: Scratch, leftover: &[u8]) -> Wire {
        Wire {
            socket,
            scratch,
            inbound: RefCell::new(leftover.into()),
            readable: Cell::new(true),
            writable: Cell::new(true),
            half_closed: Cell::new(false),
            lost: Cell::new(false),
            ended: Cell::new(false),
            received: Cell::new(0),
            sent: Cell::new(0),
            counted: Cell::new((0, 0)),
            taken: Cell::new(0),
            grant: Cell::new(0),
            muted: Cell::new(false),
            body_over: Cell::new(false),
            flushed: Cell::new(false),
            stopped: Cell::new(None),
            chunks: RefCell::default(),
        }
    }

    /// The kernel says something has changed; `half_closed` if the client has said that it sends no more.
    pub(super) fn notice(&self, readable: bool, writable: bool, half_closed: bool) {
        self.half_closed.set(self.half_closed.get() || half_closed);
        self.readable.set(self.readable.get() || readable);
        self.writable.set(self.writable.get() || writable);
    }

    /// The kernel says that the connection is broken, or closed by the client as a whole.
    pub(super) fn lose(&self) {
        self.lost.set(true);
    }

    /// Whether nobody is there any more to be answered, as far as is known without asking the kernel.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Whether the client has said that it sends nothing more, or is gone. Asks the kernel.
    pub(super) fn is_half_closed(&self) -> bool {
        // Asked for this alone, the kernel says nothing else but that the connection is broken.
        let mut looked_at = [PollFd::new(self.socket.as_fd(), PollFlags::from_bits_retain(POLLRDHUP))];
        self.half_closed.get() || poll(&mut looked_at, PollTimeout::ZERO).is_ok_and(|found| found > 0)
    }

    /// Whether anything has come, or the end, that nobody has looked at yet. Asks the kernel.
    pub(super) fn has_news(&self) -> bool {
        let mut looked_at = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        self.may_have_more() || poll(&mut looked_at, PollTimeout::ZERO).is_ok_and(|found| found > 0)
    }

    /// For how long the client has sent nothing, in nanoseconds; 0 where the kernel does not know. Asks it.
    pub(super) fn silence(&self) -> u64 {
        silence(&self.socket).map_or(0, |millis| millis.saturating_mul(1_000_000))
    }

    /// Reads once into what has arrived.
    pub(super) fn fill(&self) -> Fill {
        let mut scratch = self.scratch.borrow_mut();
        match self.receive(&mut scratch) {
            Ok(Some(0)) => Fill::End,
            Ok(Some(length)) => {
                self.inbound.borrow_mut().extend_from_slice(&scratch[..length]);
                Fill::Some
            }
            Ok(None) => Fill::NotNow,
            Err(_) => Fill::Broken,
        }
    }

    /// Reads once and throws it away.
    pub(super) fn discard(&self) -> Result<Option<usize>, Errno> {
        self.inbound.borrow_mut().clear();
        let mut scratch = self.scratch.borrow_mut();
        self.receive(&mut scratch)
    }

    /// What has arrived and nobody has taken.
    pub(super) fn inbound(&self) -> std::cell::RefMut<'_, BytesMut> {
        self.inbound.borrow_mut()
    }

    /// Whether more may be there than has been read.
    pub(super) fn may_have_more(&self) -> bool {
        !self.inbound.borrow().is_empty() || (self.readable.get() && !self.ended.get())
    }

    /// Writes as much as goes now.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.transmit(|socket| send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)).map(Option::unwrap_or_default)
    }

    /// Tells the client that nothing more comes.
    pub(super) fn finish(&self) {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
    }

    /// Bytes received and sent so far.
    pub(super) fn traffic(&self) -> (u64, u64) {
        (self.received.get(), self.sent.get())
    }

    /// Others have written so much to its socket.
    pub(super) fn was_written_to(&self, bytes: u64) {
        self.sent.set(self.sent.get().saturating_add(bytes));
    }

    /// Bytes received and sent since this was asked last.
    pub(super) fn take_traffic(&self) -> (u64, u64) {
        let now = self.traffic();
        let before = self.counted.replace(now);
        (now.0.wrapping_sub(before.0), now.1.wrapping_sub(before.1))
    }

    /// Bytes received and sent: did any go since `before`?
    pub(super) fn moved_since(&self, before: (u64, u64)) -> bool {
        self.traffic() != before
    }

    /// Has the client taken any of what was sent since this was asked last? The kernel's buffer is deep, and says that
    /// there is room only when a third of it is: a client may read all the time and we could write nothing for minutes.
    pub(super) fn was_taken(&self) -> bool {
        let taken = self.sent.get().saturating_sub(unsent(&self.socket).unwrap_or(u64::MAX));
        taken > self.taken.replace(taken)
    }

    /// Whether the kernel still holds something that the client is to get.
    pub(super) fn is_owed(&self) -> bool {
        unsent(&self.socket).is_ok_and(|bytes| bytes > 0)
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        if self.ended.get() {
            return Ok(Some(0));
        }
        if !self.readable.get() {
            return Ok(None);
        }
        loop {
            match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(length) => {
                    self.ended.set(length == 0);
                    // A short read has emptied the socket, and what comes later comes with an edge of its own:
                    // epoll(7). The end, if it has come already, has had its edge.
                    self.readable.set(length == buffer.len() || self.half_closed.get());
                    self.received.set(self.received.get() + length as u64);
                    return Ok(Some(length));
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.readable.set(false);
                    return Ok(None);
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    fn transmit(&self, attempt: impl Fn(BorrowedFd<'_>) -> Result<usize, Errno>) -> Result<Option<usize>, Errno> {
        if !self.writable.get() {
            return Ok(None);
        }
        loop {
            match attempt(self.socket.as_fd()) {
                Ok(length) => {
                    self.sent.set(self.sent.get() + length as u64);
                    return Ok(Some(length));
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.writable.set(false);
                    return Ok(None);
                }
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// For one exchange: what hyper may read and write, and what it has done.
impl Wire {
    /// hyper may take so many bytes; until [`Wire::unmute`] what it writes is thrown away, for it can only be a
    /// refusal, and those we write ourselves.
    pub(super) fn begin(&self, grant: u64, chunks: Option<ChunkReader>) {
        self.grant.set(grant);
        self.chunks.replace(chunks);
        self.muted.set(true);
        self.body_over.set(false);
        self.flushed.set(false);
        self.stopped.set(None);
    }

    /// The body is kept from hyper. What counts is the first reason: hyper may read on after an error, and what then
    /// passes is no body any more.
    fn stop(&self, why: Refusal) {
        self.stopped.set(self.stopped.get().or(Some(why)));
    }

    /// Whether the request's end is found only as its body passes.
    pub(super) fn is_chunked(&self) -> bool {
        self.chunks.borrow().is_some()
    }

    /// Why the body was kept from hyper, if it was.
    pub(super) fn why_stopped(&self) -> Option<Refusal> {
        self.stopped.get()
    }

    pub(super) fn unmute(&self) {
        self.muted.set(false);
    }

    /// The request is whole: hyper may take nothing more.
    pub(super) fn withdraw_grant(&self) {
        self.grant.set(0);
    }

    /// The last of the response is with hyper.
    pub(super) fn body_is_over(&self) {
        self.body_over.set(true);
    }

    /// Whether the last of the response is with hyper.
    pub(super) fn has_whole_body(&self) -> bool {
        self.body_over.get()
    }

    /// The last of the response is with the kernel.
    pub(super) fn is_flushed(&self) -> bool {
        self.flushed.get()
    }

    /// hyper took more than its request: that goes back in front.
    pub(super) fn give_back(&self, taken: &[u8]) {
        let mut inbound = self.inbound.borrow_mut();
        if !taken.is_empty() {
            let mut joined = BytesMut::with_capacity(taken.len() + inbound.len());
            joined.extend_from_slice(taken);
            joined.extend_from_slice(&inbound);
            *inbound = joined;
        }
        if inbound.is_empty() {
            // An idle connection keeps no memory.
            *inbound = BytesMut::new();
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
