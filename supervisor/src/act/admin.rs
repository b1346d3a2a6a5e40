//! The process that serves the status page, the supervisor's side: its socket, how it is executed, what it asks.
//!
//! Owns the listening socket, which outlives every process that serves it, and the line on which the present one asks.
//! Never waits for it, never reads what its clients send: it may hang, flood or die, and costs the supervisor at most a
//! few answers a second.

mod line;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::rc::Rc;

use nix::sys::epoll::Epoll;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use ratoon_worker::log::Form;
use serde::{Deserialize, Serialize};

pub(super) use self::line::{Heard, Line};
use super::children;
use super::listener::Listener;
use super::upgrade::estate::{Heirlooms, Inventory};
use crate::admin::{Commission, ROLE};
use crate::config::{self, Address, Level};
use crate::sys::identity;
use crate::sys::inherited::pass_on;

/// This very program, also when another stands at its path by now: both sides must mean the same by what they say.
const OURSELVES: &str = "/proc/self/exe";

/// See the module's header.
#[derive(Debug)]
pub(super) struct Admin {
    listener: Rc<Listener>,
    /// As whom it runs, user and group; `None`: as we do.
    account: Option<(u32, u32)>,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    pid: Pid,
    /// `None` once it has hung up, or we have.
    line: Option<Line>,
}

/// What a successor is handed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AdminEstate {
    listener: usize,
    account: Option<(u32, u32)>,
    process: Option<i32>,
}

impl Admin {
    /// Opens the socket, if the configuration names one.
    ///
    /// # Errors
    /// The key it is about, and a sentence.
    pub(super) fn open(config: &config::Admin) -> Result<Option<Admin>, (&'static str, String)> {
        let Some(wanted) = &config.listen else {
            return Ok(None);
        };
        let account = config.account().map_err(|what| ("admin.user", what))?;
        let listener = Listener::open(wanted).map_err(|what| ("admin.listen", what))?;
        Ok(Some(Admin { listener: Rc::new(listener), account, process: None }))
    }

    /// Where it is.
    pub(super) fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Executes the process, whose standard error is where log lines of this form go.
    ///
    /// # Errors
    /// What could not be done, in a sentence.
    pub(super) fn start(&mut self, level: Level, log: (Form, OwnedFd), epoll: &Epoll) -> Result<(), String> {
        let (form, lines) = log;
        let cannot = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
        let (ours, theirs) = UnixStream::pair().map_err(cannot("make a socket pair"))?;
        let door = self.listener.as_fd().try_clone_to_owned().map_err(cannot("pass on its socket"))?;
        let commission = Commission {
            door: door.as_raw_fd(),
            line: theirs.as_raw_fd(),
            supervisor: std::process::id(),
            level,
            form,
        };
        let commission = serde_json::to_string(&commission).map_err(|error| error.to_string())?;
        let line = Line::new(ours, epoll).map_err(cannot("listen to it"))?;
        let mut command = Command::new(OURSELVES);
        command.arg0("ratoon: admin").env_clear().env(ROLE, commission).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(lines);
        if let Some((user, group)) = self.account {
            // In no other groups.
            identity::assume(&mut command, user.into(), group.into(), Vec::new());
        }
        // These two only, by number; they are copies, and closed here before anything else is executed.
        for number in [door.as_raw_fd(), theirs.as_raw_fd()] {
            pass_on(number, true).map_err(|errno| format!("cannot pass on a descriptor: {errno}"))?;
        }
        let process = command.spawn().map_err(|error| format!("cannot execute this program: {error}"))?;
        self.process = Some(Process { pid: Pid::from_raw(process.id() as i32), line: Some(line) });
        Ok(())
    }

    /// The line on which it asks, if it still does.
    pub(super) fn line(&mut self) -> Option<&mut Line> {
        self.process.as_mut()?.line.as_mut()
    }

    /// The same, to be looked at.
    pub(super) fn present_line(&self) -> Option<&Line> {
        self.process.as_ref()?.line.as_ref()
    }

    /// Listens to it no more.
    pub(super) fn hang_up(&mut self) {
        if let Some(process) = &mut self.process {
            process.line = None;
        }
    }

    /// Asks the process to leave, if there is one: it closes its copy of the socket, where newcomers wait for the next,
    /// and answers what it has in hand.
    pub(super) fn dismiss(&self) {
        if let Some(process) = &self.process {
            children::dismiss(process.pid);
        }
    }

    /// Kills the process, if there is one.
    pub(super) fn kill(&self) {
        if let Some(process) = &self.process {
            children::kill(process.pid);
        }
    }

    /// Whether this is its process.
    pub(super) fn is(&self, pid: Pid) -> bool {
        self.process.as_ref().is_some_and(|process| process.pid == pid)
    }

    /// Whether this was its process: then it is over.
    pub(super) fn buries(&mut self, pid: Pid) -> bool {
        self.process.take_if(|process| process.pid == pid).is_some()
    }

    /// Everything is over: the process, too. It is not waited for longer than the kernel takes to kill.
    pub(super) fn end(&mut self) {
        self.kill();
        let Some(process) = self.process.take() else {
            return;
        };
        children::await_death(|| match waitpid(process.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => None,
            _ => Some(()),
        });
    }

    /// What a predecessor left. A process that it has killed may be left to be buried.
    ///
    /// # Errors
    /// The socket was not passed on.
    pub(super) fn inherit(written: AdminEstate, heirlooms: &Heirlooms) -> io::Result<Admin> {
        let listener = heirlooms.listener(written.listener)?;
        let process = written.process.map(|pid| Process { pid: Pid::from_raw(pid), line: None });
        Ok(Admin { listener, account: written.account, process })
    }

    /// For a successor: the socket, and whom it has to bury.
    pub(super) fn bequeath<'a>(&'a self, inventory: &mut Inventory<'a>) -> AdminEstate {
        AdminEstate {
            listener: inventory.listener(&self.listener),
            account: self.account,
            process: self.process.as_ref().map(|process| process.pid.as_raw()),
        }
    }
}
