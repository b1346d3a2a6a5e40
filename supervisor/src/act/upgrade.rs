//! The upgrade of the supervisor itself: this process becomes another program and keeps everything it has.
//!
//! What we have is written into a memfd, descriptors by their numbers. The new program is first asked whether it
//! understands it (`check`, with the memfd at hand); then it is executed in our place. Children stay our children, and
//! workers notice nothing. Signals are blocked from before that until the new program listens to them.

pub mod estate;

use std::ffi::{CString, OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg};
use nix::unistd::{Pid, execve};

use self::estate::Estate;
use crate::decide::event::Exit;
use crate::sys::inherited::pass_on;

/// The environment variable that tells the new program where its estate is: the number of a descriptor.
pub const ESTATE: &str = "RATOON_ESTATE";

/// What only a program says that has read the estate and understands it.
pub const UNDERSTOOD: &str = "the state of the running supervisor can be taken over";

/// Nothing that a program says which is asked is read beyond this, in bytes.
const LONGEST_WORDS: u64 = 4096;

/// The new program, as it looks at the estate.
#[derive(Debug)]
pub(super) struct Rehearsal {
    pid: Pid,
    answers: Option<ChildStdout>,
    complaints: Option<ChildStderr>,
}

impl Rehearsal {
    /// Asks the program at this path whether it understands this estate and the configuration at `config`.
    ///
    /// # Errors
    /// What could not be done, in a sentence.
    pub(super) fn begin(program: &Path, config: &str, estate: &Estate) -> Result<Rehearsal, String> {
        let written = estate.write().map_err(|error| format!("cannot write down the state: {error}"))?;
        pass_on(written.as_raw_fd(), true).map_err(|errno| format!("cannot pass on the state: {errno}"))?;
        let mut command = Command::new(program);
        command.args(["check", "--config", config]).env(ESTATE, written.as_raw_fd().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| format!("cannot execute {}: {error}", program.display()))?;
        let pid = Pid::from_raw(child.id() as i32);
        Ok(Rehearsal { pid, answers: child.stdout.take(), complaints: child.stderr.take() })
    }

    /// Whether this is its process.
    pub(super) fn is(&self, pid: Pid) -> bool {
        self.pid == pid
    }

    /// What came of it, now that it is over.
    ///
    /// # Errors
    /// What it complained of; or that it ended well and never said that it understands: it is no supervisor, or one
    /// that knows nothing of upgrades.
    pub(super) fn outcome(self, exit: Exit) -> Result<(), String> {
        let (answer, complaint) = (said(self.answers), said(self.complaints));
        match exit {
            Exit::Status(0) if answer.contains(UNDERSTOOD) => Ok(()),
            Exit::Status(0) => Err("it did not say that it can take over: is it a ratoon, and no older one?".into()),
            _ if complaint.is_empty() => Err(exit.to_string()),
            _ => Err(complaint),
        }
    }

    /// It has had its time, with whatever it has started.
    pub(super) fn abandon(&self) {
        let _ = killpg(self.pid, Signal::SIGKILL);
    }
}

/// What is in the pipe of a process that is over.
fn said(pipe: Option<impl Read + AsFd>) -> String {
    let Some(pipe) = pipe else {
        return String::new();
    };
    let _ = fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    let mut said = Vec::new();
    let _ = pipe.take(LONGEST_WORDS).read_to_end(&mut said);
    String::from_utf8_lossy(&said).trim().replace('\n', "; ")
}

/// No signal reaches us until this is dropped: those that come meanwhile wait, through an execution, too.
#[derive(Debug)]
pub(super) struct Deaf {
    before: SigSet,
}

impl Deaf {
    /// Blocks every signal.
    ///
    /// # Errors
    /// What sigprocmask says, in a sentence.
    pub(super) fn begin() -> Result<Deaf, String> {
        let blocked = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        blocked.map(|before| Deaf { before }).map_err(|errno| format!("cannot block signals: {errno}"))
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        if let Err(error) = self.before.thread_set_mask() {
            tracing::error!(%error, "cannot unblock signals");
        }
    }
}

/// Becomes the program at this path, with this estate. Comes back only if that fails; then with the reason.
pub(super) fn become_program(program: &Path, estate: &Estate, _: &Deaf) -> String {
    let attempt = || -> Result<(), String> {
        let said = |what: &'static str| move |error: std::io::Error| format!("cannot {what}: {error}");
        let written = estate.write().map_err(said("write down the state"))?;
        let path = CString::new(program.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        let arguments = std::env::args_os().map(OsString::into_vec).map(CString::new).collect::<Result<Vec<_>, _>>();
        let arguments = arguments.map_err(|error| error.to_string())?;
        let environment = environment(written.as_raw_fd());
        let kept: Vec<RawFd> = estate.descriptors().chain([written.as_raw_fd()]).collect();
        for number in &kept {
            pass_on(*number, true).map_err(|errno| format!("cannot pass on descriptor {number}: {errno}"))?;
        }
        let failed = execve(&path, &arguments, &environment).map(|never| match never {});
        for number in &kept {
            let _ = pass_on(*number, false);
        }
        failed.map_err(|errno| format!("cannot execute {}: {errno}", program.display()))
    };
    attempt().err().unwrap_or_default()
}

/// This program by the path it was started by: behind a link that is switched, the next release stands there.
///
/// # Errors
/// What readlink says of our own program.
pub(super) fn own_path() -> std::io::Result<PathBuf> {
    let executed = std::env::current_exe()?;
    let identity = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let named = std::env::args_os().next().map(PathBuf::from).filter(|name| name.components().count() > 1);
    let found = named.and_then(|name| std::path::absolute(name).ok());
    Ok(found.filter(|path| identity(path).is_some() && identity(path) == identity(&executed)).unwrap_or(executed))
}

/// The estate that a predecessor left to this process, or wants looked at.
///
/// # Errors
/// There is one, and it cannot be understood.
pub fn inherited() -> Option<Result<Estate, String>> {
    let number = std::env::var(ESTATE).ok()?;
    Some(Estate::read(&number))
}

/// Our environment, with the estate's number in it.
fn environment(estate: RawFd) -> Vec<CString> {
    let entry = |name: &OsStr, value: &OsStr| {
        let joined = [name.as_bytes(), b"=", value.as_bytes()].concat();
        CString::new(joined).ok()
    };
    let ours = std::env::vars_os().filter(|(name, _)| name != ESTATE);
    let mut entries: Vec<CString> = ours.filter_map(|(name, value)| entry(&name, &value)).collect();
    entries.extend(entry(OsStr::new(ESTATE), OsStr::new(&estate.to_string())));
    entries
}
