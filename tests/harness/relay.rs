//! A proxy of the tests' own between a client and a server: what a network can do to a connection, done on purpose.
//!
//! Threads of the test process. Whatever is changed counts for every byte that has not been read yet.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use super::free_address;

/// How often a thread looks whether anything has changed.
const GLANCE: Duration = Duration::from_millis(2);

/// A relay; gone, with all its connections, when dropped.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both sides are told that the other has finished.
    Finish,
    /// Both sides are reset.
    Reset,
}

struct Shared {
    target: Mutex<SocketAddr>,
    /// `None` while it takes no connections.
    listener: Mutex<Option<TcpListener>>,
    links: Mutex<Vec<Link>>,
    attempts: AtomicUsize,
    /// Whether connections that come now are swallowed.
    swallows: AtomicBool,
    ends: AtomicBool,
}

/// One connection through the relay.
struct Link {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    swallows: AtomicBool,
    resets: AtomicBool,
    is_cut: AtomicBool,
}

impl Relay {
    /// A relay to this server.
    pub fn to(target: SocketAddr) -> Relay {
        // It is to be found again after it was away.
        let address = free_address();
        let listener = listen(address);
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            listener: Mutex::new(Some(listener)),
            links: Mutex::default(),
            attempts: AtomicUsize::new(0),
            swallows: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        });
        let its = shared.clone();
        let acceptor = Some(spawn(move || its.accept_all()));
        Relay { address, shared, acceptor }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that come from now on go to another server.
    pub fn point_at(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Cuts every connection there is; back, with their number, when both sides know.
    pub fn cut(&self, how: Cut) -> usize {
        let links = std::mem::take(&mut *self.shared.links.lock().unwrap());
        links.into_iter().map(|link| usize::from(link.end(how))).sum()
    }

    /// Refuses every connection that comes from now on.
    pub fn refuse(&self) {
        *self.shared.listener.lock().unwrap() = None;
    }

    /// Takes connections again.
    pub fn admit(&self) {
        let mut listener = self.shared.listener.lock().unwrap();
        listener.get_or_insert_with(|| listen(self.address));
    }

    /// From now on a black hole: what comes is taken and goes nowhere, on connections that are there and on new ones.
    pub fn swallow(&self) {
        self.shared.swallows.store(true, SeqCst);
        for link in &*self.shared.links.lock().unwrap() {
            link.state.swallows.store(true, SeqCst);
        }
    }

    /// New connections reach the server again. Those that were swallowed stay so: what they have lost is lost.
    pub fn heal(&self) {
        self.shared.swallows.store(false, SeqCst);
    }

    /// How many connections have been taken so far.
    pub fn attempts(&self) -> usize {
        self.shared.attempts.load(SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ends.store(true, SeqCst);
        let _ = self.acceptor.take().unwrap().join();
        self.cut(Cut::Reset);
    }
}

impl Shared {
    fn accept_all(&self) {
        while !self.ends.load(SeqCst) {
            let accepted = self.listener.lock().unwrap().as_ref().map(TcpListener::accept);
            match accepted {
                Some(Ok((client, _))) => self.connect(client),
                _ => sleep(GLANCE),
            }
        }
    }

    fn connect(&self, client: TcpStream) {
        self.attempts.fetch_add(1, SeqCst);
        // Where there is no server the client is hung up on.
        let target = *self.target.lock().unwrap();
        let Ok(server) = TcpStream::connect(target) else {
            return;
        };
        let mut links = self.links.lock().unwrap();
        let state = Arc::new(State::default());
        state.swallows.store(self.swallows.load(SeqCst), SeqCst);
        let [client, server] = [client, server].map(|stream| {
            stream.set_nonblocking(false).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(GLANCE)).unwrap();
            Arc::new(stream)
        });
        let directions = [(client.clone(), server.clone()), (server, client)];
        let threads = directions.map(|(from, to)| {
            let state = state.clone();
            spawn(move || state.carry(&from, &to))
        });
        links.retain(|link| !link.threads.iter().all(JoinHandle::is_finished));
        links.push(Link { state, threads: threads.into() });
    }
}

impl Link {
    /// Cuts it, if it is not over already; whether it was not.
    fn end(self, how: Cut) -> bool {
        let lived = !self.threads.iter().all(JoinHandle::is_finished);
        if how == Cut::Reset {
            self.state.resets.store(true, SeqCst);
        }
        self.state.is_cut.store(true, SeqCst);
        for thread in self.threads {
            let _ = thread.join();
        }
        lived
    }
}

impl State {
    /// Carries what comes from one side to the other until either is over.
    fn carry(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut piece = [0; 16 * 1024];
        while !self.is_cut.load(SeqCst) {
            match from.read(&mut piece) {
                Ok(0) if self.swallows.load(SeqCst) => sleep(GLANCE),
                Ok(0) => break,
                Ok(_) if self.swallows.load(SeqCst) => {}
                Ok(length) if to.write_all(&piece[..length]).is_ok() => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Ok(_) | Err(_) => break,
            }
        }
        match self.resets.load(SeqCst) {
            // Closed with nothing lingering, which the last of both threads does, a connection is reset.
            true => [from, to].iter().for_each(|stream| {
                let _ = setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 });
            }),
            false => drop(to.shutdown(Shutdown::Write)),
        }
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}
