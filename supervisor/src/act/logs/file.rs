//! A file of the log, and the pipe before it: the log process writes the one from the other.
//!
//! Owns both ends of the pipe, so that what is in it outlives the log process, and nobody who writes is told that nobody
//! reads. Never writes to the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use serde::{Deserialize, Serialize};

use crate::act::upgrade::estate::{Heirlooms, Inventory};
use crate::logger::Order;

/// The room in the pipe, in bytes: what any user may have.
const ROOM: i32 = 1 << 20;

const STANDARD_ERROR: &str = "/proc/self/fd/2";

/// See the module's header.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    read: OwnedFd,
    /// Does not wait.
    write: OwnedFd,
}

/// What a successor is handed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FileEstate {
    path: PathBuf,
    read: RawFd,
    write: RawFd,
}

impl LogFile {
    /// One that the log process is to open, whatever comes of that.
    ///
    /// # Errors
    /// There is no room for a pipe.
    pub(super) fn new(path: PathBuf) -> nix::Result<LogFile> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // With less room more is lost when the disk is slow; that is all.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(ROOM));
        Ok(LogFile { path, read, write })
    }

    /// One that has been seen to be writable.
    ///
    /// # Errors
    /// In a sentence: it is not, or there is no room for a pipe.
    pub(super) fn writable(path: PathBuf) -> Result<LogFile, String> {
        let tried = OpenOptions::new().append(true).create(true).open(&path);
        tried.map_err(|error| format!("cannot write to {}: {error}", path.display()))?;
        LogFile::new(path).map_err(|errno| format!("cannot make a pipe: {errno}"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where lines for it are written, which never waits.
    pub(super) fn entrance(&self) -> io::Result<OwnedFd> {
        self.write.try_clone()
    }

    pub(super) fn borrowed_entrance(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// The same for whoever expects to wait.
    pub(super) fn waiting_entrance(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", self.write.as_raw_fd()))
    }

    /// Where they come out.
    pub(super) fn exit(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// What the log process is told of it; the exit goes with that.
    pub(super) fn order(&self) -> Order {
        Order::Write { path: self.path.clone() }
    }

    pub(super) fn bequeath(&self, inventory: &mut Inventory<'_>) -> FileEstate {
        let (read, write) = (inventory.descriptor(&self.read), inventory.descriptor(&self.write));
        FileEstate { path: self.path.clone(), read, write }
    }

    pub(super) fn inherit(estate: FileEstate, heirlooms: &Heirlooms) -> io::Result<LogFile> {
        let (read, write) = (heirlooms.descriptor(estate.read)?, heirlooms.descriptor(estate.write)?);
        Ok(LogFile { path: estate.path, read, write })
    }
}

impl FileEstate {
    /// The entrance, before anything of the estate is taken.
    pub(super) fn entrance(&self) -> RawFd {
        self.write
    }
}

/// The path of our standard error, if that is a regular file.
pub(super) fn that_is_standard_error() -> Option<PathBuf> {
    let is_file = std::fs::metadata(STANDARD_ERROR).is_ok_and(|file| file.is_file());
    let path = is_file.then(|| std::fs::read_link(STANDARD_ERROR).ok()).flatten()?;
    Path::exists(&path).then_some(path)
}
