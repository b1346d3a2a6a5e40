//! Where log lines go, without ever waiting for whoever reads them.
//!
//! A pipe or a terminal is opened anew, so that our non-blocking flag is ours alone: one that others share they may clear.
//! Where that is not allowed, it is asked not to wait with each piece, as a socket is; by kernels that do not know this of a
//! pipe, whether there is room. What is not taken at once is dropped, counted, and reported before the next line that goes through.
//! A regular file cannot be made not to wait: it is written only by a program started by hand, and by the log process.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{O_NOCTTY, O_NONBLOCK, PIPE_BUF};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use rustix::io::{ReadWriteFlags, ioctl_fionread, pwritev2};

/// Lines lost and not yet reported, and those lost in this process's whole life.
static LOST: AtomicU64 = AtomicU64::new(0);
static LOST_EVER: AtomicU64 = AtomicU64::new(0);

/// Where the lines that this process loses are counted for others to see.
static COUNTED: OnceLock<&'static AtomicU64> = OnceLock::new();

/// The offset that stands for none.
const AS_IT_COMES: u64 = u64::MAX;

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    way: Way,
    /// Whether the last line went out in part, so that the next must begin with a line end.
    cut: AtomicBool,
}

#[derive(Debug)]
enum Way {
    /// It does not wait, or cannot be made not to.
    Plain(File),
    /// A pipe or a terminal that may not be opened anew.
    Asked(File),
    Socket(OwnedFd),
    /// What cannot even be duplicated takes nothing.
    Nowhere,
}

/// How many lines of this process nobody has taken, ever.
pub fn lost() -> u64 {
    LOST_EVER.load(Ordering::Relaxed)
}

/// Reports what was lost, then writes a line; if either is not taken, it is counted.
pub(super) fn count(report: impl FnOnce(u64) -> bool, write: impl FnOnce() -> bool) {
    let unreported = LOST.swap(0, Ordering::Relaxed);
    let (reported, written) = match unreported {
        0 => (true, write()),
        lost if report(lost) => (true, write()),
        _ => (false, false),
    };
    let more = u64::from(!written);
    lose(more);
    LOST.fetch_add(more + if reported { 0 } else { unreported }, Ordering::Relaxed);
}

/// A line outside the log was taken, or is lost: of that the next line of the log tells.
pub(super) fn note(taken: bool) {
    if !taken {
        lose(1);
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// So many lines of this process are lost.
fn lose(lines: u64) {
    if lines > 0 {
        LOST_EVER.fetch_add(lines, Ordering::Relaxed);
        if let Some(place) = COUNTED.get() {
            place.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// From now on what this process loses is counted there, too.
pub(crate) fn count_in(place: &'static AtomicU64) {
    let _ = COUNTED.set(place);
}

impl Sink {
    /// This process's standard error, as it is now.
    pub fn standard_error() -> Sink {
        io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Sink::by(Way::Nowhere), Sink::to)
    }

    /// Whatever this is.
    pub fn to(descriptor: OwnedFd) -> Sink {
        Sink::by(Way::find(File::from(descriptor)))
    }

    fn by(way: Way) -> Sink {
        Sink(Arc::new(Inner { way, cut: AtomicBool::new(false) }))
    }

    /// As much of it as is taken now.
    ///
    /// # Errors
    /// `WouldBlock` if that is nothing; what else write says.
    pub fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0.way {
            Way::Plain(file) => (&*file).write(bytes),
            Way::Asked(file) => {
                match pwritev2(file, &[IoSlice::new(bytes)], AS_IT_COMES, ReadWriteFlags::NOWAIT) {
                    Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                    done => return Ok(done?),
                }
                let mut room = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut room, PollTimeout::ZERO)? == 0 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                // So much a pipe with room takes without waiting.
                (&*file).write(&bytes[..bytes.len().min(PIPE_BUF)])
            }
            Way::Socket(socket) => {
                Ok(send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
            }
            Way::Nowhere => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether this is a pipe with a quarter of its room taken. Whoever has much to say leaves the rest to the others who
    /// write there, and wait for nobody either; it is used up by pages, and those may be half empty.
    pub fn is_crowded(&self) -> bool {
        let waiting = self.pipe().and_then(|pipe| ioctl_fionread(pipe).ok());
        self.room().zip(waiting).is_some_and(|(room, waiting)| waiting >= room / 4)
    }

    /// Whether this, if it is a pipe, has room for a line of this length when it is empty.
    pub fn holds(&self, length: usize) -> bool {
        self.room().is_none_or(|room| 2 * PIPE_BUF as u64 + length as u64 <= room)
    }

    /// If this is a pipe, gives it as much room as this, or as it may have.
    pub fn widen(&self, room: u32) {
        if self.room().is_some_and(|now| now < room.into())
            && let (Some(pipe), Ok(room)) = (self.pipe(), room.try_into())
        {
            let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(room));
        }
    }

    /// How much there may be in it, if this is a pipe.
    fn room(&self) -> Option<u64> {
        u64::try_from(fcntl(self.pipe()?, FcntlArg::F_GETPIPE_SZ).ok()?).ok()
    }

    fn pipe(&self) -> Option<&File> {
        match &self.0.way {
            Way::Plain(file) | Way::Asked(file) => Some(file),
            Way::Socket(_) | Way::Nowhere => None,
        }
    }

    /// Whether a line of this length goes through in one piece, or could not in any case. Beyond what a pipe takes in one
    /// piece others may write in between as soon as there is no room for all of it; pages may be half empty.
    pub fn takes_whole(&self, length: usize) -> bool {
        let waiting = || self.pipe().and_then(|pipe| ioctl_fionread(pipe).ok());
        let (length, page) = (length as u64, PIPE_BUF as u64);
        length <= page || self.room().zip(waiting()).is_none_or(|(room, waiting)| 2 * (waiting + page) + length <= room)
    }

    /// Whether the whole line was taken.
    pub fn write_line(&self, line: &[u8]) -> bool {
        if !self.takes_whole(line.len()) {
            return false;
        }
        let cut = &self.0.cut;
        if cut.swap(false, Ordering::Relaxed) && !self.put_all(b"\n") {
            cut.store(true, Ordering::Relaxed);
            return false;
        }
        self.put_all(line)
    }

    fn put_all(&self, line: &[u8]) -> bool {
        let mut rest = line;
        while !rest.is_empty() {
            match self.put(rest) {
                Ok(written) if written > 0 => rest = &rest[written.min(rest.len())..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => {
                    self.0.cut.store(rest.len() < line.len(), Ordering::Relaxed);
                    return false;
                }
            }
        }
        true
    }
}

impl Way {
    fn find(file: File) -> Way {
        let Ok(metadata) = file.metadata() else {
            return Way::Nowhere;
        };
        let kind = metadata.file_type();
        if kind.is_socket() {
            return Way::Socket(file.into());
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            return Way::Plain(file);
        }
        let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
        let anew = OpenOptions::new().append(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(itself);
        anew.map_or(Way::Asked(file), Way::Plain)
    }
}
