//! One file and the thread that writes it: what comes out of a pipe goes to the end of the file.
//!
//! The thread is the only one in the daemon that may wait for a disk; while it does, the pipe fills, and whoever writes
//! into that drops lines and counts them. What a full disk does not take is dropped and counted here.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use ratoon_worker::log::{Form, Said, Sink};
use tracing::Level;

/// How much is written at a time, in bytes.
const PORTION: usize = 64 << 10;
/// No line that has no end yet is kept back beyond this, in bytes.
const LONGEST: usize = 1 << 20;
/// Not everybody's to read: requests and errors can hold what is nobody else's business.
const MODE: u32 = 0o640;

/// The loop's side of it.
pub(super) struct Copier {
    shared: Arc<Shared>,
    orders: UnixStream,
}

/// What it can be asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Job {
    Reopen(u64),
    /// Write what is in the pipe, and end.
    Leave,
}

struct Shared {
    /// The round in which it was last opened anew.
    round: AtomicU64,
    wanted: AtomicU64,
    leaves: AtomicBool,
    over: AtomicBool,
    lost: AtomicU64,
    news: Mutex<Vec<Said>>,
    /// Why it could not be opened anew.
    failure: Mutex<Option<String>>,
}

impl Copier {
    /// Starts the thread, which opens the file: that is `round`.
    ///
    /// # Errors
    /// What socketpair or the start of a thread say.
    pub(super) fn start(path: PathBuf, pipe: OwnedFd, round: u64, wake: Arc<EventFd>) -> io::Result<Copier> {
        let (orders, theirs) = UnixStream::pair()?;
        orders.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            round: AtomicU64::new(round),
            wanted: AtomicU64::new(round),
            leaves: AtomicBool::new(false),
            over: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            news: Mutex::default(),
            failure: Mutex::default(),
        });
        let its = Writer {
            appender: Appender::new(path.clone()),
            pipe: File::from(pipe),
            held: Vec::new(),
            orders: theirs,
            shared: shared.clone(),
            wake,
        };
        std::thread::Builder::new().spawn(move || its.run())?;
        Ok(Copier { shared, orders })
    }

    pub(super) fn ask(&self, job: Job) {
        match job {
            Job::Reopen(round) => self.shared.wanted.store(round, SeqCst),
            Job::Leave => self.shared.leaves.store(true, SeqCst),
        }
        // If there is no room it has not even heard the one before.
        let _ = (&self.orders).write(&[0]);
    }

    /// How many lines were lost since this was last asked, and what there is to say.
    pub(super) fn news(&self) -> (u64, Vec<Said>) {
        let said = self.shared.news.lock().map(|mut news| std::mem::take(&mut *news)).unwrap_or_default();
        (self.shared.lost.swap(0, SeqCst), said)
    }

    /// Why it could not be opened anew, if it could not.
    pub(super) fn take_failure(&self) -> Option<String> {
        self.shared.failure.lock().ok()?.take()
    }

    pub(super) fn has_reopened(&self, round: u64) -> bool {
        self.shared.round.load(SeqCst) >= round
    }

    pub(super) fn is_over(&self) -> bool {
        self.shared.over.load(SeqCst)
    }
}

/// The thread's side.
struct Writer {
    appender: Appender,
    pipe: File,
    /// The line that has begun to come out of the pipe.
    held: Vec<u8>,
    orders: UnixStream,
    shared: Arc<Shared>,
    wake: Arc<EventFd>,
}

impl Writer {
    fn run(mut self) {
        self.open();
        let mut bytes = vec![0; PORTION];
        while self.turn(&mut bytes) {}
        let rest = std::mem::take(&mut self.held);
        if !rest.is_empty() {
            let news = self.appender.append(&rest);
            self.tell(news);
        }
        self.shared.over.store(true, SeqCst);
        let _ = self.wake.write(1);
    }

    /// Writes what has come; false if that was all.
    fn turn(&mut self, bytes: &mut [u8]) -> bool {
        let leaves = self.shared.leaves.load(SeqCst);
        let patience = if leaves { PollTimeout::ZERO } else { PollTimeout::NONE };
        let [mut has_orders, mut has_bytes] = [false; 2];
        {
            let mut asked =
                [&self.orders.as_fd(), &self.pipe.as_fd()].map(|each| PollFd::new(*each, PollFlags::POLLIN));
            if poll(&mut asked, patience).is_ok_and(|ready| ready > 0) {
                [has_orders, has_bytes] = asked.each_ref().map(|each| each.any().unwrap_or(true));
            }
        }
        if has_orders {
            // Without a loop there is nobody to work for.
            if matches!((&self.orders).read(&mut [0; 64]), Ok(0)) {
                return false;
            }
            let wanted = self.shared.wanted.load(SeqCst);
            if wanted > self.shared.round.load(SeqCst) {
                self.open();
                self.shared.round.store(wanted, SeqCst);
                let _ = self.wake.write(1);
            }
        }
        if !has_bytes {
            return !leaves;
        }
        match self.pipe.read(bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.held.extend_from_slice(&bytes[..count]);
                let end = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
                let whole = if end == 0 && self.held.len() > LONGEST { self.held.len() } else { end };
                if whole > 0 {
                    let news = self.appender.append(&self.held[..whole]);
                    self.held.drain(..whole);
                    self.tell(news);
                }
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn open(&mut self) {
        let opened = self.appender.open();
        if let Ok(mut failure) = self.shared.failure.lock() {
            let why = opened.as_ref().err();
            *failure = why.map(|error| format!("{}: {error}", self.appender.path.display()));
        }
        let news = opened.err().and_then(|error| {
            // Nobody else says so of the first time.
            if self.appender.file.is_none() { self.appender.fails(error) } else { None }
        });
        self.tell(news);
    }

    fn tell(&mut self, news: Option<News>) {
        let lost = std::mem::take(&mut self.appender.lost);
        if lost == 0 && news.is_none() {
            return;
        }
        self.shared.lost.fetch_add(lost, SeqCst);
        let path = ("path", self.appender.path.display().to_string().into());
        let said = news.map(|news| match news {
            News::Fails(error) => Said {
                message: "cannot write to the file: what it should hold is lost".into(),
                rest: vec![path, ("error", error.to_string().into())],
                ..Said::new(Level::ERROR)
            },
            News::Recovered(lost) => Said {
                message: "log lines lost: the file could not be written".into(),
                rest: vec![path, ("lost", lost.into())],
                ..Said::new(Level::WARN)
            },
        });
        if let Some(said) = said {
            if said.level == Level::ERROR {
                // The daemon's log may be this very file.
                Sink::standard_error().write_line(Form::of_standard_error(Default::default()).line(&said).as_bytes());
            }
            if let Ok(mut news) = self.shared.news.lock() {
                news.push(said);
            }
        }
        let _ = self.wake.write(1);
    }
}

/// What has changed about a file.
#[derive(Debug)]
enum News {
    /// It takes nothing, from now on.
    Fails(io::Error),
    /// It takes something again, after so many lines were lost.
    Recovered(u64),
}

/// A file, written at its end, whole lines at a time.
struct Appender {
    path: PathBuf,
    file: Option<File>,
    /// Whether the file ends in the middle of a line.
    is_cut: bool,
    /// Lost since it last took something; `None` while it does.
    failing: Option<u64>,
    /// Lost and not told yet.
    lost: u64,
}

impl Appender {
    fn new(path: PathBuf) -> Appender {
        Appender { path, file: None, is_cut: false, failing: None, lost: 0 }
    }

    /// Opens it, anew if it was. One that cannot be opened leaves the one before in place.
    fn open(&mut self) -> io::Result<()> {
        self.file = Some(open(&self.path)?);
        self.is_cut = false;
        Ok(())
    }

    fn append(&mut self, lines: &[u8]) -> Option<News> {
        let opened = if self.file.is_none() { self.open() } else { Ok(()) };
        let (written, error) = match opened {
            Ok(()) => self.write(lines),
            Err(error) => (0, Some(error)),
        };
        let Some(error) = error else {
            return self.failing.take().map(News::Recovered);
        };
        let lost = lines[written..].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.lost += lost;
        let first = self.fails(error);
        if let Some(failing) = &mut self.failing {
            *failing += lost;
        }
        first
    }

    /// It takes nothing now; one that is open may go on with what it has.
    fn fails(&mut self, error: io::Error) -> Option<News> {
        if self.failing.is_some() {
            return None;
        }
        self.failing = Some(0);
        Some(News::Fails(error))
    }

    /// How much of it the file has taken, and why not all.
    fn write(&mut self, lines: &[u8]) -> (usize, Option<io::Error>) {
        let Some(mut file) = self.file.as_ref() else {
            return (0, Some(ErrorKind::NotFound.into()));
        };
        if self.is_cut {
            if let Err(error) = file.write_all(b"\n") {
                return (0, Some(error));
            }
            self.is_cut = false;
        }
        let mut written = 0;
        while written < lines.len() {
            match file.write(&lines[written..]) {
                Ok(0) => return (written, Some(ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    self.is_cut = lines[written - 1] != b'\n';
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (written, Some(error)),
            }
        }
        (written, None)
    }
}

/// Opens it at its end, whoever else has it open or has not: a pipe that nobody reads is an error here, and is not waited for.
///
/// # Errors
/// What open says; or it is neither a file nor a device.
pub fn open(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(O_NONBLOCK | O_NOCTTY).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_char_device() {
        return Err(io::Error::other("neither a file nor a device"));
    }
    // To wait for it is what its thread is for.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_costs_lines_that_are_counted_and_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut appender = Appender::new(path.clone());
        assert!(appender.append(b"one\ntwo\n").is_none());
        appender.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        assert!(matches!(appender.append(b"three\nfour\n"), Some(News::Fails(_))));
        assert!(appender.append(b"five\nsix\n").is_none());
        assert_eq!(std::mem::take(&mut appender.lost), 4);
        appender.open().unwrap();
        assert!(matches!(appender.append(b"seven\n"), Some(News::Recovered(4))));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\nseven\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none/log");
        let mut appender = Appender::new(path.clone());
        assert!(appender.open().is_err());
        assert!(matches!(appender.append(b"one\n"), Some(News::Fails(_))));
        std::fs::create_dir(directory.path().join("none")).unwrap();
        assert!(matches!(appender.append(b"two\n"), Some(News::Recovered(1))));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "two\n");
    }
}
