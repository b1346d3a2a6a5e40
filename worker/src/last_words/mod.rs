//! What a worker says when its request is overdue, or when it dies of its own fault: to its client `504` or `500`, to its
//! cell where it stood, to the supervisor that it has spoken.
//!
//! Both moments are a signal handler's, which may run in the middle of anything. So what they need is put into atomics
//! beforehand, and they allocate nothing, take no lock and write no log: addresses only, which a fork of the template
//! turns into names ([`naming`]). Behind them stands the supervisor's SIGKILL.

pub(crate) mod naming;

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed, Ordering::Release};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use nix::unistd::{getpid, write};

use crate::scoreboard::{Cell, Scoreboard, State, Why};
use crate::sys::caught::{self, Caught};
use crate::sys::shared::Shared;
use crate::sys::{alternate_stack, trace};
use crate::{clock, log};

/// The most frames that are walked, in case there is no end to them.
const DEEPEST: usize = 1_000_000;
/// In place of a descriptor.
const NOBODY: RawFd = -1;

const TIMEOUT: &[u8] = b"HTTP/1.1 504 Gateway Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 20\r\nconnection: close\r\n\r\n504 Gateway Timeout\n";
const FAILURE: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 26\r\nconnection: close\r\n\r\n500 Internal Server Error\n";
/// [`crate::protocol::Report::Overran`], ready to be sent.
const REPORT: &[u8] = br#"{"report":"overran"}"#;

/// Who speaks, if this is a worker.
static SPEAKER: OnceLock<Speaker> = OnceLock::new();
/// The socket of the client whose request the application has in hand, while nothing of a response has left.
static CLIENT: AtomicI32 = AtomicI32::new(NOBODY);
/// The socket to the supervisor.
static SUPERVISOR: AtomicI32 = AtomicI32::new(NOBODY);
/// Frames above this place of the stack are not the application's.
static FLOOR: AtomicUsize = AtomicUsize::new(usize::MAX);
/// How much the client of the present or last request was told here, in bytes.
static TOLD: AtomicU64 = AtomicU64::new(0);
/// The deadline about which everything has been said.
static SAID: AtomicU64 = AtomicU64::new(0);

struct Speaker {
    cell: &'static Cell,
    life: u64,
    pid: i32,
}

impl Speaker {
    /// Whoever the application forked is not the one.
    fn present() -> Option<&'static Speaker> {
        SPEAKER.get().filter(|speaker| speaker.pid == getpid().as_raw() && speaker.life == speaker.cell.life())
    }
}

/// Listens to the signals, in this process and those forked from it; before the application's first step, so that what
/// it installs itself stays. Says nothing until [`introduce`] has said who speaks.
///
/// # Errors
/// `ENOMEM`, if there is no memory for a stack.
pub(crate) fn prepare() -> Result<(), Errno> {
    alternate_stack::provide()?;
    // Once in peace, so that nothing is loaded or looked up for the first time in a handler.
    trace::walk(|_, _| true);
    caught::listen()
}

/// This process is the worker of `slot`, from now to its end.
pub(crate) fn introduce(scoreboard: &Rc<Shared<Scoreboard>>, slot: u32) {
    let kept: &'static Rc<Shared<Scoreboard>> = Box::leak(Box::new(scoreboard.clone()));
    log::count_in(&kept.pool.log_lines_lost);
    if let Some(cell) = kept.cell(slot) {
        let _ = SPEAKER.set(Speaker { cell, life: cell.life(), pid: getpid().as_raw() });
    }
}

/// Where the supervisor can be told; `None` once it cannot.
pub(crate) fn report_to(supervisor: Option<&impl AsFd>) {
    SUPERVISOR.store(supervisor.map_or(NOBODY, |socket| socket.as_fd().as_raw_fd()), Release);
}

/// From now on, and until [`end`], the application has this client's request in hand, and `floor` is a place of the
/// stack that none of its functions reaches up to.
pub(crate) fn begin(client: &impl AsFd, floor: *const u8) {
    FLOOR.store(floor.addr(), Relaxed);
    TOLD.store(0, Relaxed);
    CLIENT.store(client.as_fd().as_raw_fd(), Release);
}

/// The same for what runs when the client has had its answer: it is told nothing more.
pub(crate) fn begin_deferred(floor: *const u8) {
    FLOOR.store(floor.addr(), Relaxed);
}

/// The application has done what it could. If its client has been answered meanwhile, with so many bytes, it must be told
/// nothing more.
pub(crate) fn end() -> Option<u64> {
    FLOOR.store(usize::MAX, Relaxed);
    (CLIENT.swap(NOBODY, AcqRel) == NOBODY).then(|| TOLD.load(Relaxed))
}

/// In a signal handler: somebody believes that the request is overdue.
pub(crate) fn on_overdue(caught: Caught) {
    let Some(Speaker { cell, .. }) = Speaker::present() else { return };
    let (now, deadline) = (clock::now(), cell.deadline());
    let is_running = matches!(cell.state(), State::Busy | State::Deferred);
    let is_overdue = is_running && deadline != 0 && now >= deadline;
    if !is_overdue || SAID.swap(deadline, Relaxed) == deadline {
        return;
    }
    answer(cell, TIMEOUT);
    cell.speak(now, Why::Overran, TOLD.load(Relaxed), |add| stand(caught, add));
    let _ = send(SUPERVISOR.load(Relaxed), REPORT, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
}

/// In a signal handler: this process is about to die of the signal.
pub(crate) fn on_crash(caught: Caught) {
    let Some(Speaker { cell, .. }) = Speaker::present() else {
        if caught.is_stack_overflow() {
            // What a template's `load` would otherwise die of without a reason.
            let _ = write(std::io::stderr(), b"ratoon-worker: the stack is used up\n");
        }
        return;
    };
    let signal = caught.signal;
    let why = match caught.fault {
        _ if caught.is_stack_overflow() => Why::StackOverflow(signal),
        Some(address) => Why::Fault { signal, address: address as u64 },
        None => Why::Signal(signal),
    };
    answer(cell, FAILURE);
    cell.speak(clock::now(), why, TOLD.load(Relaxed), |add| stand(caught, add));
}

/// Answers the client, unless something of a response has left, and hangs up. First of all, for the walk down the stack
/// may end badly.
fn answer(cell: &Cell, response: &[u8]) {
    let client = CLIENT.swap(NOBODY, AcqRel);
    if client == NOBODY {
        return;
    }
    let end_of_head = response.windows(4).position(|end| end == b"\r\n\r\n").map_or(response.len(), |end| end + 4);
    let shown = if cell.line_begins_with(b"HEAD ") { &response[..end_of_head] } else { response };
    let told = send(client, shown, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
    TOLD.store(told.unwrap_or_default() as u64, Relaxed);
    let _ = shutdown(client, Shutdown::Write);
}

/// Where the interrupted code stands: its own place first, then the places it will return to.
fn stand(caught: Caught, add: &dyn Fn(usize)) {
    let floor = FLOOR.load(Relaxed);
    let mut frames = 0;
    trace::walk(|place, stack| {
        // What comes before is the handler's own.
        if frames == 0 && place != caught.instruction {
            return true;
        }
        if frames > 0 && stack > floor {
            return false;
        }
        add(place);
        frames += 1;
        frames < DEEPEST
    });
    if frames == 0 {
        // It jumped where no function is.
        add(caught.instruction);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::Report;

    #[test]
    fn what_is_ready_to_be_sent_is_what_would_be_made() {
        assert_eq!(REPORT, serde_json::to_vec(&Report::Overran).unwrap());
        for response in [TIMEOUT, FAILURE] {
            let text = std::str::from_utf8(response).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{text}");
        }
    }
}
