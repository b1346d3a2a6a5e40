//! What a request may leave behind in its process: what belongs to the process is put back, what may belong to the
//! application is counted.
//!
//! Owns what the worker was like when it began to serve. Never closes, reaps or cancels anything: a descriptor, a child,
//! a timer may be the application's own, and meant to stay.

mod inventory;
mod original;

use std::fmt;

pub(crate) use self::inventory::descriptors;
use self::inventory::{Growth, Inventory};
use self::original::Original;
use crate::protocol::{Cleaning, Reset};

/// See the module's header.
pub struct Cleaner {
    reset: Reset,
    original: Option<Original>,
    /// After so many requests they are counted; 0: never.
    check: u32,
    uncounted: u32,
    inventory: Inventory,
}

/// What a request has changed that belongs to the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    directory: bool,
    umask: bool,
    mask: bool,
    environment: bool,
}

impl Cleaner {
    /// From now on the process is what it should be. Of its descriptors none is a client's.
    pub fn new(cleaning: &Cleaning) -> Cleaner {
        Cleaner {
            reset: cleaning.reset,
            original: (cleaning.reset != Reset::Off).then(Original::take),
            check: cleaning.reset_check,
            uncounted: 0,
            inventory: if cleaning.reset_check > 0 { Inventory::take() } else { Inventory::default() },
        }
    }

    /// Puts the process back after a request. What was changed, if that is a reason to leave; `request` is the
    /// request's first line.
    pub fn put_back(&mut self, request: impl FnOnce() -> String) -> Option<Changes> {
        let recycles = self.reset == Reset::Recycle;
        let changes = self.original.as_mut()?.put_back(recycles);
        if changes == Changes::default() || !recycles {
            return None;
        }
        tracing::warn!(changed = %changes, route = route(&request()), "a request has changed its process");
        Some(changes)
    }

    /// Another request is over: whether it is time to count.
    pub fn is_to_count(&mut self) -> bool {
        self.uncounted += 1;
        self.check > 0 && self.uncounted >= self.check
    }

    /// Counts. So many of the descriptors are ours, and come and go; `request` is the first line of the last request.
    pub fn count(&mut self, owned: usize, request: &str) {
        let requests = std::mem::take(&mut self.uncounted);
        if let Some(original) = &mut self.original {
            original.look_after_directory();
        }
        for Growth { kind, before, now } in self.inventory.growth(owned) {
            let (what, route) = (kind.name(), route(request));
            if requests == 1 {
                tracing::warn!(what, before, now, route, "a request has left something behind");
            } else {
                let last = route;
                tracing::warn!(what, before, now, requests, last, "one of so many requests has left something behind");
            }
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.directory, "working directory"),
            (self.umask, "umask"),
            (self.mask, "signal mask"),
            (self.environment, "environment"),
        ];
        let changed: Vec<&str> = all.into_iter().filter(|(is_changed, _)| *is_changed).map(|(_, name)| name).collect();
        f.write_str(&changed.join(", "))
    }
}

/// Method and path of a request line: what is in a query is nobody's affair here.
fn route(line: &str) -> String {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    format!("{method} {path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_method_and_path() {
        assert_eq!(route("GET /a/b?password=x HTTP/1.1"), "GET /a/b");
        assert_eq!(route("POST /a HTTP/1.0"), "POST /a");
        assert_eq!(route("GET /cut-at-the-end"), "GET /cut-at-the-end");
        assert_eq!(route(""), " ");
    }

    #[test]
    fn changes_are_named() {
        let all = Changes { directory: true, umask: true, mask: true, environment: true };
        assert_eq!(all.to_string(), "working directory, umask, signal mask, environment");
        assert_eq!(Changes { umask: true, ..Changes::default() }.to_string(), "umask");
    }
}
