//! What a worker serves with, and the server that is made of it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, getrlimit};

use super::budget::Budget;
use super::connection::Rules;
use super::crowd::Crowd;
use super::disk::Disk;
use super::ear::Ear;
use super::exchange::Engines;
use super::inlets::{Inlets, Tokens};
use super::records::Records;
use super::relief::Relief;
use super::turned_away::TurnedAway;
use super::upload::Bounds;
use super::wire::scratch;
use super::{FIRST_LISTENER, INBOX, MILLI, Server, Stage, TERMINATE};
use crate::app::{App, Worker};
use crate::cleaning::Cleaner;
use crate::clock;
use crate::database::Database;
use crate::inbox::Inbox;
use crate::log::Lines;
use crate::pace::Pace;
use crate::protocol::{Accounts, Cleaning, HalfClose, Limits, MOST_DESCRIPTORS, Proxies};
use crate::scoreboard::Scoreboard;
use crate::sys::shared::Shared;
use crate::woken::Woken;

/// What a worker serves with.
pub(crate) struct Post {
    pub(crate) worker: Worker,
    pub(crate) limits: Limits,
    pub(crate) cleaning: Cleaning,
    pub(crate) proxies: Proxies,
    pub(crate) accounts: Accounts,
    /// Where lines of the access log go, if there is one.
    pub(crate) lines: Option<Lines>,
    /// How many requests it may serve; `None`: any number.
    pub(crate) max_requests: Option<u64>,
    pub(crate) scoreboard: Rc<Shared<Scoreboard>>,
    /// With their places in the scoreboard.
    pub(crate) listeners: Vec<(u32, OwnedFd)>,
    /// Where siblings leave and take connections, if there can be siblings.
    pub(crate) inbox: Option<Inbox>,
    /// Readable once somebody has asked by a signal to leave.
    pub(crate) terminate: UnixStream,
    pub(crate) database: Option<Database>,
}

impl<A: App> Server<A> {
    /// A server that nobody knows of yet.
    ///
    /// # Errors
    /// What epoll or getrlimit say.
    pub(crate) fn new(app: A, post: Post) -> Result<Server<A>, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(post.terminate.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, TERMINATE))?;
        let limits = post.limits;
        let scoreboard = post.scoreboard;
        let disk = Disk { scoreboard: scoreboard.clone(), slot: post.worker.slot, bound: limits.body_disk };
        let descriptors = usize::try_from(getrlimit(Resource::RLIMIT_NOFILE)?.0).unwrap_or(usize::MAX);
        let tokens = Tokens { first_listener: FIRST_LISTENER, inbox: INBOX };
        let longest_head = usize::try_from(limits.max_header).unwrap_or(usize::MAX);
        let rules = Rules {
            engines: Engines::new(longest_head),
            woken: Woken::new(),
            bounds: Bounds {
                longest: limits.max_body,
                memory: limits.body_memory,
                directory: limits.body_dir,
                disk: Rc::new(disk),
            },
            longest_head,
            header_timeout: limits.header_timeout.saturating_mul(MILLI),
            body_timeout: limits.body_timeout.saturating_mul(MILLI),
            send_timeout: limits.send_timeout.saturating_mul(MILLI),
            keep_alive_timeout: limits.keep_alive_timeout.saturating_mul(MILLI),
            queue_timeout: Some(limits.queue_timeout.saturating_mul(MILLI)).filter(|timeout| *timeout > 0),
            half_closed_is_gone: limits.half_close == HalfClose::Gone,
            budget: Budget::new(post.max_requests),
            proxies: post.proxies,
            query: post.accounts.query,
        };
        let records = Records::new(post.accounts, post.lines, &post.worker);
        // With everything that is ours for good, and no client yet.
        let cleaner = Cleaner::new(&post.cleaning);
        Ok(Server {
            app,
            worker: post.worker,
            panics: post.cleaning.panics,
            cleaner,
            since: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
            served: 0,
            request_timeout: limits.request_timeout.saturating_mul(MILLI),
            max_connections: limits.max_connections as usize,
            descriptors,
            batch: (descriptors / 8).clamp(1, MOST_DESCRIPTORS),
            rules,
            records,
            pace: Pace::default(),
            scratch: scratch(),
            inlets: Inlets::new(post.listeners, post.inbox, scoreboard.clone(), tokens),
            scoreboard,
            channel: None,
            terminate: post.terminate,
            database: post.database,
            ear: Ear::default(),
            epoll,
            now: clock::now(),
            found_since: 0,
            relief: Relief::default(),
            turned_away: TurnedAway::default(),
            gives_again: None,
            compares_again: 0,
            crowd: Crowd::new(),
            ready: VecDeque::new(),
            postponed: Vec::new(),
            waiting: VecDeque::new(),
            held: None,
            stage: Stage::Serving,
        })
    }
}
