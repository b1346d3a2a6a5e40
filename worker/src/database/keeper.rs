//! One connection of any kind, kept for one worker: made late, given fresh, cleaned when the response has left.
//!
//! Does for a [`ManageConnection`] what the pool's own database does for PostgreSQL, but for leasing: each worker has a
//! connection of its own. Owns the connection between requests, and lends it within one; never has two.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use super::backoff::Backoff;
use super::descriptors::Descriptors;
use super::error::Error;
use super::manager::ManageConnection;
use crate::app::Context;
use crate::clock;
use crate::scoreboard::Outage;

/// How long a connection is believed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// How long it may be idle before it is replaced; zero: for ever. Default 10 minutes.
    pub idle_timeout: Duration,
    /// How old it may become before it is replaced, up to a tenth less so that not all are replaced at once; zero: as old
    /// as it gets. Default 30 minutes.
    pub max_lifetime: Duration,
    /// One that has been idle for longer is asked whether it still works before it is used; zero: always. Default
    /// 30 seconds.
    pub validate_after: Duration,
}

impl Default for Freshness {
    fn default() -> Freshness {
        Freshness {
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(1800),
            validate_after: Duration::from_secs(30),
        }
    }
}

/// Keeps a connection for a worker: a field of the application, made in `load`.
///
/// Nothing is connected before a handler asks. What [`acquire`](Keeper::acquire) gives is open, not too old, and shows
/// nothing of earlier requests: when a response has left, the connection is reset, and one that cannot be is replaced.
/// While the other end is out of reach, asking fails at once between attempts that become rarer, down to one a second.
///
/// ```
/// # use ratoon_worker::{App, Context, Request, Response, Result, Settings};
/// # use ratoon_worker::{Keeper, ManageConnection};
/// # struct Cache; struct CacheConnection;
/// # impl ManageConnection for Cache {
/// #     type Connection = CacheConnection;
/// #     type Error = std::io::Error;
/// #     fn connect(&self) -> std::io::Result<CacheConnection> { Ok(CacheConnection) }
/// #     fn is_valid(&self, _: &mut CacheConnection) -> std::io::Result<()> { Ok(()) }
/// #     fn has_broken(&self, _: &mut CacheConnection) -> bool { false }
/// #     fn reset(&self, _: &mut CacheConnection) -> std::io::Result<()> { Ok(()) }
/// # }
/// # impl CacheConnection { fn get(&mut self, _: &str) -> Result<String> { Ok(String::new()) } }
/// struct Shop {
///     cache: Keeper<Cache>,
/// }
///
/// impl App for Shop {
///     fn load(_: Settings) -> Result<Self> {
///         Ok(Shop { cache: Keeper::new(Cache) })
///     }
///
///     fn handle(&mut self, request: Request, context: &mut Context) -> Result<Response> {
///         let mut cache = self.cache.acquire(context)?;
///         Ok(Response::new(cache.get(request.uri().path())?.into()))
///     }
/// }
/// ```
pub struct Keeper<M: ManageConnection> {
    shelf: Rc<RefCell<Shelf<M>>>,
}

struct Shelf<M: ManageConnection> {
    manager: M,
    freshness: Freshness,
    open: Option<Open<M::Connection>>,
    /// Whether the request in hand has asked for it.
    in_hand: bool,
    backoff: Backoff,
    outage: Outage,
    chance: fastrand::Rng,
}

struct Open<C> {
    connection: C,
    /// Behind the connection, so that it is dropped after it.
    _descriptors: Descriptors,
    expires: u64,
    idle_since: u64,
}

/// A connection, lent until this is dropped.
pub struct Kept<'a, C>(RefMut<'a, C>);

impl<M: ManageConnection + 'static> Keeper<M> {
    /// Keeps a connection of this kind, and believes in it for as long as its manager does.
    pub fn new(manager: M) -> Keeper<M> {
        let freshness = manager.freshness();
        Keeper::with(manager, freshness)
    }

    /// The same, believing in it for longer or shorter.
    pub fn with(manager: M, freshness: Freshness) -> Keeper<M> {
        let shelf = Shelf {
            manager,
            freshness,
            open: None,
            in_hand: false,
            backoff: Backoff::default(),
            outage: Outage::default(),
            chance: fastrand::Rng::with_seed(0),
        };
        Keeper { shelf: Rc::new(RefCell::new(shelf)) }
    }

    /// The connection: open and fresh, and clean when a request first asks. The next request will find it clean, whatever
    /// becomes of it in this one.
    ///
    /// # Errors
    /// That there is none to be had, with the manager's reason; that it is in use already, for it is the only one.
    /// Passed on by a handler, it is answered 503.
    pub fn acquire(&self, context: &mut Context<'_>) -> Result<Kept<'_, M::Connection>, Error> {
        let in_use = |_| Error::unavailable("a worker has one, and it is in use already");
        let mut shelf = self.shelf.try_borrow_mut().map_err(in_use)?;
        let open = match shelf.fresh() {
            Some(open) => open,
            None => shelf.connect()?,
        };
        if !std::mem::replace(&mut shelf.in_hand, true) {
            let shelf = Rc::clone(&self.shelf);
            context.at_end(move || end_request(&shelf));
        }
        Ok(Kept(RefMut::map(shelf, |shelf| &mut shelf.open.insert(open).connection)))
    }

    /// Runs `attempt`, and once more on a fresh connection if it failed and its connection turned out to be dead.
    ///
    /// Whether the first attempt changed anything on the other side is not known here. So it should do its work in one
    /// transaction, or nothing that may not be done twice; and there is a chance that the transaction was committed, and
    /// only the word of it got lost.
    ///
    /// # Errors
    /// What [`acquire`](Keeper::acquire) or the last attempt returned.
    pub fn retry<T, E: From<Error>>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut(&mut M::Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let first = attempt(&mut *self.acquire(context)?);
        match first {
            Err(_) if self.shelf.borrow_mut().has_lost_it() => attempt(&mut *self.acquire(context)?),
            done => done,
        }
    }
}

impl<M: ManageConnection> Shelf<M> {
    /// The connection, out of its place, if there is one and it is fresh. In the order of what it costs to know.
    fn fresh(&mut self) -> Option<Open<M::Connection>> {
        let mut open = self.open.take()?;
        let Shelf { manager, freshness, .. } = self;
        let now = clock::now();
        let idle = Duration::from_nanos(now.saturating_sub(open.idle_since));
        let stale = if manager.has_broken(&mut open.connection) {
            Some("it is broken".to_owned())
        } else if self.in_hand {
            None
        } else if now >= open.expires {
            Some("it is old".into())
        } else if !freshness.idle_timeout.is_zero() && idle > freshness.idle_timeout {
            Some("it was idle for long".into())
        } else if idle >= freshness.validate_after {
            manager.is_valid(&mut open.connection).err().map(|error| format!("it does not answer: {error}"))
        } else {
            None
        };
        match stale {
            Some(why) => {
                tracing::debug!(why, "a connection is replaced");
                None
            }
            None => Some(open),
        }
    }

    /// Whether the connection has died; it is given up then. After an error that is worth a round trip: many a connection
    /// does not know yet.
    fn has_lost_it(&mut self) -> bool {
        let Shelf { manager, open, .. } = self;
        let is_dead = |open: &mut Open<M::Connection>| {
            manager.has_broken(&mut open.connection) || manager.is_valid(&mut open.connection).is_err()
        };
        open.take_if(is_dead).is_some()
    }

    fn connect(&mut self) -> Result<Open<M::Connection>, Error> {
        if self.backoff.is_on() {
            return Err(Error::unavailable(&self.backoff.why));
        }
        // What was drawn in `load` would be the same in every worker.
        self.chance.seed(clock::now() ^ u64::from(std::process::id()).rotate_left(32));
        let before = Descriptors::open();
        match self.manager.connect() {
            Ok(connection) => {
                self.backoff.succeeded();
                let now = clock::now();
                if let Some(away) = self.outage.is_over(now) {
                    tracing::info!(away = away.time(), attempts = away.attempts, "connected again");
                }
                Ok(Open {
                    connection,
                    _descriptors: Descriptors::since(before),
                    expires: self.expiry(now),
                    idle_since: now,
                })
            }
            Err(why) => {
                self.backoff.failed(why.to_string(), self.chance.f64());
                match self.outage.goes_on(clock::now()) {
                    Some(away) => {
                        tracing::warn!(%why, away = away.time(), attempts = away.attempts, "cannot connect");
                    }
                    None => tracing::debug!(%why, "cannot connect"),
                }
                Err(Error::unavailable(why))
            }
        }
    }

    fn expiry(&mut self, now: u64) -> u64 {
        let most = u64::try_from(self.freshness.max_lifetime.as_nanos()).unwrap_or(u64::MAX);
        let less = (most as f64 / 10.0 * self.chance.f64()) as u64;
        if most == 0 { u64::MAX } else { now.saturating_add(most - less) }
    }
}

/// The request is over: what it has left is undone, and what cannot be cleaned is given up.
fn end_request<M: ManageConnection>(shelf: &RefCell<Shelf<M>>) {
    // Whoever has forgotten to give it back keeps it for good.
    let Ok(mut shelf) = shelf.try_borrow_mut() else { return };
    shelf.in_hand = false;
    let Some(mut open) = shelf.open.take() else { return };
    match shelf.manager.reset(&mut open.connection) {
        Ok(()) => {
            open.idle_since = clock::now();
            shelf.open = Some(open);
        }
        Err(why) => tracing::debug!(%why, "a connection is given up: it cannot be reset"),
    }
}

impl<C> Deref for Kept<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0
    }
}

impl<C> DerefMut for Kept<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.0
    }
}

impl<M: ManageConnection> fmt::Debug for Keeper<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Kept<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
