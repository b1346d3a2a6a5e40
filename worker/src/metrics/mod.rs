//! What an application counts: declared once in `load`, written by each worker into shared memory, exposed by Ratoon.

pub mod declaration;
pub mod declarations;
pub mod sheet;

use std::fmt;
use std::sync::Arc;

use self::declaration::Declaration;
use self::sheet::Sheet;
use crate::sys::shared::Shared;

/// A number of events, from [`Declarations::counter`](crate::Declarations::counter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(pub(crate) u16);

/// A number that goes up and down, from [`Declarations::gauge`](crate::Declarations::gauge).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge(pub(crate) u16);

/// A number of observations by their size, from [`Declarations::histogram`](crate::Declarations::histogram).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram(pub(crate) u16);

/// Where a worker counts what its application has declared. Writing is an atomic instruction or two on shared memory: no
/// system call, no lock, no allocation; also from threads that the application has started, which may have a clone.
#[derive(Clone, Default)]
pub struct Metrics {
    places: Option<Arc<Places>>,
}

struct Places {
    sheet: Shared<Sheet>,
    slot: u32,
    series: Vec<Place>,
}

/// Where a series is in the row.
struct Place {
    first: usize,
    /// Of a histogram.
    bounds: Vec<f64>,
}

impl Metrics {
    /// Those of the worker in this slot; each series begins at its word.
    pub(crate) fn new(sheet: Shared<Sheet>, slot: u32, series: Vec<(Declaration, u16)>) -> Metrics {
        let place =
            |(declaration, first): (Declaration, u16)| Place { first: first.into(), bounds: declaration.bounds };
        Metrics { places: Some(Arc::new(Places { sheet, slot, series: series.into_iter().map(place).collect() })) }
    }

    /// So many more events.
    pub fn count(&self, counter: Counter, more: u64) {
        self.write(counter.0, |row, place| row.add(place.first, more));
    }

    /// The number is this from now on. One that is not finite is not taken.
    pub fn set(&self, gauge: Gauge, value: f64) {
        if value.is_finite() {
            self.write(gauge.0, |row, place| row.set(place.first, value));
        }
    }

    /// The number is greater by so much, or, with a negative one, less.
    pub fn adjust(&self, gauge: Gauge, by: f64) {
        self.write(gauge.0, |row, place| row.add_float(place.first, by));
    }

    /// One more observation, of this size. One that is negative or not finite is not taken: the sum of all could not grow.
    pub fn observe(&self, histogram: Histogram, size: f64) {
        if !size.is_finite() || size < 0.0 {
            return;
        }
        self.write(histogram.0, |row, place| {
            let bucket = place.bounds.iter().position(|bound| size <= *bound).unwrap_or(place.bounds.len());
            row.add_float(place.first, size);
            row.add(place.first + 1 + bucket, 1);
        });
    }

    fn write(&self, series: u16, write: impl FnOnce(&sheet::Row, &Place)) {
        if let Some(places) = &self.places
            && let Some(place) = places.series.get(usize::from(series))
            && let Some(row) = places.sheet.row(places.slot)
        {
            write(row, place);
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("series", &self.places.as_ref().map(|places| places.series.len())).finish()
    }
}
