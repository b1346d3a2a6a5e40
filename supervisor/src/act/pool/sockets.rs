//! The listening sockets of a pool, over all editions of its configuration.
//!
//! Each has a place, under which workers and scoreboard know it for as long as it is open. A reload adds sockets when it
//! reads the file and takes none away before it is concluded. One that moves to another pool is not closed in between:
//! for that time both have it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use ratoon_worker::scoreboard::{LISTENERS, Scoreboard};
use serde::{Deserialize, Serialize};

use crate::act::listener::Listener;
use crate::act::passed::Passed;
use crate::act::queue::Queue;
use crate::act::upgrade::estate::{Heirlooms, Inventory};
use crate::config::{self, Address, Listen};
use crate::decide::event::Edition;

/// See the module's header.
#[derive(Debug, Default)]
pub(in crate::act) struct Sockets {
    open: Vec<Socket>,
    /// Opened for editions that were abandoned, whose processes have them still: nobody else could open them.
    abandoned: Vec<Socket>,
}

/// Where a socket may come from that is not open here: from another pool, or from systemd.
pub(in crate::act) type Sources<'a> = (&'a [&'a Sockets], &'a Passed);

/// A socket as it is written down for the supervisor's successor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SocketEstate {
    place: u32,
    wanted: Listen,
    listener: usize,
    since: Edition,
    is_abandoned: bool,
}

#[derive(Debug)]
struct Socket {
    place: u32,
    /// As the configuration has it.
    wanted: Listen,
    listener: Rc<Listener>,
    /// The edition it was opened for.
    since: Edition,
}

impl Sockets {
    /// Opens those that the configuration names and that are not open yet.
    ///
    /// # Errors
    /// The key it is about, and what could not be done, in a sentence; what was opened for this edition is closed.
    pub(super) fn open(
        &mut self,
        config: &config::Pool,
        edition: Edition,
        sources: Sources<'_>,
    ) -> Result<(), (String, String)> {
        let mut kept: Vec<u32> = Vec::new();
        for (index, wanted) in config.listen.iter().enumerate() {
            // One that nobody can find any more is replaced by one that can be found.
            let most = most_at(&wanted.address);
            let same = |socket: &&Socket| socket.is_at(&wanted.address) && !kept.contains(&socket.place);
            let found: Vec<u32> = self.open.iter().filter(same).take(most).map(|socket| socket.place).collect();
            if !found.is_empty() {
                kept.extend(found);
                continue;
            }
            let abandoned: Vec<Socket> =
                self.abandoned.extract_if(.., |socket| socket.is_at(&wanted.address)).take(most).collect();
            if !abandoned.is_empty() {
                kept.extend(abandoned.iter().map(|socket| socket.place));
                self.open.extend(abandoned.into_iter().map(|socket| Socket { since: edition, ..socket }));
                continue;
            }
            let opened = listeners(wanted, sources).and_then(|all| {
                all.into_iter()
                    .try_for_each(|listener| self.add(wanted, listener, edition).map(|place| kept.push(place)))
            });
            if let Err(what) = opened {
                self.abandon(edition);
                return Err((format!("{}.listen[{index}]", config.path()), what));
            }
        }
        Ok(())
    }

    /// Gives it a place; which.
    fn add(&mut self, wanted: &Listen, listener: Rc<Listener>, since: Edition) -> Result<u32, String> {
        let taken = |place: &u32| self.open.iter().chain(&self.abandoned).any(|socket| socket.place == *place);
        let place = (0..LISTENERS as u32).find(|place| !taken(place)).ok_or_else(|| {
            format!("a pool has at most {LISTENERS} sockets, those of its last configuration included")
        })?;
        self.open.push(Socket { place, wanted: wanted.clone(), listener, since });
        Ok(place)
    }

    /// Those that were opened for this edition are needed no more.
    pub(super) fn abandon(&mut self, edition: Edition) {
        self.abandoned.extend(self.open.extract_if(.., |socket| socket.since == edition));
    }

    /// Closes those that were abandoned, but for editions that still have processes.
    pub(super) fn close_abandoned(&mut self, is_alive: impl Fn(Edition) -> bool) {
        self.abandoned.retain(|socket| is_alive(socket.since));
    }

    /// Gives those that stay what the configuration in force says of them.
    pub(super) fn adjust(&mut self, config: &config::Pool) {
        for wanted in &config.listen {
            let same = |socket: &&mut Socket| socket.wanted.address == wanted.address && socket.wanted != *wanted;
            if let Some(socket) = self.open.iter_mut().find(same) {
                match socket.listener.adjust(wanted) {
                    Ok(()) => socket.wanted = wanted.clone(),
                    Err(error) => {
                        tracing::error!(pool = %config.name, %error, "cannot change the listener on {}", wanted.address);
                    }
                }
            }
        }
    }

    /// Closes those that the configuration in force does not name any more; their places. What is queued there is left to
    /// the workers that have them.
    pub(super) fn conclude(&mut self, config: &config::Pool, scoreboard: &Scoreboard) -> Vec<u32> {
        let mut wanted: Vec<&Address> = config.listen.iter().map(|listen| &listen.address).collect();
        let (kept, closed): (Vec<Socket>, Vec<Socket>) = self.open.drain(..).partition(|socket| {
            let named = wanted.iter().position(|address| socket.is_at(address));
            if let Some(index) = named.filter(|index| most_at(wanted[*index]) == 1) {
                wanted.swap_remove(index);
            }
            named.is_some()
        });
        self.open = kept;
        for socket in &closed {
            tracing::info!(pool = %config.name, "no longer listening on {}", socket.listener.address());
            socket.end(&config.name, scoreboard);
        }
        closed.iter().map(|socket| socket.place).collect()
    }

    /// Lets no newcomers into the queues, and says in the scoreboard how many wait in each.
    pub(super) fn stop_listening(&self, pool: &str, scoreboard: &Scoreboard) {
        for socket in self.open.iter().chain(&self.abandoned) {
            socket.end(pool, scoreboard);
        }
    }

    /// Every one, with its place, in the order they were opened.
    pub(in crate::act) fn all(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        self.open.iter().map(|socket| (socket.place, socket.listener.as_fd()))
    }

    /// The places of those whose connections begin with a PROXY header, as this configuration has it; what it does not name
    /// is as it was.
    pub(in crate::act) fn announced(&self, config: &config::Pool) -> Vec<u32> {
        let mut named: Vec<&Listen> = config.listen.iter().collect();
        let announced = self.open.iter().filter(|socket| {
            let wanted = named.iter().position(|listen| socket.is_at(&listen.address));
            wanted.map_or(&socket.wanted, |index| named.remove(index)).proxy_protocol
        });
        announced.map(|socket| socket.place).collect()
    }

    /// Where clients find each.
    pub(in crate::act) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.open.iter().map(|socket| socket.listener.address())
    }

    /// Those that were opened for this edition.
    pub(in crate::act) fn opened_for(&self, edition: Edition) -> impl Iterator<Item = &Address> {
        let new = self.open.iter().filter(move |socket| socket.since == edition);
        new.map(|socket| socket.listener.address())
    }

    /// How many wait at each, and how many can.
    pub(in crate::act) fn queues(&self) -> impl Iterator<Item = (&Address, nix::Result<Queue>)> {
        self.open.iter().map(|socket| (socket.listener.address(), socket.listener.queue()))
    }

    /// Writes them down.
    pub(super) fn bequeath<'a>(&'a self, inventory: &mut Inventory<'a>) -> Vec<SocketEstate> {
        let open = self.open.iter().map(|socket| (socket, false));
        let all = open.chain(self.abandoned.iter().map(|socket| (socket, true)));
        let written = all.map(|(socket, is_abandoned)| SocketEstate {
            place: socket.place,
            wanted: socket.wanted.clone(),
            listener: inventory.listener(&socket.listener),
            since: socket.since,
            is_abandoned,
        });
        written.collect()
    }

    /// Reads them again.
    ///
    /// # Errors
    /// One was not passed on.
    pub(super) fn inherit(estate: Vec<SocketEstate>, heirlooms: &Heirlooms) -> io::Result<Sockets> {
        let mut sockets = Sockets::default();
        for SocketEstate { place, wanted, listener, since, is_abandoned } in estate {
            let socket = Socket { place, wanted, listener: heirlooms.listener(listener)?, since };
            if is_abandoned { &mut sockets.abandoned } else { &mut sockets.open }.push(socket);
        }
        Ok(sockets)
    }

    fn listening_on(&self, address: &Address) -> Vec<Rc<Listener>> {
        let fixed = !matches!(address, Address::Tcp(address) if address.port() == 0);
        let found = self.open.iter().filter(|socket| fixed && socket.is_at(address));
        found.map(|socket| socket.listener.clone()).collect()
    }
}

/// How many sockets one entry of the configuration can mean.
fn most_at(address: &Address) -> usize {
    match address {
        Address::Tcp(_) | Address::Unix(_) => 1,
        Address::Systemd(_) => LISTENERS,
    }
}

/// Those of another pool that has them, those that systemd has passed, or a new one.
fn listeners(wanted: &Listen, (others, passed): Sources<'_>) -> Result<Vec<Rc<Listener>>, String> {
    let shared = others.iter().map(|other| other.listening_on(&wanted.address)).find(|found| !found.is_empty());
    if let Some(shared) = shared {
        return Ok(shared);
    }
    match &wanted.address {
        Address::Systemd(name) => Ok(passed.open(name)?.into_iter().map(Rc::new).collect()),
        Address::Tcp(_) | Address::Unix(_) => Ok(vec![Rc::new(Listener::open(wanted)?)]),
    }
}

impl Socket {
    /// Whether clients of this address find it.
    fn is_at(&self, address: &Address) -> bool {
        self.wanted.address == *address && self.listener.can_be_found()
    }

    /// Nobody new comes in, unless another pool has it, too: then the queue is that one's.
    fn end(&self, pool: &str, scoreboard: &Scoreboard) {
        let waiting = match self.listener.given_up() >= Rc::strong_count(&self.listener) {
            true => self.listener.stop_listening().unwrap_or_else(|error| {
                tracing::warn!(pool, %error, "the length of a queue is not known: all of it is served");
                self.wanted.backlog
            }),
            false => 0,
        };
        scoreboard.set_quota(self.place as usize, u64::from(waiting));
    }
}
