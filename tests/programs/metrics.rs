//! What the fixture counts: whatever its settings declare, by whatever a request says.

use std::collections::BTreeMap;

use ratoon_worker::{Counter, Declarations, Error, Gauge, Histogram, Metrics, Result};

/// The bounds of every histogram.
const BOUNDS: [f64; 3] = [1.0, 10.0, 100.0];

/// By name.
#[derive(Default)]
pub(crate) struct Declared {
    counters: BTreeMap<String, Counter>,
    gauges: BTreeMap<String, Gauge>,
    histograms: BTreeMap<String, Histogram>,
}

impl Declared {
    pub(crate) fn from(words: &[String], metrics: &Declarations) -> Result<Declared> {
        let mut declared = Declared::default();
        let (help, labels) = ("What a test counts.", [("colour", "blue \"or\" green\\")]);
        for word in words {
            let (kind, name) = word.split_once(':').ok_or_else(|| Error::msg("kind:name"))?;
            match kind {
                "counter" => drop(declared.counters.insert(name.into(), metrics.counter(name, help, &labels)?)),
                "gauge" => drop(declared.gauges.insert(name.into(), metrics.gauge(name, help, &[])?)),
                "histogram" => {
                    declared.histograms.insert(name.into(), metrics.histogram(name, help, &[], &BOUNDS)?);
                }
                _ => return Err(Error::msg(format!("the fixture cannot count by {kind:?}"))),
            }
        }
        Ok(declared)
    }

    /// Each worker is worth 1 more than its slot is at its beginning: what another left there would show.
    pub(crate) fn begin(&self, metrics: &Metrics) {
        self.gauges.values().for_each(|gauge| metrics.adjust(*gauge, 1.0));
    }

    /// Counts what the word says: `count:NAME:2`, `set:NAME:2.5`, `adjust:NAME:-1`, `observe:NAME:7`, `thread:NAME:5` for so
    /// many, each counted by a thread; or `everything`, everything once. Whether it says anything.
    pub(crate) fn write(&self, word: &str, metrics: &Metrics) -> Result<bool> {
        let unknown = || Error::msg(format!("the fixture does not count for {word:?}"));
        match word.split(':').collect::<Vec<_>>()[..] {
            ["count", name, more] => metrics.count(*self.counters.get(name).ok_or_else(unknown)?, more.parse()?),
            ["set", name, value] => metrics.set(*self.gauges.get(name).ok_or_else(unknown)?, value.parse()?),
            ["adjust", name, by] => metrics.adjust(*self.gauges.get(name).ok_or_else(unknown)?, by.parse()?),
            ["observe", name, size] => {
                metrics.observe(*self.histograms.get(name).ok_or_else(unknown)?, size.parse()?);
            }
            ["thread", name, more] => {
                let counter = *self.counters.get(name).ok_or_else(unknown)?;
                let threads: Vec<_> = (0..more.parse::<u64>()?)
                    .map(|_| {
                        let metrics = metrics.clone();
                        std::thread::spawn(move || metrics.count(counter, 1))
                    })
                    .collect();
                threads.into_iter().for_each(|thread| drop(thread.join()));
            }
            ["everything"] => {
                self.counters.values().for_each(|counter| metrics.count(*counter, 1));
                self.histograms.values().for_each(|histogram| metrics.observe(*histogram, 5.0));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
