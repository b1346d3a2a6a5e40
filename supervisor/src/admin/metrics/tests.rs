#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ratoon_worker::http::HeaderMap;
use serde_json::json;

use super::*;

/// A daemon with a pool that has everything, and one that has nothing.
fn status() -> Status {
    let times = json!({"sum_ns": 1_500_000_000u64, "buckets": (0..28).collect::<Vec<u64>>()});
    let pool = json!({
        "pool": "web", "process_manager": "dynamic", "health": {"state": "failed", "retry_in_ms": 1500}, "stopping": false,
        "generations": [2, 3], "wanted_processes": 2, "max_processes": 8, "scaled_by": 0, "renewed_processes": null,
        "idle_processes": 1, "active_processes": 1, "starting_processes": 0, "retiring_processes": 0,
        "total_processes": 2, "max_children_reached": 4, "log_lines_lost": 6, "last_deaths": [], "request_timeout_ms": 30000,
        "listeners": [{"address": "127.0.0.1:80", "listen_queue": 3, "listen_queue_len": 1024},
                      {"address": "unix:/run/web", "listen_queue": null, "listen_queue_len": 1024}],
        "deaths": {"exited 3": 1, "request timeout": 2, "recycled by age": 5, "recycled after a panic": 1,
                   "retired by reload": 4},
        "starts": {"forked": 15, "ready": 14, "interrupted": 2, "failures": 1, "templates": 3,
                   "template_deaths": {"exited 0": 2}},
        "traffic": {"requests": 10, "answers": {"1xx": 0, "2xx": 7, "5xx": 2}, "lost": 1, "late": 2, "gone": 3,
                    "refused": {"4xx": 5}, "accepted_conn": 20, "handed_over_conn": 1, "received_bytes": 300,
                    "sent_bytes": 400, "request_duration": times, "queue_time": times},
        "database": {"connections": 5, "open": 2, "connects": 9, "reconnects": {"closed": 1}, "failures": 1, "waits": 2,
                     "waited_longest_ms": 1250, "exhausted": 1, "leases": 3},
        "metrics": [
            {"name": "orders_total", "kind": "counter", "help": "Orders \"placed\" \\ paid.", "series": [
                {"labels": {"kind": "a \"b\"\\c"}, "counter": 12}]},
            {"name": "level", "kind": "gauge", "help": "Level.", "series": [{"labels": {}, "gauge": -1.5}]},
            {"name": "size", "kind": "histogram", "help": "Sizes.", "series": [
                {"labels": {}, "histogram": {"bounds": [1.0, 2.5], "buckets": [1, 2, 3], "sum": 20.0}}]}],
        "processes": [{"slot": 0, "pid": std::process::id(), "generation": 3, "state": "busy", "start_since_ms": 5000,
                       "requests": 10, "request_duration_ms": 250, "request_line": "GET / HTTP/1.1", "connections": 2,
                       "last_death": null}],
    });
    let mut bare = pool.clone();
    bare["pool"] = json!("jobs");
    bare["health"] = json!({"state": "sound"});
    bare["database"] = json!(null);
    bare["processes"] = json!([]);
    // Under one of its names another pool counts something else.
    bare["metrics"] =
        json!([{"name": "level_total", "kind": "counter", "help": "x", "series": [{"labels": {}, "counter": 1}]}]);
    let mut leaving = bare.clone();
    leaving["starts"]["forked"] = json!(1000);
    serde_json::from_value(json!({
        "version": "1.2.3", "time_ms": 1, "pid": 1, "start_time": 1_700_000_000, "start_since_ms": 1000, "state": "serving",
        "reload_stage": null,
        "last_reload": {"outcome": "failed", "reason": "because", "ended_since_ms": 5},
        "reloads": {"done": 3, "failed": 1}, "upgrades": 2, "admin_deaths": 1, "pools": [leaving, pool, bare],
    }))
    .unwrap()
}

fn exposed(accept: &'static str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert("accept", accept.parse().unwrap());
    exposition(&status(), &headers, &mut Memory::default()).1
}

/// Of each family: its type, its help, and the labels of its samples, `le` aside.
fn families() -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let text = exposed("text/plain");
    let mut families: BTreeMap<String, (String, String, BTreeSet<String>)> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some((its, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            name = its.to_owned();
            assert!(
                families.insert(name.clone(), (String::new(), help.into(), BTreeSet::new())).is_none(),
                "{name} twice"
            );
        } else if let Some((its, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert_eq!(its, name);
            families.get_mut(&name).unwrap().0 = kind.into();
        } else {
            assert!(line.starts_with(&name), "{line} in the family {name}");
            let labels = line.split_once('{').map_or("", |(_, rest)| rest);
            let labels = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(label, _)| label);
            families.get_mut(&name).unwrap().2.extend(labels.filter(|label| *label != "le").map(str::to_owned));
        }
    }
    families
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn every_family_is_in_the_documentation_as_it_is_exposed() {
    let page = std::fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `ratoon_"));
    let documented: Vec<String> = rows.map(|row| format!("| `ratoon_{row}")).collect();
    let exposed = families().into_iter().filter(|(name, _)| name.starts_with("ratoon_"));
    let mut exposed: Vec<String> = exposed
        .map(|(name, (kind, help, labels))| {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
        })
        .collect();
    let mut sorted = documented.clone();
    sorted.sort();
    exposed.sort();
    assert_eq!(sorted.join("\n"), exposed.join("\n"));
}

/// Every word in the files that is a name of ours.
#[test]
fn the_dashboard_and_the_alerts_ask_for_nothing_that_is_not_exposed() {
    let families = families();
    let is_exposed = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|suffix| name.strip_suffix(suffix));
        let is_histogram = |family: &str| families.get(family).is_some_and(|(kind, ..)| kind == "histogram");
        families.contains_key(name) || parts.into_iter().any(is_histogram)
    };
    for file in ["dashboard.json", "alerts.yml", "alerts.test.yml"] {
        let text = std::fs::read_to_string(repository().join("monitoring").join(file)).unwrap();
        let words: BTreeSet<&str> = text
            .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .filter(|word| word.starts_with("ratoon_"))
            .collect();
        assert!(words.len() > 5, "{file}: {words:?}");
        let unknown: Vec<&&str> = words.iter().filter(|word| !is_exposed(word)).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
}

#[test]
fn a_pool_that_leaves_gives_its_name_to_its_successor() {
    let text = exposed("text/plain");
    let starts: Vec<&str> = text.lines().filter(|line| line.starts_with("ratoon_worker_starts_total{")).collect();
    let expected = [r#"ratoon_worker_starts_total{pool="web"} 15"#, r#"ratoon_worker_starts_total{pool="jobs"} 15"#];
    assert_eq!(starts, expected);
}

#[test]
fn what_died_what_was_recycled_and_what_was_retired_are_three_counters() {
    let text = exposed("text/plain");
    for line in [
        r#"ratoon_worker_deaths_total{pool="web",cause="exited 3"} 1"#,
        r#"ratoon_worker_deaths_total{pool="web",cause="killed by the kernel for memory"} 0"#,
        r#"ratoon_worker_recycles_total{pool="web",cause="panic"} 1"#,
        r#"ratoon_worker_recycles_total{pool="web",cause="requests"} 0"#,
        r#"ratoon_worker_retirements_total{pool="web",cause="reload"} 4"#,
    ] {
        assert!(text.lines().any(|each| each == line), "{line}\n{text}");
    }
}

#[test]
fn a_histogram_is_cumulative_and_its_bounds_are_seconds() {
    let text = exposed("text/plain");
    for line in [
        r#"ratoon_request_duration_seconds_bucket{pool="web",le="0.000001"} 0"#,
        r#"ratoon_request_duration_seconds_bucket{pool="web",le="0.000008"} 6"#,
        r#"ratoon_request_duration_seconds_bucket{pool="web",le="67.108864"} 351"#,
        r#"ratoon_request_duration_seconds_bucket{pool="web",le="+Inf"} 378"#,
        r#"ratoon_request_duration_seconds_count{pool="web"} 378"#,
        r#"ratoon_request_duration_seconds_sum{pool="web"} 1.5"#,
        r#"ratoon_queue_time_seconds_bucket{pool="web",le="0.001024"} 55"#,
        r#"ratoon_queue_time_seconds_count{pool="web"} 378"#,
        r#"size_bucket{pool="web",le="2.5"} 3"#,
        r#"size_bucket{pool="web",le="+Inf"} 6"#,
    ] {
        assert!(text.lines().any(|each| each == line), "{line}\n{text}");
    }
    assert!(!text.contains(r#"ratoon_queue_time_seconds_bucket{pool="web",le="0.000512"}"#));
}

#[test]
fn openmetrics_has_its_own_names_units_and_end() {
    let text = exposed("application/openmetrics-text; version=1.0.0");
    for line in [
        "# TYPE ratoon_requests counter",
        "# TYPE ratoon_build info",
        "# UNIT ratoon_request_duration_seconds seconds",
        "# UNIT ratoon_sent_bytes bytes",
        r#"# HELP orders Orders \"placed\" \\ paid."#,
        r#"orders_total{pool="web",kind="a \"b\"\\c"} 12"#,
        r#"ratoon_build_info{version="1.2.3"} 1"#,
    ] {
        assert!(text.lines().any(|each| each == line), "{line}\n{text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
    assert!(!exposed("*/*").contains("# EOF"));
}

#[test]
fn of_two_pools_that_mean_different_things_by_a_name_the_first_is_right() {
    let text = exposed("text/plain");
    assert!(text.contains("# TYPE level gauge\nlevel{pool=\"web\"} -1.5\n"), "{text}");
    assert!(!text.contains("level_total"), "{text}");
}
