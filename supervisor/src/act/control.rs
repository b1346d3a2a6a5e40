//! The control socket, the supervisor's side: who asks, what they ask, and that they are told.
//!
//! Owns the listening socket, its clients, and an epoll of its own with all of them: the supervisor's loop waits for
//! that one descriptor. Never blocks, never grows without bound (so many clients, so long a question, so much untaken
//! answer), never believes anybody but this user and root, and never knows an answer itself but a refusal.

mod client;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, geteuid};
use serde::{Deserialize, Serialize};

use self::client::{Client, Heard, PATIENCE};
use super::listener::Listener;
use super::upgrade::estate::{Heirlooms, Inventory};
use crate::config::{Address, Listen};
use crate::control::{Answer, Ask, LONGEST};
use crate::decide::event::Time;

/// How many clients are listened to at a time: more than a person and their scripts need.
const MOST: usize = 64;

/// How long nobody is let in after the system could not give us a descriptor.
const REST: Duration = Duration::from_secs(1);

/// The listening socket's number in the epoll; clients are counted from the next.
const DOOR: u64 = 0;

/// A client, as long as it is there. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientId(pub(super) u64);

/// Those who wait for an answer, as they are written down for the supervisor's successor.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Callers {
    /// The newest client's number.
    last: u64,
    /// By number, with their descriptors.
    waiting: Vec<(u64, RawFd)>,
}

/// See the module's header.
pub(super) struct Control {
    epoll: Epoll,
    door: UnixListener,
    /// The same socket; it removes its file when it goes.
    listener: Rc<Listener>,
    resting_until: Option<Time>,
    clients: BTreeMap<ClientId, Client>,
    last: u64,
}

impl Control {
    /// Listens at `path`, which only this user and root may use.
    ///
    /// # Errors
    /// A sentence that says what could not be done, and what would help.
    pub(super) fn open(path: &Path) -> Result<Control, String> {
        let backlog = MOST as u32;
        let wanted = Listen { mode: Some(0o600), backlog, ..Listen::new(Address::Unix(path.to_owned())) };
        let listener = Listener::open(&wanted)?;
        Control::at(Rc::new(listener), &path.display().to_string())
    }

    fn at(listener: Rc<Listener>, place: &str) -> Result<Control, String> {
        let cannot = |error: std::io::Error| format!("cannot wait for questions at {place}: {error}");
        let door = UnixListener::from(listener.as_fd().try_clone_to_owned().map_err(cannot)?);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|errno| cannot(errno.into()))?;
        let open = EpollEvent::new(EpollFlags::EPOLLIN, DOOR);
        epoll.add(&door, open).map_err(|errno| cannot(errno.into()))?;
        Ok(Control { epoll, door, listener, resting_until: None, clients: BTreeMap::new(), last: DOOR })
    }

    /// Goes on listening where a predecessor did, and with those who wait for its answers.
    ///
    /// # Errors
    /// As for [`Control::open`].
    pub(super) fn take_over(
        listener: Rc<Listener>,
        callers: Callers,
        heirlooms: &Heirlooms,
        now: Time,
    ) -> Result<Control, String> {
        let place = listener.address().to_string();
        let mut control = Control::at(listener, &place)?;
        control.last = callers.last;
        for (number, descriptor) in callers.waiting {
            let stream = heirlooms.descriptor(descriptor).map_err(|error| format!("at {place}: {error}"))?;
            let client = Client::waiting(stream.into(), now);
            if control.epoll.add(&client, EpollEvent::new(client.wishes(), number)).is_ok() {
                control.clients.insert(ClientId(number), client);
            }
        }
        Ok(control)
    }

    /// Those who wait for an answer, to be written down. One that does not take what it is told is left behind.
    pub(super) fn bequeath(&self, inventory: &mut Inventory<'_>) -> Callers {
        let waiting = self.clients.iter().filter(|(_, client)| client.is_waiting());
        Callers { last: self.last, waiting: waiting.map(|(id, client)| (id.0, inventory.descriptor(client))).collect() }
    }

    /// Where it listens.
    pub(super) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Does everything that is due. To be called when the [descriptor](AsFd) is readable and when
    /// [`wake_at`](Control::wake_at) has come; every question it gives back wants an answer.
    pub(super) fn serve(&mut self, now: Time) -> Vec<(ClientId, Ask)> {
        let mut found = [EpollEvent::empty(); MOST];
        let count = self.epoll.wait(&mut found, EpollTimeout::ZERO).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look who is at the control socket");
            0
        });
        let mut asked = Vec::new();
        for event in &found[..count] {
            match event.data() {
                DOOR => self.admit(now),
                number => asked.extend(self.attend(ClientId(number), event.events(), now)),
            }
        }
        self.expire(now);
        asked
    }

    /// Tells a client this; after an answer that is [last](Answer::is_last) it is gone. One that is gone already is
    /// told nothing.
    pub(super) fn answer(&mut self, id: ClientId, answer: &Answer, now: Time) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.tell(answer, now);
            self.see_to(id);
        }
    }

    /// When [`serve`](Control::serve) is wanted, whether or not there is anything to read.
    pub(super) fn wake_at(&self) -> Option<Time> {
        self.clients.values().filter_map(Client::deadline).chain(self.resting_until).min()
    }

    fn admit(&mut self, now: Time) {
        for _ in 0..MOST {
            match self.door.accept() {
                Ok((stream, _)) => self.greet(stream, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot let anybody in at the control socket for a while");
                    self.resting_until = Some(now.after(REST));
                    return self.watch_door(EpollFlags::empty());
                }
            }
        }
    }

    fn greet(&mut self, stream: UnixStream, now: Time) {
        let refusal = stranger(&stream).or_else(|| {
            (self.clients.len() >= MOST).then(|| format!("{MOST} others are being answered: try again later"))
        });
        let mut client = Client::new(stream, now);
        let id = ClientId(self.last + 1);
        let event = EpollEvent::new(client.wishes(), id.0);
        if let Some(refusal) = refusal {
            client.tell(&Answer::Refused(refusal), now);
        } else if let Err(error) = self.epoll.add(&client, event) {
            tracing::warn!(%error, "cannot listen to a client of the control socket");
        } else {
            self.last = id.0;
            self.clients.insert(id, client);
        }
    }

    fn attend(&mut self, id: ClientId, flags: EpollFlags, now: Time) -> Option<(ClientId, Ask)> {
        let client = self.clients.get_mut(&id)?;
        let mut asked = None;
        if client.is_asking() {
            match client.hear() {
                Heard::Nothing => {}
                Heard::Question(line) => match Ask::read(&line) {
                    Ok(ask) => asked = Some((id, ask)),
                    Err(reason) => client.tell(&Answer::Refused(reason), now),
                },
                Heard::TooMuch => {
                    let reason = format!("a question is one line of at most {LONGEST} bytes");
                    client.tell(&Answer::Refused(reason), now);
                }
            }
        } else if flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            client.hang_up();
        } else {
            client.hand_over(now);
        }
        self.see_to(id);
        asked
    }

    /// Waits for what the client wants now, or forgets it if it wants nothing any more.
    fn see_to(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        let watched = self.epoll.modify(client, &mut EpollEvent::new(client.wishes(), id.0));
        if client.is_gone() || watched.is_err() {
            self.clients.remove(&id);
        }
    }

    fn expire(&mut self, now: Time) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.resting_until) {
            self.resting_until = None;
            self.watch_door(EpollFlags::EPOLLIN);
        }
        self.clients.retain(|_, client| {
            let late = due(client.deadline());
            if late && client.is_asking() {
                let reason = format!("no question came within {} s", PATIENCE.as_secs());
                client.tell(&Answer::Refused(reason), now);
            }
            !late
        });
    }

    fn watch_door(&self, wishes: EpollFlags) {
        if let Err(error) = self.epoll.modify(&self.door, &mut EpollEvent::new(wishes, DOOR)) {
            tracing::error!(%error, "cannot watch the control socket");
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

/// Why this client is not one to listen to, if it is not. The socket's mode keeps others out already; this holds when
/// somebody has changed it.
fn stranger(stream: &UnixStream) -> Option<String> {
    if let Err(error) = stream.set_nonblocking(true) {
        return Some(format!("your connection cannot be used: {error}"));
    }
    let ours = geteuid();
    match getsockopt(stream, PeerCredentials) {
        Ok(peer) if Uid::from_raw(peer.uid()) == ours || peer.uid() == 0 => None,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), "a stranger is turned away from the control socket");
            Some(format!("this supervisor answers root and user {ours} only, and you are user {}", peer.uid()))
        }
        Err(error) => Some(format!("you cannot be known: {error}")),
    }
}
