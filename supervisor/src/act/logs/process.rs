//! The log process, as the supervisor knows it: executed, told, heard, and gone in the end.
//!
//! Owns its pid until it is buried, our end of its channel until it hangs up, and what it has not taken yet.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use ratoon_worker::channel::{Channel, Received};

use crate::act::children;
use crate::act::unsent::Unsent;
use crate::logger::{CHANNEL, Order, Report};

/// How long the last lines may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// See the module's header.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    channel: Option<Channel>,
    unsent: Unsent<Order>,
}

impl Process {
    /// One that runs already, and the way to it, if that is still open.
    pub(super) fn of(pid: Pid, channel: Option<Channel>) -> Process {
        Process { pid, channel, unsent: Unsent::default() }
    }

    /// # Errors
    /// It cannot be executed, in the kernel's words.
    pub(super) fn execute() -> io::Result<Process> {
        let (ours, theirs) = Channel::pair()?;
        // What runs here, whatever has taken its place on the disk.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("ratoon: log").env_clear().env(CHANNEL, theirs.as_fd().as_raw_fd().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // Ours alone and closed before anything else is executed: we have one thread.
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let child = command.spawn()?;
        Ok(Process::of(Pid::from_raw(child.id() as i32), Some(ours)))
    }

    /// The way to it, while there is one.
    pub(super) fn channel(&self) -> Option<&Channel> {
        self.channel.as_ref()
    }

    /// Tells it; now, or as soon as it listens.
    pub(super) fn tell(&mut self, order: &Order, descriptors: &[BorrowedFd<'_>]) {
        if let Some(channel) = &self.channel
            && let Err(error) = self.unsent.send(channel, order, descriptors)
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::error!(%error, "the log process cannot be told");
        }
    }

    /// Tells it what there was no room for before.
    pub(super) fn flush(&mut self) {
        if let Some(channel) = &self.channel {
            self.unsent.flush(channel);
        }
    }

    /// Whether it can still be told, and has not been told everything.
    pub(super) fn has_unsent(&self) -> bool {
        self.channel.is_some() && !self.unsent.is_empty()
    }

    /// The next it has said, if there is more.
    pub(super) fn hear(&mut self) -> Option<Report> {
        loop {
            match self.channel.as_ref()?.try_receive() {
                Received::Message(report, _) => return Some(report),
                Received::Nothing => return None,
                Received::Nonsense(what) => tracing::error!(what, "the log process does not make sense"),
                Received::End => {
                    self.channel = None;
                    return None;
                }
            }
        }
    }

    /// Has it write what was printed, and leave; back when it has left, or the time for that is over.
    pub(super) fn dismiss(mut self) {
        self.tell(&Order::Leave, &[]);
        let Some(channel) = self.channel else { return };
        let begun = Instant::now();
        while let Some(left) = FAREWELL.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            let mut asked = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
            match poll(&mut asked, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Err(Errno::EINTR) => {}
                Ok(ready) if ready > 0 => {
                    if matches!(channel.try_receive::<Report>(), Received::End) {
                        break;
                    }
                }
                _ => break,
            }
        }
        children::end(self.pid);
    }
}
