//! The log process (`ratoon: log`): reads what workers, templates and commands print, and writes the log's files.
//!
//! The supervisor must never wait for a disk, nor be moved by a worker that floods its standard output: so this is a
//! process of its own. Its loop drains every stream whatever becomes of the lines, so that nobody who prints waits; what
//! it cannot pass on is dropped and counted. A file is written by a thread of its own, the only place in the daemon that
//! may wait for a disk. It parses nothing, and ends when the supervisor has ended and nobody is left who could print.

mod file;
mod outlet;
mod shares;
mod source;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::prctl::set_name;
use nix::sys::signal::Signal;
use ratoon_worker::channel::{Channel, Received};
use ratoon_worker::log::{Said, Sink};
use ratoon_worker::sys::signal::ignore;

use self::file::{Copier, Job};
use self::outlet::Outlet;
use self::source::Stream;
use crate::sys::inherited;
pub use file::open;
pub use words::{Order, Output, Report, Source, VERSION};

/// The environment variable that makes a process the log process: the number of its end of the channel.
pub const CHANNEL: &str = "RATOON_LOG_CHANNEL";

/// When a destination that had no room is tried again.
const AGAIN: Duration = Duration::from_millis(10);
/// How often the supervisor is told of losses, at most.
const TELLING: Duration = Duration::from_millis(200);
/// How long the last lines may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// How much of one stream is read before the others have their turn.
const PORTION: usize = 64 << 10;

const ORDERS: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;

/// What reaches the whole process group of a terminal, or the whole service, is not meant for whoever writes the last
/// words down.
const IGNORED: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGPIPE,
];

/// Whether this process is the log process.
pub fn is_one() -> bool {
    std::env::var_os(CHANNEL).is_some()
}

/// Lives as the log process.
pub fn main() -> ExitCode {
    let _ = set_name(c"ratoon: log");
    let begun = ignore(&IGNORED).and_then(|()| {
        let number = std::env::var(CHANNEL).ok().and_then(|number| number.parse().ok()).ok_or(Errno::EBADF)?;
        Logger::new(Channel::from(inherited::adopt(number)?))
    });
    match begun.and_then(Logger::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// How it comes to an end.
enum Stage {
    Working,
    /// There is no supervisor any more: whoever still prints is read to the end.
    Orphaned,
    /// Everybody is buried: what is there is written, and that is all.
    Leaving(Instant),
}

struct Logger {
    channel: Option<Channel>,
    epoll: Epoll,
    wake: std::sync::Arc<EventFd>,
    outlet: Option<Outlet>,
    streams: HashMap<RawFd, Stream>,
    /// Each with the pool whose file it is, if it is one pool's.
    copiers: Vec<(Option<String>, Copier)>,
    /// The round of opening anew that not everybody has done yet.
    round: Option<u64>,
    /// The last that was asked for: whoever is started after that begins with it.
    last_round: u64,
    /// Lines lost of which the supervisor has not been told.
    lost: BTreeMap<Option<String>, u64>,
    told: Instant,
    stage: Stage,
}

impl Logger {
    fn new(channel: Channel) -> Result<Logger, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&channel, EpollEvent::new(EpollFlags::EPOLLIN, ORDERS))?;
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        Ok(Logger {
            channel: Some(channel),
            epoll,
            wake: wake.into(),
            outlet: None,
            streams: HashMap::new(),
            copiers: Vec::new(),
            round: None,
            last_round: 0,
            lost: BTreeMap::new(),
            told: Instant::now(),
            stage: Stage::Working,
        })
    }

    fn run(mut self) -> Result<(), Errno> {
        let mut found = [EpollEvent::empty(); 64];
        let mut scratch = vec![0; PORTION];
        loop {
            let count = match self.epoll.wait(&mut found, self.patience()) {
                Err(Errno::EINTR) => 0,
                count => count?,
            };
            for event in &found[..count] {
                match event.data() {
                    ORDERS => self.obey(),
                    WAKE => drop(self.wake.read()),
                    number => self.read(number as RawFd, &mut scratch),
                }
            }
            self.hear_copiers();
            if let Some(outlet) = &mut self.outlet {
                outlet.flush();
                for (pool, lines) in outlet.take_lost() {
                    *self.lost.entry(pool).or_default() += lines;
                }
            }
            self.tell();
            if self.is_over() {
                return Ok(());
            }
        }
    }

    fn patience(&self) -> EpollTimeout {
        let waits = self.outlet.as_ref().is_some_and(|outlet| !outlet.is_empty());
        let untold = !self.lost.is_empty() && self.channel.is_some();
        let again = match self.stage {
            Stage::Leaving(_) => Some(AGAIN),
            _ if waits => Some(AGAIN),
            _ if untold => Some(TELLING),
            _ => None,
        };
        let millis = again.and_then(|again| i32::try_from(again.as_millis()).ok());
        millis.and_then(|millis| EpollTimeout::try_from(millis).ok()).unwrap_or(EpollTimeout::NONE)
    }

    fn obey(&mut self) {
        loop {
            let Some(channel) = &self.channel else { return };
            match channel.try_receive() {
                Received::Message(order, descriptors) => self.carry_out(order, descriptors),
                Received::Nothing => return,
                Received::Nonsense(what) => self.say(Said {
                    message: "the supervisor does not make sense to the log process".into(),
                    rest: vec![("what", what.to_string().into())],
                    ..Said::new(tracing::Level::ERROR)
                }),
                Received::End => {
                    self.channel = None;
                    if matches!(self.stage, Stage::Working) {
                        self.stage = Stage::Orphaned;
                    }
                    return;
                }
            }
        }
    }

    fn carry_out(&mut self, order: Order, descriptors: Vec<OwnedFd>) {
        let mut descriptors = descriptors.into_iter();
        match order {
            Order::Begin { form } => {
                let sink = descriptors.next().map_or_else(Sink::standard_error, Sink::to);
                self.outlet = Some(Outlet::new(form, sink));
            }
            Order::Listen { sources } => {
                for (source, pipe) in sources.into_iter().zip(descriptors) {
                    let number = pipe.as_raw_fd();
                    let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
                    // One that cannot be waited for is closed: better that its writer is told than that it waits.
                    if self.epoll.add(pipe.as_fd(), event).is_ok() {
                        self.streams.insert(number, Stream::new(source, pipe));
                    }
                }
            }
            Order::Write { path, pool } => {
                if let Some(pipe) = descriptors.next() {
                    match Copier::start(path.clone(), pipe, self.last_round, self.wake.clone()) {
                        Ok(copier) => self.copiers.push((pool, copier)),
                        Err(error) => self.say(Said {
                            message: "cannot start writing to a file".into(),
                            rest: vec![
                                ("path", path.display().to_string().into()),
                                ("error", error.to_string().into()),
                            ],
                            ..Said::new(tracing::Level::ERROR)
                        }),
                    }
                }
            }
            Order::Reopen { round } => {
                (self.round, self.last_round) = (Some(round), round);
                self.copiers.iter().for_each(|(_, copier)| copier.ask(Job::Reopen(round)));
            }
            Order::Leave => {
                self.stage = Stage::Leaving(Instant::now());
                let mut scratch = vec![0; PORTION];
                let numbers: Vec<RawFd> = self.streams.keys().copied().collect();
                for number in numbers {
                    self.finish(number, &mut scratch);
                }
            }
        }
    }

    /// Reads a portion of a stream.
    fn read(&mut self, number: RawFd, scratch: &mut [u8]) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let outlet = &mut self.outlet;
        let goes_on = stream.read(scratch, |pool, said| {
            if let Some(outlet) = outlet {
                outlet.write(&said, pool);
            }
        });
        if !goes_on {
            // Before its number can be another's.
            if let Some(stream) = self.streams.remove(&number) {
                let _ = self.epoll.delete(stream.pipe());
            }
        }
    }

    /// Reads what is in a stream now, and closes it.
    fn finish(&mut self, number: RawFd, scratch: &mut [u8]) {
        let begun = Instant::now();
        while self.streams.get(&number).is_some_and(Stream::has_more) && begun.elapsed() < FAREWELL {
            self.read(number, scratch);
        }
        if let Some(mut stream) = self.streams.remove(&number) {
            let _ = self.epoll.delete(stream.pipe());
            if let (Some((pool, said)), Some(outlet)) = (stream.rest(), &mut self.outlet) {
                outlet.write(&said, &pool);
            }
        }
    }

    fn say(&mut self, said: Said) {
        if let Some(outlet) = &mut self.outlet {
            outlet.write(&said, "");
        }
    }

    /// What those who write files have to say.
    fn hear_copiers(&mut self) {
        let mut said = Vec::new();
        for (pool, copier) in &self.copiers {
            let (lines, news) = copier.news();
            if lines > 0 {
                *self.lost.entry(pool.clone()).or_default() += lines;
            }
            said.extend(news);
        }
        said.into_iter().for_each(|said| self.say(said));
        if let Some(round) = self.round
            && self.copiers.iter().all(|(_, copier)| copier.has_reopened(round))
        {
            self.round = None;
            let failed: Vec<String> = self.copiers.iter().filter_map(|(_, copier)| copier.take_failure()).collect();
            let failed = (!failed.is_empty()).then(|| failed.join("; "));
            if let Some(channel) = &self.channel {
                let _ = channel.send(&Report::Reopened { round, failed }, &[]);
            }
        }
        // One that has come to the end of its pipe: nobody writes there any more.
        self.copiers.retain(|(_, copier)| !copier.is_over());
    }

    /// Tells the supervisor what was lost.
    fn tell(&mut self) {
        let is_leaving = matches!(self.stage, Stage::Leaving(_));
        if self.lost.is_empty() || (self.told.elapsed() < TELLING && !is_leaving) {
            return;
        }
        let Some(channel) = &self.channel else { return };
        self.told = Instant::now();
        self.lost.retain(|pool, lines| {
            let report = Report::Lost { pool: pool.clone(), lines: *lines };
            channel.send(&report, &[]).is_err()
        });
    }

    fn is_over(&mut self) -> bool {
        let outlet_is_empty = self.outlet.as_ref().is_none_or(Outlet::is_empty);
        match self.stage {
            Stage::Working => false,
            Stage::Orphaned => {
                if self.streams.is_empty() && outlet_is_empty {
                    // Our own end of the log's pipe, or it would never come to its end.
                    self.outlet = None;
                }
                self.streams.is_empty() && self.copiers.is_empty()
            }
            Stage::Leaving(since) => {
                if outlet_is_empty {
                    self.copiers.iter().for_each(|(_, copier)| copier.ask(Job::Leave));
                }
                (outlet_is_empty && self.copiers.is_empty()) || since.elapsed() >= FAREWELL
            }
        }
    }
}
