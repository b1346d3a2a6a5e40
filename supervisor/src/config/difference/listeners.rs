//! What becomes of the listeners from one configuration to the next.
//!
//! Owns which old and which new entry are one socket: the address says so, also where it moves to another pool, so
//! that a socket that is wanted still is never closed. Never opens one.

use super::super::{Address, Config, Listen};
use super::{Change, effect, quoted};

/// What becomes of the sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    /// Those that stay open, in the old order.
    pub kept: Vec<Kept>,
    /// To be opened, in the new order: places in the new configuration.
    pub added: Vec<Place>,
    /// To be closed when nobody serves them any more, in the old order: places in the old configuration.
    pub removed: Vec<Place>,
}

/// Where an entry stands: `pool.POOL.listen[INDEX]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The pool's name.
    pub pool: String,
    /// The place in its list, from 0.
    pub index: usize,
    /// The address that is written there.
    pub address: Address,
}

/// A socket that stays open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the old configuration.
    pub old: Place,
    /// Its place in the new one.
    pub new: Place,
    /// What changes of it, by its new path: `backlog`, `mode`, `owner`, `group` or `proxy_protocol`.
    pub changes: Vec<Change>,
}

impl Listeners {
    /// Matches the listeners of both: every old one is kept as at most one new one.
    pub(super) fn between(old: &Config, new: &Config) -> Listeners {
        let mut wanted: Vec<Option<(Place, &Listen)>> = places(new).map(Some).collect();
        let mut found = Listeners::default();
        for (place, listen) in places(old) {
            match wanted.iter_mut().find(|entry| entry.as_ref().is_some_and(|(other, _)| is_same(&place, other))) {
                Some(entry) => found.kept.extend(entry.take().map(|(other, wanted)| Kept {
                    changes: changes(&other, listen, wanted),
                    old: place,
                    new: other,
                })),
                None => found.removed.push(place),
            }
        }
        found.added = wanted.into_iter().flatten().map(|(place, _)| place).collect();
        found
    }

    /// What a person is told of it: the sockets that come, go or move.
    pub(super) fn told(&self) -> Vec<String> {
        let moved = self.kept.iter().filter(|kept| kept.old.pool != kept.new.pool).map(|kept| {
            let Kept { old, new, .. } = kept;
            format!("listener {} moves from {} to {}", new.address, old.pool, new.pool)
        });
        let added = self.added.iter().map(|place| format!("{} listens on {}", place.pool, place.address));
        let removed = self.removed.iter().map(|place| format!("{} leaves {}", place.pool, place.address));
        moved.chain(added).chain(removed).collect()
    }
}

fn places(config: &Config) -> impl Iterator<Item = (Place, &Listen)> {
    config.pools.iter().flat_map(move |pool| {
        pool.listen.iter().enumerate().map(move |(index, listen)| {
            (Place { pool: pool.name.clone(), index, address: listen.address.clone() }, listen)
        })
    })
}

/// Whether both places mean one socket. Those whose port the kernel chose are of their pool: any other may as well have
/// a new one.
fn is_same(old: &Place, new: &Place) -> bool {
    let fixed = old.address.collides(&old.address);
    old.address == new.address && (fixed || old.pool == new.pool)
}

/// What changes of a socket whose new place is `place`.
fn changes(place: &Place, old: &Listen, new: &Listen) -> Vec<Change> {
    let account = |name: &Option<String>| name.as_deref().map_or_else(|| "unset".to_owned(), quoted);
    let mode = |listen: &Listen| format!("\"{:04o}\"", listen.permissions());
    [
        ("backlog", old.backlog.to_string(), new.backlog.to_string()),
        ("mode", mode(old), mode(new)),
        ("owner", account(&old.owner), account(&new.owner)),
        ("group", account(&old.group), account(&new.group)),
        ("proxy_protocol", old.proxy_protocol.to_string(), new.proxy_protocol.to_string()),
    ]
    .into_iter()
    .filter(|(_, old, new)| old != new)
    .map(|(key, old, new)| Change {
        key: format!("pool.{}.listen[{}].{key}", place.pool, place.index),
        values: Some((old, new)),
        effect: effect::of(&format!("pool.NAME.listen[].{key}")),
    })
    .collect()
}
