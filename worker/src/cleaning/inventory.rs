//! What a process has that may be the application's own, and is therefore only counted: descriptors, children, threads,
//! signals that are treated otherwise, timers.
//!
//! Of each kind it remembers how much there was when the worker began to serve. That there is more is said once; what is
//! ours and comes and goes (connections, files of large bodies) does not count.

use std::fs;

use crate::sys::dispositions::{Dispositions, dispositions, interval_timers};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Descriptors,
    Children,
    Threads,
    Signals,
    Timers,
}

/// There is more of a kind than there was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Growth {
    pub(super) kind: Kind,
    pub(super) before: usize,
    pub(super) now: usize,
}

/// How much there was of each kind.
#[derive(Default)]
pub(super) struct Inventory {
    /// Those of which it has not been said that they grow.
    watched: Vec<(Kind, usize)>,
    dispositions: Option<Dispositions>,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Descriptors, Kind::Children, Kind::Threads, Kind::Signals, Kind::Timers];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Descriptors => "descriptors",
            Kind::Children => "children",
            Kind::Threads => "threads",
            Kind::Signals => "signal dispositions",
            Kind::Timers => "timers",
        }
    }
}

impl Inventory {
    /// Counts for the first time. A kind that cannot be counted here is not watched.
    pub(super) fn take() -> Inventory {
        let mut inventory = Inventory { watched: Vec::new(), dispositions: Some(dispositions()) };
        let count = |kind: Kind| Some((kind, inventory.count(kind)?));
        inventory.watched = Kind::ALL.into_iter().filter_map(count).collect();
        inventory
    }

    /// Counts again, without the `owned` descriptors; what there is more of, each kind once.
    pub(super) fn growth(&mut self, owned: usize) -> Vec<Growth> {
        let watched = std::mem::take(&mut self.watched);
        let mut growths = Vec::new();
        for (kind, before) in watched {
            let owned = if kind == Kind::Descriptors { owned } else { 0 };
            match self.count(kind).map(|now| now.saturating_sub(owned)) {
                Some(now) if now > before => growths.push(Growth { kind, before, now }),
                _ => self.watched.push((kind, before)),
            }
        }
        growths
    }

    fn count(&self, kind: Kind) -> Option<usize> {
        match kind {
            Kind::Descriptors => descriptors(),
            Kind::Children => children(),
            Kind::Threads => threads().map(Iterator::count),
            Kind::Signals => {
                let others = self.dispositions?.into_iter().zip(dispositions()).filter(|(was, is)| was != is);
                Some(others.count())
            }
            Kind::Timers => Some(interval_timers() + posix_timers()),
        }
    }
}

/// How many descriptors are open. Since Linux 6.2 the directory's size says so; before, its entries have to be counted,
/// and one of them is the counting's own.
pub(crate) fn descriptors() -> Option<usize> {
    let directory = "/proc/self/fd";
    match fs::metadata(directory).ok()?.len() {
        0 => fs::read_dir(directory).ok().map(|entries| entries.count() - 1),
        open => usize::try_from(open).ok(),
    }
}

/// How many children there are, dead ones included that nobody has waited for. Each is one of the thread that made it.
fn children() -> Option<usize> {
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let lists: Option<Vec<String>> = threads()?.map(of_thread).collect();
    Some(lists?.iter().map(|list| list.split_whitespace().count()).sum())
}

fn threads() -> Option<impl Iterator<Item = fs::DirEntry>> {
    fs::read_dir("/proc/self/task").ok().map(Iterator::flatten)
}

/// Timers of timer_create, where the kernel lists them.
fn posix_timers() -> usize {
    let list = fs::read_to_string("/proc/self/timers").unwrap_or_default();
    list.lines().filter(|line| line.starts_with("ID:")).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The process is full of other tests, whose descriptors and threads come and go: the numbers only have to be there.
    #[test]
    fn every_kind_is_counted_where_the_kernel_tells() {
        let inventory = Inventory::take();
        let kinds: Vec<Kind> = inventory.watched.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, Kind::ALL);
        assert!(descriptors().unwrap() >= 3 && threads().unwrap().count() >= 1);
    }

    #[test]
    fn growth_is_said_once_a_kind_and_what_is_ours_is_none() {
        let timers = interval_timers() + posix_timers();
        let mut inventory = Inventory { watched: vec![(Kind::Timers, timers)], dispositions: None };
        assert_eq!(inventory.growth(0), []);
        inventory.watched = vec![(Kind::Threads, 0), (Kind::Descriptors, 0)];
        let grown: Vec<Kind> = inventory.growth(1_000_000).into_iter().map(|growth| growth.kind).collect();
        assert_eq!(grown, [Kind::Threads]);
        assert_eq!(inventory.growth(1_000_000), []);
        assert_eq!(inventory.watched, [(Kind::Descriptors, 0)]);
    }
}
