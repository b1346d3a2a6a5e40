//! The log from the supervisor's side: where lines go, and the log process that takes them there.
//!
//! Owns the pipes before the log's files, which outlive the log process, and all that it must be told when it is started;
//! the process itself is `process`, opening the files anew is `reopening`. Never writes to a regular file, and never waits
//! for the log process but for a moment at the end. When it is started is decided elsewhere (`decide/log`).

mod capture;
mod estate;
mod file;
mod process;
mod reopening;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;
use ratoon_worker::log::{Form, Lines, Sink};

use self::file::LogFile;
use self::process::Process;
use self::reopening::Reopening;
use super::children;
use crate::config;
use crate::decide::event::Time;
use crate::logger::{Order, Report, Source};
pub(super) use capture::{Captured, pipes};
pub(super) use estate::LogsEstate;

/// How many streams are named in one message: as many as fit.
pub const MOST_SOURCES: usize = 48;
/// Of so many streams what the dead have printed is kept for the next log process.
const MOST_PARKED: usize = 256;
/// While there is no log process, what is printed is dropped this often, so that nobody who prints waits for ever.
const DRAINING: Duration = Duration::from_millis(500);

/// See the module's header.
#[derive(Debug)]
pub struct Logs {
    form: Form,
    /// The daemon's log, if that is a file.
    log: Option<LogFile>,
    /// Those of access logs.
    files: Vec<LogFile>,
    process: Option<Process>,
    /// When the streams are drained next, while there is none.
    drains: Option<Time>,
    /// What the dead printed while there was none.
    parked: Vec<(Source, OwnedFd)>,
    /// Lines lost, by pool; `None` for what was not captured.
    lost: BTreeMap<Option<String>, u64>,
    reopening: Reopening,
}

impl Logs {
    /// Where this configuration's log goes: into its file; or to standard error, which may be a file, too.
    ///
    /// # Errors
    /// In a sentence: a file cannot be written, or there is no room for a pipe.
    pub fn open(config: &config::Log) -> Result<Logs, String> {
        let log = match config.file.clone().or_else(file::that_is_standard_error) {
            Some(path) => Some(LogFile::writable(path)?),
            None => None,
        };
        let form = match log {
            Some(_) => Form::of_file(config.format),
            None => Form::of_standard_error(config.format),
        };
        Ok(Logs::with(form, log))
    }

    fn with(form: Form, log: Option<LogFile>) -> Logs {
        Logs {
            form,
            log,
            files: Vec::new(),
            process: None,
            drains: None,
            parked: Vec::new(),
            lost: BTreeMap::new(),
            reopening: Reopening::default(),
        }
    }

    /// How every line looks.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Where the supervisor's own lines go.
    pub fn sink(&self) -> Sink {
        let own = self.log.as_ref().map(LogFile::entrance);
        own.and_then(Result::ok).map_or_else(Sink::standard_error, Sink::to)
    }

    /// Where those of another process go: each has an end of its own, whose flags are nobody else's.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        match &self.log {
            Some(log) => log.entrance_of_another(),
            None => io::stderr().as_fd().try_clone_to_owned(),
        }
    }

    /// Where programs print that are not captured, if that is not simply where we do: an end of the log's pipe that waits.
    pub(super) fn printed(&self) -> Option<io::Result<File>> {
        self.log.as_ref().map(LogFile::waiting_entrance)
    }

    /// The end of a template and its workers of the pipe before this file, which is the log process's to open.
    ///
    /// # Errors
    /// There is no room for a pipe.
    pub(super) fn entrance(&mut self, path: &Path, pool: Option<String>) -> io::Result<OwnedFd> {
        self.file(path, pool)?.entrance_of_another()
    }

    /// The file with this path, which is this pool's alone if it names one.
    fn file(&mut self, path: &Path, pool: Option<String>) -> io::Result<&LogFile> {
        let is_it = |file: &LogFile| file.path() == path;
        if let Some(log) = self.log.as_ref().filter(|log| is_it(log)) {
            return Ok(log);
        }
        let place = match self.files.iter().position(is_it) {
            Some(place) => place,
            None => {
                let file = LogFile::new(path.to_owned(), pool)?;
                if let Some(process) = &mut self.process {
                    process.tell(&file.order(), &[file.exit()]);
                }
                self.files.push(file);
                self.files.len() - 1
            }
        };
        Ok(&self.files[place])
    }

    /// Gives up the files of access logs that are not needed: each is written until the last who has its pipe has left.
    pub(super) fn keep_files(&mut self, is_needed: impl Fn(&Path) -> bool) {
        self.files.retain(|file| is_needed(file.path()));
    }

    /// Where lines of an access log go that has this file, or none of its own.
    ///
    /// # Errors
    /// There is no room for a pipe.
    pub(super) fn lines(&mut self, file: Option<&Path>) -> io::Result<Lines> {
        Ok(match file {
            Some(path) => Lines::into_file(Sink::to(self.file(path, None)?.entrance()?)),
            None => Lines::into_log(self.form, self.sink()),
        })
    }

    /// Executes the log process, and tells it all that is to be read.
    ///
    /// # Errors
    /// It cannot be executed: then what is printed is dropped until it is.
    pub(super) fn start<'a>(
        &mut self,
        now: Time,
        captured: impl Iterator<Item = (Source, BorrowedFd<'a>)>,
    ) -> io::Result<()> {
        self.drains.get_or_insert(now.after(DRAINING));
        let mut process = Process::execute()?;
        self.drains = None;
        self.brief(&mut process);
        self.process = Some(process);
        self.listen(captured);
        let parked = std::mem::take(&mut self.parked);
        self.listen(parked.iter().map(|(source, pipe)| (source.clone(), pipe.as_fd())));
        // It opens them as they are now.
        self.reopened(self.reopening.last(), None);
        Ok(())
    }

    fn brief(&self, process: &mut Process) {
        let form = self.form;
        // One that cannot be opened anew has it write to standard error.
        let entrance = self.log.as_ref().and_then(|log| log.entrance_of_another().ok());
        let to: Vec<BorrowedFd<'_>> = entrance.iter().map(OwnedFd::as_fd).collect();
        process.tell(&Order::Begin { form }, &to);
        for file in self.log.iter().chain(&self.files) {
            process.tell(&file.order(), &[file.exit()]);
        }
    }

    /// Has these streams read, too.
    pub(super) fn listen<'a>(&mut self, captured: impl Iterator<Item = (Source, BorrowedFd<'a>)>) {
        let Some(process) = &mut self.process else { return };
        let (sources, pipes): (Vec<Source>, Vec<BorrowedFd<'a>>) = captured.unzip();
        for (sources, pipes) in sources.chunks(MOST_SOURCES).zip(pipes.chunks(MOST_SOURCES)) {
            process.tell(&Order::Listen { sources: sources.to_vec() }, pipes);
        }
    }

    /// The way to the log process, if there is one.
    pub(super) fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref()?.channel().map(AsFd::as_fd)
    }

    /// Its process, if there is one.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// Whether this was the log process: then it is over.
    pub(super) fn buries(&mut self, pid: Pid, now: Time) -> bool {
        let is_it = self.process.take_if(|process| process.pid == pid).is_some();
        if is_it {
            self.drains = Some(now.after(DRAINING));
        }
        is_it
    }

    /// When there is something to be done here, if nothing happens before.
    pub(super) fn wake_at(&self) -> Option<Time> {
        self.drains.into_iter().chain(self.reopening.overdue()).min()
    }

    /// Without a log process: drops what has been printed, so that nobody waits for ever who prints. Bounded for each
    /// stream: whoever floods his waits all the same.
    pub(super) fn drain<'a>(&mut self, now: Time, captured: impl Iterator<Item = (Source, BorrowedFd<'a>)>) {
        let Some(due) = self.drains.as_mut().filter(|due| **due <= now) else {
            return;
        };
        *due = now.after(DRAINING);
        let mut scratch = vec![0; 64 << 10];
        for (source, pipe) in captured {
            self.drop_lines(source, pipe, &mut scratch);
        }
    }

    fn drop_lines(&mut self, source: Source, pipe: BorrowedFd<'_>, scratch: &mut [u8]) {
        if let Ok(count) = nix::unistd::read(pipe, scratch) {
            let lines = scratch[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
            self.lose(Some(source.pool), lines);
        }
    }

    /// Tells the log process what there was no room for before.
    pub(super) fn flush(&mut self) {
        if let Some(process) = &mut self.process {
            process.flush();
        }
    }

    /// Before a successor takes over: what the log process has not been told would be forgotten. One that listens so
    /// slowly makes way for another, which is told everything.
    pub(super) fn settle(&mut self) {
        self.flush();
        if let Some(process) = self.process.as_ref().filter(|process| process.has_unsent()) {
            children::kill(process.pid);
        }
    }

    /// What somebody printed who is dead is not read yet, and there is no log process: the next reads it.
    pub(super) fn park<'a>(&mut self, sources: impl Iterator<Item = (Source, BorrowedFd<'a>)>) {
        for (source, pipe) in sources {
            match pipe.try_clone_to_owned() {
                Ok(pipe) if self.parked.len() < MOST_PARKED => self.parked.push((source, pipe)),
                Ok(_) | Err(_) => self.drop_lines(source, pipe, &mut vec![0; 64 << 10]),
            }
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.process.as_ref().is_some_and(Process::has_unsent)
    }

    /// Reads what the log process has said.
    pub(super) fn hear(&mut self) {
        while let Some(report) = self.process.as_mut().and_then(Process::hear) {
            match report {
                Report::Lost { pool, lines } => self.lose(pool, lines),
                Report::Reopened { round, failed } => self.reopened(round, failed),
            }
        }
    }

    fn lose(&mut self, pool: Option<String>, lines: u64) {
        let lost = self.lost.entry(pool).or_default();
        *lost = lost.saturating_add(lines);
    }

    /// How many lines nobody took: of a pool's, as far as its workers do not count them themselves, or of everybody else's.
    pub(super) fn lost(&self, pool: Option<&str>) -> u64 {
        self.lost.get(&pool.map(str::to_owned)).copied().unwrap_or_default()
    }

    /// Has every file opened anew.
    pub(super) fn reopen(&mut self, now: Time) {
        if self.log.is_none() && self.files.is_empty() {
            let nothing = "standard error is no file: there is nothing to open anew";
            tracing::info!("{nothing}");
            self.reopening.note(Ok(nothing.into()));
            return;
        }
        let round = self.reopening.begin(now);
        if let Some(process) = &mut self.process {
            process.tell(&Order::Reopen { round }, &[]);
        }
    }

    /// Gives up a round that takes too long.
    pub(super) fn lose_patience(&mut self, now: Time) {
        if let Some((round, why)) = self.reopening.given_up(now) {
            self.reopened(round, Some(why));
        }
    }

    fn reopened(&mut self, round: u64, failed: Option<String>) {
        if !self.reopening.end(round) {
            return;
        }
        let paths: Vec<String> =
            self.log.iter().chain(&self.files).map(|file| file.path().display().to_string()).collect();
        let path = paths.join(", ");
        self.reopening.note(match failed {
            Some(error) => {
                tracing::error!(error, "cannot open the log anew");
                Err(format!("cannot be opened anew: {error}"))
            }
            None => {
                tracing::info!(path, "the log is opened anew");
                Ok(format!("{path} is opened anew"))
            }
        });
    }

    /// What became of opening the files anew, if that is over and was not asked for before.
    pub(super) fn take_reopened(&mut self) -> Option<Result<String, String>> {
        self.reopening.take_outcome()
    }

    /// Everybody is buried: what was printed is written, and the log process has left; or the time for that is over.
    pub(super) fn conclude(&mut self) {
        if let Some(process) = self.process.take() {
            process.dismiss();
        }
    }
}
