//! Where an application says, in its `load`, what it will count.

use std::sync::{Arc, Mutex, PoisonError};

use super::declaration::{Declaration, Kind, MOST_TEXT, MOST_WORDS};
use super::{Counter, Gauge, Histogram};
use crate::{Error, Result};

/// What an application declares in [`App::load`](crate::App::load) of the metrics that it will write: their names, labels
/// and bounds are fixed from then on. From [`Settings::metrics`](crate::Settings::metrics).
///
/// All that a generation declares has a place of 256 words in each worker's shared memory: a counter or a gauge takes one,
/// a histogram one for each bound and two more. Names consist of letters, digits and underscores; those that begin with
/// `ratoon_` are Ratoon's. Each series has a label `pool` besides its own, of which it may have eight.
///
/// ```
/// use ratoon_worker::{App, Context, Counter, Histogram, Request, Response, Result, Settings};
///
/// struct Shop {
///     orders: Counter,
///     basket: Histogram,
/// }
///
/// impl App for Shop {
///     fn load(settings: Settings) -> Result<Self> {
///         let metrics = settings.metrics();
///         Ok(Shop {
///             orders: metrics.counter("shop_orders_total", "Orders that were placed.", &[("kind", "retail")])?,
///             basket: metrics.histogram("shop_basket_euros", "What a basket is worth.", &[], &[10.0, 50.0, 200.0])?,
///         })
///     }
///
///     fn handle(&mut self, _: Request, context: &mut Context) -> Result<Response> {
///         context.metrics().count(self.orders, 1);
///         context.metrics().observe(self.basket, 35.5);
///         Ok(Response::new("thank you\n".into()))
///     }
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Declarations {
    made: Arc<Mutex<Made>>,
}

#[derive(Debug, Default)]
struct Made {
    series: Vec<Declaration>,
    /// Whether `load` is over.
    closed: bool,
}

impl Declarations {
    /// A number of events: an integer that only grows. It belongs to the pool: it outlives workers, and reloads that declare
    /// the same name and labels again. Its name ends in `_total`.
    ///
    /// # Errors
    /// Whatever is wrong with name, help or labels, in a sentence; that it is declared already, or that there is no more
    /// room; that `load` is over.
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<Counter> {
        self.add(Kind::Counter, name, help, labels, &[]).map(Counter)
    }

    /// A number that goes up and down, 0 at first: each worker has its own, and what is exposed is their sum. It ends with its
    /// worker.
    ///
    /// # Errors
    /// As for [`Declarations::counter`].
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<Gauge> {
        self.add(Kind::Gauge, name, help, labels, &[]).map(Gauge)
    }

    /// A number of observations by their size, in buckets with these upper bounds, 1 to 30, each greater than the one before;
    /// one without bound is added. Base units, please: seconds, bytes. Lives as long as a counter.
    ///
    /// # Errors
    /// As for [`Declarations::counter`]; also if the bounds do not rise, or are too many.
    pub fn histogram(&self, name: &str, help: &str, labels: &[(&str, &str)], bounds: &[f64]) -> Result<Histogram> {
        self.add(Kind::Histogram, name, help, labels, bounds).map(Histogram)
    }

    fn add(&self, kind: Kind, name: &str, help: &str, labels: &[(&str, &str)], bounds: &[f64]) -> Result<u16> {
        let mut labels: Vec<(String, String)> =
            labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        labels.sort();
        let new = Declaration { kind, name: name.into(), help: help.into(), labels, bounds: bounds.to_vec() };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.closed {
            return Err(Error::msg(format!("{name}: metrics are declared in load, and only there")));
        }
        may_join(&new, made.series.iter()).map_err(Error::msg)?;
        made.series.push(new);
        Ok((made.series.len() - 1) as u16)
    }

    /// What was declared; nothing can be any more.
    pub(crate) fn close(&self) -> Vec<Declaration> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.closed = true;
        std::mem::take(&mut made.series)
    }
}

/// Whether a generation that has declared these may declare this one, too.
///
/// # Errors
/// Why not, in a sentence.
pub fn may_join<'a>(new: &Declaration, known: impl Iterator<Item = &'a Declaration>) -> Result<(), String> {
    new.check()?;
    let name = &new.name;
    let (mut words, mut text) = (new.words(), new.text());
    for known in known {
        if known.family() == new.family() && (known.name != new.name || !known.is_alike(new)) {
            return Err(format!(
                "the metric {name} is a {} with other bounds, or of another kind, than {}, which is declared already",
                new.kind.name(),
                known.name
            ));
        }
        if known.is_same(new) {
            return Err(format!("the metric {name} is declared already, with the same labels"));
        }
        words += known.words();
        text += known.text();
    }
    if words > MOST_WORDS {
        return Err(format!(
            "there is no more room for {name}: all metrics together may take {MOST_WORDS} words, one for each counter \
             and gauge, one for each bound of a histogram and two more"
        ));
    }
    if text > MOST_TEXT {
        return Err(format!(
            "there is no more room for {name}: all names, helps and labels may have {MOST_TEXT} bytes"
        ));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(outcome: Result<impl Sized>) -> String {
        outcome.map(drop).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_with_a_declaration_is_said() {
        let made = Declarations::default();
        let counter = |name: &str| refused(made.counter(name, "Help.", &[]));
        assert!(counter("orders").contains("must end in _total"));
        assert!(counter("ratoon_orders_total").contains("Ratoon's own"));
        assert!(counter("1orders_total").contains("begins with no digit"));
        assert!(counter("or-ders_total").contains("letters, digits and underscores"));
        assert!(counter("orders_sum_total").contains("must not end in _sum"));
        assert!(refused(made.gauge("orders_count", "Help.", &[])).contains("must not end in _count"));
        assert!(refused(made.gauge("orders", "", &[])).contains("help of orders"));
        assert!(refused(made.gauge("orders", "two\nlines", &[])).contains("help of orders"));
        assert!(refused(made.gauge("orders", "Help.", &[("pool", "x")])).contains("not the application's to set"));
        assert!(refused(made.gauge("orders", "Help.", &[("__x", "x")])).contains("one underscore"));
        assert!(refused(made.gauge("orders", "Help.", &[("a", "x"), ("a", "y")])).contains("same label twice"));
        let nine: Vec<String> = (0..9).map(|n| format!("l{n}")).collect();
        let nine: Vec<(&str, &str)> = nine.iter().map(|label| (label.as_str(), "x")).collect();
        assert!(refused(made.gauge("orders", "Help.", &nine)).contains("has 9 labels, and may have 8"));
        let histogram = |bounds: &[f64]| refused(made.histogram("size", "Help.", &[], bounds));
        for bounds in [&[][..], &[1.0, 1.0], &[2.0, 1.0], &[f64::INFINITY], &[f64::NAN], &[0.5; 31]] {
            assert!(histogram(bounds).contains("needs 1 to 30 bounds"), "{bounds:?}");
        }
        assert_eq!(made.close(), []);
        assert!(refused(made.gauge("orders", "Help.", &[])).contains("declared in load, and only there"));
    }

    #[test]
    fn a_family_is_of_one_kind_and_a_series_of_one_declaration() {
        let made = Declarations::default();
        made.counter("orders_total", "Help.", &[("kind", "retail")]).unwrap();
        made.counter("orders_total", "Help.", &[("kind", "trade")]).unwrap();
        assert!(refused(made.counter("orders_total", "Help.", &[("kind", "trade")])).contains("declared already"));
        assert!(refused(made.gauge("orders", "Help.", &[])).contains("of another kind"));
        made.histogram("size", "Help.", &[("kind", "retail")], &[1.0]).unwrap();
        assert!(refused(made.histogram("size", "Help.", &[("kind", "trade")], &[2.0])).contains("other bounds"));
    }

    #[test]
    fn there_is_room_for_so_much_and_no_more() {
        let made = Declarations::default();
        for number in 0..8 {
            made.histogram(&format!("size_{number}"), "Help.", &[], &std::array::from_fn::<f64, 30, _>(|n| n as f64))
                .unwrap();
        }
        assert!(refused(made.gauge("one_more", "Help.", &[])).contains("no more room"));
    }
}
