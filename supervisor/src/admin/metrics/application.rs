//! What the applications count by themselves, each under the name it has declared, with the pool's name beside its labels.

use std::collections::BTreeMap;

use ratoon_worker::metrics::declaration::Kind as Declared;

use super::page::{Kind, Labels, Page, Samples};
use crate::control::status::{Metric, Pool, Value};

pub(super) fn write(page: &mut Page, pools: &[&Pool]) {
    let mut families: BTreeMap<&str, Vec<(&Pool, &Metric)>> = BTreeMap::new();
    for (pool, metric) in pools.iter().flat_map(|pool| pool.metrics.iter().map(move |metric| (*pool, metric))) {
        let family = families.entry(metric.name.strip_suffix("_total").unwrap_or(&metric.name)).or_default();
        // Two pools may mean different things by a name, and an exposition cannot: the first is right.
        if family.first().is_none_or(|(_, first)| first.name == metric.name && first.kind == metric.kind) {
            family.push((pool, metric));
        }
    }
    for family in families.values() {
        let Some((_, first)) = family.first() else { continue };
        let kind = match first.kind {
            Declared::Counter => Kind::Counter,
            Declared::Gauge => Kind::Gauge,
            Declared::Histogram => Kind::Histogram,
        };
        page.family(&first.name, kind, &first.help, |samples| {
            for (pool, series) in family.iter().flat_map(|(pool, own)| own.series.iter().map(move |each| (pool, each)))
            {
                let own = series.labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
                let labels: Vec<(&str, &str)> = [("pool", pool.pool.as_str())].into_iter().chain(own).collect();
                add(samples, &labels, &series.value);
            }
        });
    }
}

fn add(samples: &mut Samples<'_>, labels: &Labels<'_>, value: &Value) {
    match value {
        Value::Counter(count) => samples.add(labels, *count),
        Value::Gauge(value) => samples.add(labels, *value),
        Value::Histogram { bounds, buckets, sum } => {
            let bounds = bounds.iter().map(|bound| Some(*bound)).chain([None]);
            samples.histogram(labels, bounds.zip(buckets.iter().copied()), *sum);
        }
    }
}
