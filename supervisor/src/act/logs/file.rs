//! A file of the log, and the pipe before it: the log process writes the one from the other.
//!
//! Owns both ends of the pipe, so that what is in it outlives the log process, and nobody who writes is told that nobody
//! reads. Never writes to the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::O_NONBLOCK;
use nix::unistd::pipe2;
use serde::{Deserialize, Serialize};

use crate::act::upgrade::estate::{Heirlooms, Inventory};
use crate::logger::{self, Order};

/// The room in the pipe, in bytes: what any user may have.
const ROOM: i32 = 1 << 20;

const STANDARD_ERROR: &str = "/proc/self/fd/2";

/// See the module's header.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// The pool whose file it is, if it is one pool's: what is lost of it is counted for that.
    pool: Option<String>,
    read: OwnedFd,
    /// The supervisor's own: does not wait, whatever others do to theirs.
    write: OwnedFd,
}

/// What a successor is handed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FileEstate {
    path: PathBuf,
    pool: Option<String>,
    read: RawFd,
    write: RawFd,
}

impl LogFile {
    /// One that the log process is to open, whatever comes of that.
    ///
    /// # Errors
    /// There is no room for a pipe.
    pub(super) fn new(path: PathBuf, pool: Option<String>) -> nix::Result<LogFile> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // With less room more is lost when the disk is slow; that is all.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(ROOM));
        Ok(LogFile { path, pool, read, write })
    }

    /// One that has been seen to be writable.
    ///
    /// # Errors
    /// In a sentence: it is not, or there is no room for a pipe.
    pub(super) fn writable(path: PathBuf) -> Result<LogFile, String> {
        logger::open(&path).map_err(|error| format!("cannot write to {}: {error}", path.display()))?;
        LogFile::new(path, None).map_err(|errno| format!("cannot make a pipe: {errno}"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the supervisor writes lines for it, which never waits.
    pub(super) fn entrance(&self) -> io::Result<OwnedFd> {
        self.write.try_clone()
    }

    /// The same for another process, opened anew: that it does not wait is a flag of what was opened, and who shares that
    /// may clear it.
    pub(super) fn entrance_of_another(&self) -> io::Result<OwnedFd> {
        let mut options = OpenOptions::new();
        options.append(true).custom_flags(O_NONBLOCK);
        opened_anew(&self.write, &options).map(OwnedFd::from)
    }

    /// The same for whoever expects to wait.
    pub(super) fn waiting_entrance(&self) -> io::Result<File> {
        opened_anew(&self.write, OpenOptions::new().write(true))
    }

    /// Where they come out.
    pub(super) fn exit(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// What the log process is told of it; the exit goes with that.
    pub(super) fn order(&self) -> Order {
        Order::Write { path: self.path.clone(), pool: self.pool.clone() }
    }

    pub(super) fn bequeath(&self, inventory: &mut Inventory<'_>) -> FileEstate {
        let (read, write) = (inventory.descriptor(&self.read), inventory.descriptor(&self.write));
        FileEstate { path: self.path.clone(), pool: self.pool.clone(), read, write }
    }

    pub(super) fn inherit(estate: FileEstate, heirlooms: &Heirlooms) -> io::Result<LogFile> {
        let (read, write) = (heirlooms.descriptor(estate.read)?, heirlooms.descriptor(estate.write)?);
        Ok(LogFile { path: estate.path, pool: estate.pool, read, write })
    }
}

impl FileEstate {
    /// The entrance, before anything of the estate is taken.
    pub(super) fn entrance(&self) -> RawFd {
        self.write
    }
}

fn opened_anew(pipe: &OwnedFd, options: &OpenOptions) -> io::Result<File> {
    options.open(format!("/proc/self/fd/{}", pipe.as_raw_fd()))
}

/// The path of our standard error, if that is a regular file.
pub(super) fn that_is_standard_error() -> Option<PathBuf> {
    let is_file = std::fs::metadata(STANDARD_ERROR).is_ok_and(|file| file.is_file());
    let path = is_file.then(|| std::fs::read_link(STANDARD_ERROR).ok()).flatten()?;
    Path::exists(&path).then_some(path)
}
