//! `GET /metrics` as its readers see it: the parser of Prometheus' own client, and promtool.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::harness::{ADMIN, Client, Ratoon, Response, SOON, eventually, fixture, get, unprivileged, wrap};

/// The two formats, as a client asks for them.
pub(super) const FORMATS: [(&str, &str); 2] =
    [("text/plain", "text"), ("application/openmetrics-text; version=1.0.0", "open")];

/// Reads expositions with the parser of Debian's python3-prometheus-client, and prints each sample as it is understood.
const PARSER: &str = r#"
import json, sys
from prometheus_client import parser as text
from prometheus_client.openmetrics import parser as open
def read(format, exposition):
    for family in {"text": text, "open": open}[format].text_string_to_metric_families(exposition):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(f"{name}={value!r}" for name, value in sorted(sample.labels.items()))
            yield [f"{sample.name}{{{labels}}}", family.type, sample.value]
json.dump([list(read(*each)) for each in json.load(sys.stdin)], sys.stdout)
"#;

/// A sample as the parser prints it.
type Printed = (String, String, f64);

/// What the parser understands: by name and labels, the type of the family and the value.
pub(super) type Samples = BTreeMap<String, (String, f64)>;

#[track_caller]
pub(super) fn scrape(address: SocketAddr, accept: &str) -> Response {
    let mut client = Client::connect(address);
    client.send(format!("GET /metrics HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n").as_bytes());
    let response = client.response();
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

/// What the parser understands of an exposition in this format.
#[track_caller]
pub(super) fn understood(text: &str, format: &str) -> Samples {
    all_understood(&[(format, text.to_owned())]).remove(0)
}

/// The same of many.
#[track_caller]
pub(super) fn all_understood(expositions: &[(&str, String)]) -> Vec<Samples> {
    let asked = serde_json::to_string(expositions).unwrap();
    let read = piped(Command::new("/usr/bin/python3").args(["-c", PARSER]), &asked);
    let read: Vec<Vec<Printed>> = serde_json::from_str(&read).unwrap();
    let each = |(samples, (_, text)): (Vec<Printed>, &(&str, String))| {
        let count = samples.len();
        let samples: Samples = samples.into_iter().map(|(name, kind, value)| (name, (kind, value))).collect();
        assert_eq!(samples.len(), count, "a series is there twice:\n{text}");
        samples
    };
    read.into_iter().zip(expositions).map(each).collect()
}

/// What a command says when it is given this; it must succeed.
#[track_caller]
fn piped(command: &mut Command, text: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(text.as_bytes()));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command:?}: {}\n{text}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn config() -> String {
    let metrics = r#"["counter:orders_total", "gauge:level", "histogram:size"]"#;
    let listen = r#"listen = ["127.0.0.1:0", "unix:DIR/web"]"#;
    let web = fixture::pool("web", &format!("workers = 2\nsettings = {{ metrics = {metrics} }}"));
    ADMIN.to_owned() + &web.replace(r#"listen = ["127.0.0.1:0"]"#, listen) + &fixture::pool("jobs", "workers = 1")
}

#[test]
fn what_is_exposed_is_read_by_a_real_client_in_both_formats() {
    let ratoon = Ratoon::serving(&config());
    ratoon.ready_workers("web", 2);
    get(ratoon.address(), "/everything");
    get(ratoon.address(), "/error:yes");
    for (accept, format) in FORMATS {
        // A request ends a little after its answer.
        let samples = eventually("both requests have ended", SOON, || {
            let response = scrape(ratoon.admin(), accept);
            assert!(response.header("content-type").unwrap().starts_with(accept), "{response:?}");
            let samples = understood(&response.text(), format);
            (samples["ratoon_request_duration_seconds_count{pool='web'}"].1 == 2.0).then_some(samples)
        });
        for (series, value) in [
            ("ratoon_requests_total{code='2xx',pool='web'}", 1.0),
            ("ratoon_requests_total{code='5xx',pool='web'}", 1.0),
            ("ratoon_requests_total{code='5xx',pool='jobs'}", 0.0),
            ("ratoon_queue_time_seconds_count{pool='web'}", 2.0),
            ("ratoon_workers_max{pool='web'}", 2.0),
            ("ratoon_workers{pool='jobs',state='idle'}", 1.0),
            ("ratoon_generation{pool='web'}", 1.0),
            ("ratoon_worker_boots_total{pool='web'}", 2.0),
            (r#"orders_total{colour='blue "or" green\\',pool='web'}"#, 1.0),
            ("level{pool='web'}", 2.0),
            ("size_bucket{le='10.0',pool='web'}", 1.0),
            ("size_sum{pool='web'}", 5.0),
        ] {
            assert_eq!(samples.get(series).map(|(_, value)| *value), Some(value), "{series} in {samples:#?}");
        }
        let resident = |slot: u32| samples[&format!("ratoon_worker_resident_bytes{{pool='web',slot='{slot}'}}")].1;
        assert!((0..2).all(|slot| resident(slot) > 1e6), "{samples:#?}");
    }
}

/// "Memory per worker": what is its own, where supervisor, workers and admin process have one user.
#[test]
fn the_memory_of_workers_is_told_where_the_admin_process_may_look() {
    let config = ADMIN.to_owned() + &fixture::pool("web", "workers = 1");
    let ratoon = Ratoon::start_with(&config, |command| {
        if nix::unistd::geteuid().is_root() {
            unprivileged::own(command.get_current_dir().unwrap());
            let user = format!("--reuid={}", unprivileged::uid());
            wrap(command, &["setpriv", &user, "--clear-groups", "--inh-caps=-all", "--"]);
        }
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let samples = understood(&scrape(ratoon.admin(), "text/plain").text(), "text");
    let value = |name: &str| samples.get(&format!("{name}{{pool='web',slot='0'}}")).map(|(_, value)| *value);
    let (private, resident) = (value("ratoon_worker_private_bytes"), value("ratoon_worker_resident_bytes"));
    assert!(Some(0.0) < private && private <= resident, "{private:?} of {resident:?}");
}

/// What promtool says of names, types and helps: "checked by promtool".
#[test]
fn what_is_exposed_keeps_to_the_conventions() {
    let ratoon = Ratoon::serving(&config());
    let text = scrape(ratoon.admin(), "text/plain").text();
    let lint = piped(Command::new("promtool").args(["check", "metrics"]), &text);
    assert_eq!(lint, "", "{lint}");
}

#[test]
fn the_alert_rules_are_valid_and_do_what_they_are_for() {
    let monitoring = crate::harness::root().join("monitoring");
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(&monitoring).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}

/// Every expression of the dashboard, as a rule, so that promtool parses it.
#[test]
fn the_dashboards_expressions_are_valid() {
    let text = std::fs::read_to_string(crate::harness::root().join("monitoring/dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let rules: Vec<serde_json::Value> = targets
        .enumerate()
        .map(|(number, target)| {
            let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m");
            serde_json::json!({"record": format!("panel:{number}"), "expr": expression})
        })
        .collect();
    assert!(rules.len() > 20);
    let file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(&file, &serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]})).unwrap();
    let output = Command::new("promtool").args(["check", "rules"]).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

/// "Answers within 50 ms while every worker is busy", and tells so.
#[test]
fn a_pool_that_is_busy_and_has_a_queue_is_told_as_it_is() {
    let ratoon = Ratoon::serving(&(ADMIN.to_owned() + &fixture::pool("web", "workers = 1")));
    let (_busy, _) = ratoon.engage(ratoon.address(), "hang");
    let _waiting: Vec<Client> = (0..3).map(|_| Client::connect(ratoon.address())).collect();
    eventually("one is busy and three wait", SOON, || {
        let samples = understood(&scrape(ratoon.admin(), "text/plain").text(), "text");
        let value = |series: &str| samples.get(series).map(|(_, value)| *value);
        let queue = format!("ratoon_listen_queue{{listener='{}',pool='web'}}", ratoon.address());
        let is_so = value("ratoon_workers{pool='web',state='busy'}") == Some(1.0)
            && value(&queue) == Some(3.0)
            && value("ratoon_worker_request_seconds{pool='web',slot='0'}") > Some(0.0);
        is_so.then_some(())
    });
}
