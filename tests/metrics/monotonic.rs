//! "Keeps its counters monotonic through worker deaths, reloads and an upgrade": scraped all along, every one of them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::exposition::{FORMATS, all_understood, scrape};
use crate::harness::{ADMIN, Client, RaisedAtTheEnd, Ratoon, SOON, eventually, fixture};

/// Between two scrapes: the supervisor is asked no more often than that.
const PAUSE: Duration = Duration::from_millis(220);
/// Between two requests: the machine has other things to do, too.
const BREATH: Duration = Duration::from_millis(2);

/// What was exposed, one scrape after the other, in both formats by turns.
#[derive(Default)]
struct Watch(Mutex<Vec<(&'static str, String)>>);

impl Watch {
    fn scrapes(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    #[track_caller]
    fn goes_on(&self) {
        let before = self.scrapes();
        eventually("two more scrapes", SOON, || (self.scrapes() >= before + 2).then_some(()));
    }

    /// Finds that nothing that only grows has ever become less, or has gone; all such series with their last values.
    #[track_caller]
    fn judge(self) -> BTreeMap<String, f64> {
        let mut last: BTreeMap<String, f64> = BTreeMap::new();
        for samples in all_understood(&self.0.into_inner().unwrap()) {
            // Of a histogram its buckets, its sum and its count.
            let grows = samples.into_iter().filter(|(_, (kind, _))| matches!(kind.as_str(), "counter" | "histogram"));
            let now: BTreeMap<String, f64> = grows.map(|(name, (_, value))| (name, value)).collect();
            for (name, before) in &last {
                // A slot that has no worker and should have none is not told of.
                if name.starts_with("ratoon_worker_requests_total{") && !now.contains_key(name) {
                    continue;
                }
                let value = now.get(name).unwrap_or_else(|| panic!("{name} is gone after {before}"));
                assert!(value >= before, "{name} was {before} and is {value}");
            }
            last.extend(now);
        }
        last
    }
}

/// Asks for everything that is counted, whatever becomes of it: workers are killed.
fn keep_asking(ratoon: &Ratoon, over: &AtomicBool) {
    let address = ratoon.address();
    while !over.load(Ordering::SeqCst) {
        let Ok(mut client) = Client::try_connect(address) else { continue };
        for target in ["/everything", "/ok", "/error:yes", "/sleep:5", "/unsent:404:3"] {
            if over.load(Ordering::SeqCst) || client.try_get(target).is_err() {
                break;
            }
            std::thread::sleep(BREATH);
        }
    }
}

#[test]
fn no_counter_ever_falls_while_workers_die_the_daemon_reloads_and_is_upgraded() {
    let settings = r#"settings = { metrics = ["counter:orders_total", "gauge:level", "histogram:size"] }"#;
    let lines = format!("workers = 3\nmax_requests = 100\nsettle = \"100ms\"\n{settings}");
    let mut ratoon = Ratoon::serving(&(ADMIN.to_owned() + &fixture::pool("web", &lines)));
    ratoon.ready_workers("web", 3);
    let (watch, over) = (Watch::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _over = RaisedAtTheEnd(&over);
        for _ in 0..3 {
            scope.spawn(|| keep_asking(&ratoon, &over));
        }
        scope.spawn(|| {
            for (accept, format) in FORMATS.iter().cycle() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let text = scrape(ratoon.admin(), accept).text();
                watch.0.lock().unwrap().push((*format, text));
                std::thread::sleep(PAUSE);
            }
        });
        for round in 0..2 {
            for _ in 0..5 {
                watch.goes_on();
                if let Some(victim) = ratoon.workers("web").first() {
                    let _ = kill(*victim, Signal::SIGKILL);
                }
            }
            ratoon.signal(Signal::SIGHUP);
            eventually("a reload", SOON, || (ratoon.all_logged("reloaded", &[]).len() > round).then_some(()));
            watch.goes_on();
            ratoon.signal(Signal::SIGUSR2);
            let taken_over = "upgraded: this program has taken over";
            eventually("an upgrade", SOON, || (ratoon.all_logged(taken_over, &[]).len() > round).then_some(()));
            watch.goes_on();
        }
    });
    let last = watch.judge();
    // It was worth watching.
    for (name, least) in [
        ("ratoon_requests_total{code='2xx',pool='web'}", 100.0),
        ("ratoon_requests_total{code='4xx',pool='web'}", 10.0),
        ("ratoon_requests_total{code='5xx',pool='web'}", 10.0),
        ("ratoon_worker_deaths_total{cause='killed from outside',pool='web'}", 5.0),
        ("ratoon_worker_recycles_total{cause='requests',pool='web'}", 1.0),
        ("ratoon_worker_retirements_total{cause='reload',pool='web'}", 1.0),
        ("ratoon_reloads_total{outcome='done'}", 2.0),
        ("ratoon_upgrades_total{}", 2.0),
        ("ratoon_request_duration_seconds_count{pool='web'}", 100.0),
        ("ratoon_request_duration_seconds_bucket{le='0.008192',pool='web'}", 20.0),
        ("ratoon_queue_time_seconds_count{pool='web'}", 20.0),
        ("ratoon_received_bytes_total{pool='web'}", 1000.0),
        (r#"orders_total{colour='blue "or" green\\',pool='web'}"#, 20.0),
        ("size_bucket{le='10.0',pool='web'}", 20.0),
    ] {
        let value = last.get(name).copied().unwrap_or_default();
        assert!(value >= least, "{name} is only {value}");
    }
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
}
