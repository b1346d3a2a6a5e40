//! What the application counts by itself: declared in `load`, written by workers, kept through their deaths and reloads.

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::harness::{CONTROL, Ratoon, SOON, eventually, fixture, get};
use crate::metrics::calls;

#[track_caller]
fn config(workers: u32, metrics: &[&str]) -> String {
    let lines = format!("workers = {workers}\nsettle = \"0s\"\nsettings = {{ metrics = {metrics:?} }}");
    CONTROL.to_owned() + &fixture::pool("web", &lines)
}

#[track_caller]
fn reload(ratoon: &Ratoon, config: &str) {
    let before = ratoon.all_logged("reloaded", &[]).len();
    ratoon.configure(config);
    ratoon.signal(Signal::SIGHUP);
    eventually(&format!("a reload; the log:\n{}", ratoon.text()), SOON, || {
        (ratoon.all_logged("reloaded", &[]).len() > before).then_some(())
    });
}

/// The family of this name, if there is one.
fn family(ratoon: &Ratoon, name: &str) -> Option<Value> {
    let pool = ratoon.status_of("web");
    pool["metrics"].as_array().unwrap().iter().find(|family| family["name"] == name).cloned()
}

#[track_caller]
fn value(ratoon: &Ratoon, name: &str) -> Value {
    family(ratoon, name).unwrap_or_else(|| panic!("no family {name}"))["series"][0].clone()
}

/// "Counters, gauges and histograms, summed across workers."
#[test]
fn what_an_application_declares_and_counts_is_told() {
    let ratoon = Ratoon::serving(&config(1, &["counter:orders_total", "gauge:level", "histogram:size"]));
    let address = ratoon.address();
    for word in ["count:orders_total:2", "count:orders_total:3", "thread:orders_total:4"] {
        assert_eq!(get(address, &format!("/{word}")).text(), "counted");
    }
    for word in ["set:level:2.5", "adjust:level:-4", "observe:size:7", "observe:size:10", "observe:size:1000"] {
        get(address, &format!("/{word}"));
    }
    // What is no size is not taken.
    for word in ["observe:size:NaN", "observe:size:-1", "set:level:inf"] {
        get(address, &format!("/{word}"));
    }
    let orders = family(&ratoon, "orders_total").unwrap();
    assert_eq!((&orders["kind"], &orders["help"]), (&json!("counter"), &json!("What a test counts.")));
    assert_eq!(orders["series"], json!([{"labels": {"colour": "blue \"or\" green\\"}, "counter": 9}]));
    assert_eq!(value(&ratoon, "level")["gauge"], -1.5);
    let size = json!({"bounds": [1.0, 10.0, 100.0], "buckets": [0, 2, 0, 1], "sum": 1017.0});
    assert_eq!(value(&ratoon, "size")["histogram"], size);
}

/// "Counters survive death; gauges: of living workers only."
#[test]
fn a_death_takes_a_workers_gauges_and_leaves_what_it_has_counted() {
    let ratoon = Ratoon::serving(&config(2, &["counter:orders_total", "gauge:level", "histogram:size"]));
    let workers = ratoon.ready_workers("web", 2);
    assert_eq!(value(&ratoon, "level")["gauge"], 2.0);
    let address = ratoon.address();
    (0..4).for_each(|_| drop(get(address, "/everything")));
    let before = [value(&ratoon, "orders_total"), value(&ratoon, "size")];
    assert_eq!(before[0]["counter"], 4);
    for pid in workers {
        kill(pid, Signal::SIGKILL).unwrap();
        ratoon.logged("died", &[("pid", pid.as_raw().into())]);
    }
    ratoon.ready_workers("web", 2);
    assert_eq!([value(&ratoon, "orders_total"), value(&ratoon, "size")], before);
    assert_eq!(value(&ratoon, "level")["gauge"], 2.0);
}

/// "Counters that persist under the same name and labels stay through a reload"; the others go with the last that had them.
#[test]
fn a_reload_keeps_what_is_declared_again_and_gives_up_the_rest() {
    let ratoon = Ratoon::serving(&config(1, &["counter:a_total", "counter:b_total", "histogram:size"]));
    get(ratoon.address(), "/everything");
    reload(&ratoon, &config(1, &["gauge:level", "histogram:size", "counter:b_total"]));
    get(ratoon.address(), "/everything");
    eventually("what is declared no more is gone", SOON, || family(&ratoon, "a_total").is_none().then_some(()));
    assert_eq!(value(&ratoon, "b_total")["counter"], 2);
    assert_eq!(value(&ratoon, "size")["histogram"]["buckets"], json!([0, 2, 0, 0]));
    assert_eq!(value(&ratoon, "level")["gauge"], 1.0);

    // Declared anew it begins anew.
    reload(&ratoon, &config(1, &["counter:a_total"]));
    eventually("only that is left", SOON, || family(&ratoon, "size").is_none().then_some(()));
    assert_eq!(value(&ratoon, "a_total")["counter"], 0);
}

/// "A bad release on reload changes nothing", also one that declares what cannot be.
#[test]
fn a_release_that_declares_nonsense_does_not_come_in() {
    let ratoon = Ratoon::serving(&config(1, &["counter:orders_total"]));
    get(ratoon.address(), "/everything");
    ratoon.configure(&config(1, &["counter:orders_total", "gauge:ratoon_level"]));
    ratoon.signal(Signal::SIGHUP);
    let failed = eventually("the reload fails", SOON, || {
        ratoon
            .lines()
            .into_iter()
            .find(|line| line["message"].as_str().is_some_and(|text| text.contains("reload failed")))
    });
    let reason = "the metric \\\"ratoon_level\\\" must not be called like Ratoon's own";
    assert!(failed.to_string().contains(reason), "{failed}");
    get(ratoon.address(), "/everything");
    assert_eq!(value(&ratoon, "orders_total")["counter"], 2);
}

/// "Without a system call": a request that counts makes those that one that does not count makes.
#[test]
fn counting_costs_no_system_call() {
    let ratoon = Ratoon::serving(&config(1, &["counter:orders_total", "gauge:level", "histogram:size"]));
    let worker = ratoon.ready_workers("web", 1)[0];
    let mut client = crate::harness::Client::connect(ratoon.address());
    client.get("/everything");
    let calls = |client: &mut crate::harness::Client, target: &str| {
        calls::made_by(worker, || (0..20).for_each(|_| drop(client.get(target))))
    };
    // A word that counts nothing, and is not logged either.
    let silent = calls(&mut client, "/ok");
    let counting = calls(&mut client, "/everything");
    // The end of the last request may come after the look at it.
    assert!(silent["sendto"] == 20 && counting["sendto"] == 20, "{silent:?}, {counting:?}");
    assert_eq!(counting.keys().collect::<Vec<_>>(), silent.keys().collect::<Vec<_>>());
    for (call, times) in &silent {
        assert!(counting[call].abs_diff(*times) <= 1, "{call}: {silent:?}, {counting:?}");
    }
}
