//! Polling by hand: an engine is stepped until it has its answer, and between two steps the process waits in poll(2) for
//! its socket, until a moment at the latest.

use std::future::Future;
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::socket::Readiness;
use crate::clock;
use crate::woken::Woken;

/// The moment has come, and the answer has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Late;

/// Steps until `step` is through, or it is `until`, in the clock's nanoseconds.
pub(crate) fn step_until<T>(
    woken: &Woken,
    socket: BorrowedFd<'_>,
    readiness: &Readiness,
    until: u64,
    mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<T, Late> {
    loop {
        readiness.grant();
        if let Poll::Ready(answer) = step(&mut woken.context()) {
            return Ok(answer);
        }
        // Also where there is always something to do.
        if clock::now() >= until {
            return Err(Late);
        }
        if woken.take() {
            continue;
        }
        wait(socket, readiness, until)?;
    }
}

/// Runs a future that speaks over a socket until it is through, or it is `until`, in the clock's nanoseconds.
pub(crate) fn over<F: Future>(
    socket: BorrowedFd<'_>,
    readiness: &Readiness,
    until: u64,
    future: F,
) -> Result<F::Output, Late> {
    let mut future = pin!(future);
    step_until(&Woken::new(), socket, readiness, until, |context| future.as_mut().poll(context))
}

/// Until the socket has something to read, or room where that is missed.
pub(super) fn wait(socket: BorrowedFd<'_>, readiness: &Readiness, until: u64) -> Result<(), Late> {
    let mut events = PollFlags::POLLIN;
    if readiness.is_full() {
        events |= PollFlags::POLLOUT;
    }
    let mut waiting = [PollFd::new(socket, events)];
    poll_until(&mut waiting, until)?;
    // Whatever is wrong with the socket is said by the next read.
    let seen = waiting[0].revents().unwrap_or(PollFlags::POLLERR);
    if seen.contains(PollFlags::POLLOUT) {
        readiness.set_writable();
    }
    if seen != PollFlags::POLLOUT {
        readiness.set_readable();
    }
    Ok(())
}

/// Until one of them has something to say, or poll(2) has none of it.
pub(super) fn poll_until(waiting: &mut [PollFd<'_>], until: u64) -> Result<(), Late> {
    loop {
        let left = until.saturating_sub(clock::now());
        match poll(waiting, timeout(left)) {
            Ok(0) if left == 0 => return Err(Late),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return Ok(()),
        }
    }
}

/// As poll(2) has it: whole milliseconds, rather one too many than a turn for nothing.
fn timeout(nanos: u64) -> PollTimeout {
    PollTimeout::try_from(nanos.div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}
