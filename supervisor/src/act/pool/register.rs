//! What a pool's application counts: the sheet in which its workers write, and which words of a row are which series.
//!
//! A series belongs to a name and labels and not to an edition: one that a reload declares again goes on where it was. One
//! that no edition in force and no living process declares is given up, and its words are emptied for others. A program
//! that declares is not trusted: what it says is checked, and bounded for each edition.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use nix::errno::Errno;
use ratoon_worker::metrics::declaration::{Declaration, Kind};
use ratoon_worker::metrics::declarations::may_join;
use ratoon_worker::metrics::sheet::{Sheet, WORDS};
use ratoon_worker::sys::shared::Shared;
use serde::{Deserialize, Serialize};

use crate::act::upgrade::estate::{Heirlooms, Inventory};
use crate::control::status::{Metric, Series, Value};
use crate::decide::event::Edition;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Register {
    sheet: Shared<Sheet>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    declaration: Declaration,
    /// Where in a row it begins.
    first: u16,
    /// Those of which a template has declared it, and has loaded.
    editions: Vec<Edition>,
}

/// A register as it is written down for the supervisor's successor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RegisterEstate {
    sheet: RawFd,
    entries: Vec<Entry>,
}

impl Register {
    /// One in which nothing is declared.
    ///
    /// # Errors
    /// What could not be made.
    pub(super) fn new(pool: &str) -> Result<Register, Errno> {
        Ok(Register { sheet: Shared::create(&format!("ratoon-metrics-{pool}"))?, entries: Vec::new() })
    }

    /// The sheet, to be handed to a template.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.sheet.file()
    }

    /// A template declares a series; `mine` are the words of those that it has declared before. Where in a row it begins.
    /// It counts once the template has loaded.
    ///
    /// # Errors
    /// Why it cannot be had, in a sentence.
    pub(super) fn declare(&mut self, new: Declaration, mine: &[u16]) -> Result<u16, String> {
        let own = self.entries.iter().filter(|entry| mine.contains(&entry.first));
        may_join(&new, own.map(|entry| &entry.declaration))?;
        if let Some(known) = self.entries.iter_mut().find(|entry| entry.declaration.is_same(&new)) {
            known.declaration.help = new.help;
            return Ok(known.first);
        }
        let first = self.room_for(new.words()).ok_or_else(|| {
            format!("there is no room for the metric {} until workers of earlier generations have gone", new.name)
        })?;
        self.entries.push(Entry { declaration: new, first, editions: Vec::new() });
        Ok(first)
    }

    /// A template of this edition has loaded, and means what it has declared: the series that begin at these words.
    pub(super) fn settle(&mut self, edition: Edition, words: &[u16]) {
        for entry in self.entries.iter_mut().filter(|entry| words.contains(&entry.first)) {
            if !entry.editions.contains(&edition) {
                entry.editions.push(edition);
            }
        }
    }

    fn room_for(&self, words: usize) -> Option<u16> {
        let mut taken: Vec<(usize, usize)> = self.entries.iter().map(Entry::span).collect();
        taken.sort_unstable();
        let mut next = 0;
        for (first, end) in taken {
            if first >= next + words {
                break;
            }
            next = end;
        }
        (next + words <= WORDS).then_some(next as u16)
    }

    /// A worker of this slot is dead: its gauges are nobody's.
    pub(super) fn bury(&self, slot: u32) {
        let Some(row) = self.sheet.row(slot) else { return };
        for entry in self.entries.iter().filter(|entry| entry.declaration.kind == Kind::Gauge) {
            row.clear(entry.first.into());
        }
    }

    /// Gives up the series of editions that are needed no more, but for those of templates that still load.
    pub(super) fn release(&mut self, slots: usize, loading: &[u16], is_needed: impl Fn(Edition) -> bool) {
        self.entries.iter_mut().for_each(|entry| entry.editions.retain(|edition| is_needed(*edition)));
        let given_up =
            self.entries.extract_if(.., |entry| entry.editions.is_empty() && !loading.contains(&entry.first));
        for (first, end) in given_up.map(|entry| entry.span()) {
            let rows = (0..slots as u32).filter_map(|slot| self.sheet.row(slot));
            rows.for_each(|row| (first..end).for_each(|word| row.clear(word)));
        }
    }

    /// What has been counted, in so many slots: families by their names. Where an old edition means something else by a name
    /// than a new one, the new one is right.
    pub(super) fn read(&self, slots: usize) -> Vec<Metric> {
        let mut entries: Vec<&Entry> = self.entries.iter().filter(|entry| !entry.editions.is_empty()).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.editions.iter().max()));
        let mut leading: BTreeMap<&str, &Declaration> = BTreeMap::new();
        let mut families: BTreeMap<&str, Metric> = BTreeMap::new();
        for entry in entries {
            let own = &entry.declaration;
            let leader = *leading.entry(own.family()).or_insert(own);
            if leader.name != own.name || !leader.is_alike(own) {
                continue;
            }
            let family = families.entry(own.family()).or_insert_with(|| Metric {
                name: own.name.clone(),
                kind: own.kind,
                help: own.help.clone(),
                series: Vec::new(),
            });
            family
                .series
                .push(Series { labels: own.labels.iter().cloned().collect(), value: self.value(entry, slots) });
        }
        let mut families: Vec<Metric> = families.into_values().collect();
        families.iter_mut().for_each(|family| family.series.sort_by(|one, next| one.labels.cmp(&next.labels)));
        families
    }

    fn value(&self, entry: &Entry, slots: usize) -> Value {
        let rows = || (0..slots as u32).filter_map(|slot| self.sheet.row(slot));
        let whole = |word: usize| rows().fold(0u64, |sum, row| sum.wrapping_add(row.read(word)));
        let float = |word: usize| {
            // Whatever a worker gone astray has written there.
            let sum: f64 = rows().map(|row| f64::from_bits(row.read(word))).filter(|value| value.is_finite()).sum();
            if sum.is_finite() { sum } else { 0.0 }
        };
        let (first, end) = entry.span();
        match entry.declaration.kind {
            Kind::Counter => Value::Counter(whole(first)),
            Kind::Gauge => Value::Gauge(float(first)),
            Kind::Histogram => Value::Histogram {
                bounds: entry.declaration.bounds.clone(),
                buckets: (first + 1..end).map(whole).collect(),
                sum: float(first),
            },
        }
    }

    /// Writes it down.
    pub(super) fn bequeath(&self, inventory: &mut Inventory<'_>) -> RegisterEstate {
        RegisterEstate { sheet: inventory.descriptor(&self.sheet.file()), entries: self.entries.clone() }
    }

    /// Reads it again.
    ///
    /// # Errors
    /// The sheet was not passed on, or is not what it should be.
    pub(super) fn inherit(estate: RegisterEstate, heirlooms: &Heirlooms) -> io::Result<Register> {
        Ok(Register { sheet: Shared::open(heirlooms.descriptor(estate.sheet)?)?, entries: estate.entries })
    }
}

impl Entry {
    /// Its words in a row: the first, and the first that is not its own.
    fn span(&self) -> (usize, usize) {
        let first = usize::from(self.first);
        (first, first + self.declaration.words())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
