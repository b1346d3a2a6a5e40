//! In which of its two formats Prometheus wants to be told.

use ratoon_worker::http::HeaderMap;
use ratoon_worker::http::header::ACCEPT;

const OPEN: &str = "application/openmetrics-text";

/// See the module's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' own text format, which everything can read.
    Text,
    /// OpenMetrics, for whoever asks for it.
    OpenMetrics,
}

impl Format {
    /// What `Accept` prefers; the text format, if it says nothing of either or likes both alike.
    pub(super) fn accepted(headers: &HeaderMap) -> Format {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<Range> = values.flat_map(|value| value.split(',')).filter_map(Range::read).collect();
        let best =
            |is_it: &dyn Fn(&Range) -> bool| ranges.iter().filter(|range| is_it(range)).map(|range| range.weight).max();
        let open = best(&|range| range.kind == OPEN && range.is_spoken).unwrap_or(0);
        let text = best(&|range| range.kind == "text/plain");
        let text = text.or_else(|| best(&|range| matches!(range.kind.as_str(), "text/*" | "*/*"))).unwrap_or(0);
        if open > text { Format::OpenMetrics } else { Format::Text }
    }

    /// What is said of it to the client.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One of the things that a client accepts.
struct Range {
    kind: String,
    /// In thousandths.
    weight: u32,
    /// Whether we speak the version it names, if it names one.
    is_spoken: bool,
}

impl Range {
    fn read(text: &str) -> Option<Range> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next()?.to_ascii_lowercase();
        let (mut weight, mut is_spoken) = (1000, true);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "q" => weight = (value.trim().parse::<f32>().ok()?.clamp(0.0, 1.0) * 1000.0) as u32,
                "version" => is_spoken = value.trim().trim_matches('"') == "1.0.0",
                _ => {}
            }
        }
        Some(Range { kind, weight, is_spoken })
    }
}

#[cfg(test)]
mod tests {
    use ratoon_worker::http::HeaderValue;

    use super::*;

    fn accepted(accept: &'static str) -> Format {
        Format::accepted(&[(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect())
    }

    #[test]
    fn whoever_prefers_openmetrics_gets_it_and_nobody_else() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(accepted(prometheus), Format::OpenMetrics);
        assert_eq!(accepted("Application/OpenMetrics-Text; version=\"1.0.0\"; charset=utf-8"), Format::OpenMetrics);
        assert_eq!(accepted("application/openmetrics-text"), Format::OpenMetrics);
        for text in [
            "*/*",
            "text/html, */*;q=0.8",
            "application/openmetrics-text;q=0.5, text/plain",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=nonsense",
            "",
        ] {
            assert_eq!(accepted(text), Format::Text, "{text:?}");
        }
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Text);
    }
}
