//! What a right file becomes, and how it is written again.

use std::time::Duration;

use ratoon_worker::protocol::Trusted;
use serde_json::{Value, json};

use crate::config::*;

#[test]
fn pools_keep_the_order_of_the_file() {
    let text = ["web", "admin", "jobs"]
        .map(|name| format!("[pool.{name}.settings]\nx = 1\n[pool.{name}]\nlisten = [\"127.0.0.1:0\"]\n"))
        .concat();
    let config = parse(&text, "config.toml").unwrap();
    let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["web", "admin", "jobs"]);
}

#[test]
fn every_key_reaches_its_field() {
    let text = r#"
[pool.web]
listen = ["127.0.0.1:80"]
trusted_proxies = ["192.0.2.7", "unix", "10.0.0.0/8"]
forwarded = "x-forwarded"
program = ["/srv/app", "-v"]
prepare = ["/srv/app", "migrate"]
user = "shop"
group = "33"
env = { LEVEL = "high" }
pass_env = ["SSL_CERT_FILE"]
scaling = "dynamic"
workers = 7
min_workers = 2
max_workers = 70
min_spare = 3
max_spare = 9
spawn_rate = 4
max_requests = 1000
max_requests_jitter = "0%"
max_age = "1d"
max_age_jitter = "100%"
max_memory = "64MiB"
max_memory_hard = "64MiB"
surge = "1%"
settle = "0s"
on_failure = "exit"
queue_timeout = "1s"
half_close = "gone"
reset = "off"
reset_check = 0
panics = "continue"
access = "json"
access_file = "/srv/access"
access_skip = ["/a", "/b/*"]
slow_log = "3s"
log_query = "keys"
capture = false
nice = -20
oom_score_adj = 1000
rlimits = { nofile = 4096, core = "unlimited", as = "2GiB", cpu = "60s" }
boot_timeout = "1ms"
request_timeout = "2s"
kill_grace = "0s"
stop_timeout = "0s"
drain_delay = "4s"
header_timeout = "5s"
body_timeout = "6s"
send_timeout = "7s"
keep_alive_timeout = "1h30m"
max_header = "1KiB"
max_body = "0B"
body_memory = "3MiB"
body_dir = "/srv"
body_disk = "4GiB"
max_connections = 100000
settings = { a = [1, 2.5], b.c = true, when = 1979-05-27T07:32:00Z, workerz = "anything goes" }
"#;
    let pool = parse(text, "config.toml").unwrap().pools.remove(0);
    let expected = Pool {
        name: "web".into(),
        user: Some("shop".into()),
        group: Some("33".into()),
        env: [("LEVEL".into(), "high".into())].into(),
        pass_env: vec!["SSL_CERT_FILE".into()],
        listen: vec![Listen::new("127.0.0.1:80".parse().unwrap())],
        trusted_proxies: Trusted {
            networks: vec!["192.0.2.7/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            unix: true,
        },
        forwarded: Forwarded::XForwarded,
        program: Some(vec!["/srv/app".into(), "-v".into()]),
        prepare: Some(vec!["/srv/app".into(), "migrate".into()]),
        scaling: Scaling::Dynamic,
        workers: Some(7),
        min_workers: Some(2),
        max_workers: Some(70),
        min_spare: Some(3),
        max_spare: Some(9),
        idle_timeout: None,
        spawn_rate: Some(4),
        max_requests: Some(1000),
        max_requests_jitter: Percent(0),
        max_age: Some(Duration::from_secs(86_400)),
        max_age_jitter: Percent(100),
        max_memory: Some(64 << 20),
        max_memory_hard: Some(64 << 20),
        surge: Percent(1),
        settle: Duration::ZERO,
        on_failure: OnFailure::Exit,
        queue_timeout: Some(Duration::from_secs(1)),
        half_close: HalfClose::Gone,
        reset: Reset::Off,
        reset_check: 0,
        panics: Panics::Continue,
        access: Some("json".into()),
        access_file: Some("/srv/access".into()),
        access_skip: vec!["/a".into(), "/b/*".into()],
        slow_log: Some(Duration::from_secs(3)),
        log_query: ratoon_worker::access::Query::Keys,
        capture: false,
        nice: Some(-20),
        oom_score_adj: Some(1000),
        rlimits: Rlimits {
            nofile: Some(4096),
            core: Some(u64::MAX),
            r#as: Some(2 << 30),
            cpu: Some(Duration::from_secs(60)),
        },
        boot_timeout: Duration::from_millis(1),
        request_timeout: Duration::from_secs(2),
        kill_grace: Duration::ZERO,
        stop_timeout: Duration::ZERO,
        drain_delay: Duration::from_secs(4),
        header_timeout: Duration::from_secs(5),
        body_timeout: Duration::from_secs(6),
        send_timeout: Duration::from_secs(7),
        keep_alive_timeout: Duration::from_secs(5_400),
        max_header: 1024,
        max_body: 0,
        body_memory: 3 << 20,
        body_dir: "/srv".into(),
        body_disk: 4 << 30,
        max_connections: 100_000,
        database: None,
        settings: json!({
            "a": [1, 2.5], "b": { "c": true }, "when": "1979-05-27T07:32:00Z", "workerz": "anything goes"
        })
        .as_object()
        .unwrap()
        .clone(),
    };
    assert_eq!(pool, expected);
}

#[test]
fn a_listener_is_a_string_or_a_table() {
    let text = r#"
[log]
level = "debug"
format = "json"
file = "/srv/log"
[pool.web]
listen = [
    "[::1]:8080",
    { address = "unix:/run/x.sock", mode = "0600", owner = "ratoon", group = "www-data", backlog = 5, proxy_protocol = true },
    { address = "127.0.0.1:80", backlog = 6 },
]
trusted_proxies = ["unix"]
"#;
    let config = parse(text, "config.toml").unwrap();
    assert_eq!(config.log, Log { level: Level::Debug, format: Format::Json, file: Some("/srv/log".into()) });
    let unix = Listen {
        address: Address::Unix("/run/x.sock".into()),
        mode: Some(0o600),
        owner: Some("ratoon".into()),
        group: Some("www-data".into()),
        backlog: 5,
        proxy_protocol: true,
    };
    let v6 = Listen::new(Address::Tcp("[::1]:8080".parse().unwrap()));
    let v4 = Listen { backlog: 6, ..Listen::new(Address::Tcp("127.0.0.1:80".parse().unwrap())) };
    assert_eq!(config.pools[0].listen, [v6, unix, v4]);
}

#[test]
fn a_configuration_remembers_where_its_keys_stand() {
    let config = parse("\n[pool.web]\nlisten = [\n\"127.0.0.1:0\"]\n", "/etc/x.toml").unwrap();
    assert_eq!(config.origin.file(), "/etc/x.toml");
    assert_eq!(config.origin.line("pool.web"), Some(2));
    assert_eq!(config.origin.line("pool.web.listen"), Some(3));
    assert_eq!(config.origin.line("pool.web.listen[0]"), Some(4));
    assert_eq!(config.origin.line("pool.web.workers"), None);
}

#[test]
fn what_is_serialised_reads_back_as_the_same() {
    let text = r#"
pool.web.listen = ["127.0.0.1:80", { address = "unix:/x", mode = "0600" }]
pool.web.program = ["app"]
pool.web.stop_timeout = "1h30m"
pool.web.scaling = "ondemand"
pool.web.idle_timeout = "90s"
pool.web.surge = "50%"
pool.web.rlimits = { core = "unlimited", cpu = "2m" }
pool.web.settings.x = [1]
control.socket = "/run/control.sock"
"#;
    let config = parse(text, "config.toml").unwrap();
    let written = serde_json::to_value(&config).unwrap();
    assert_eq!(written["pool"]["web"]["stop_timeout"], "90m");
    assert_eq!(written["pool"]["web"]["listen"][1]["mode"], "0600");
    assert_eq!(written["pool"]["web"]["max_header"], "16KiB");
    let again = Config { origin: Origin::default(), ..serde_json::from_value(without_nulls(written)).unwrap() };
    assert_eq!(again.pools, config.pools);
    assert_eq!(again.control, config.control);
}

#[test]
fn a_life_is_shorter_by_up_to_its_jitter_and_never_longer() {
    let pool = Pool { max_requests: Some(50), max_age: Some(Duration::from_secs(100)), ..Pool::default() };
    for (chance, requests, seconds) in [(0.0, 50, 100), (0.5, 48, 95), (1.0, 45, 90)] {
        assert_eq!(pool.requests_of_a_life(chance), Some(requests));
        assert_eq!(pool.age_of_a_life(chance), Some(Duration::from_secs(seconds)));
    }
    assert_eq!(Pool { max_requests: Some(1), ..pool.clone() }.requests_of_a_life(1.0), Some(1));
    assert_eq!(Pool::default().requests_of_a_life(0.5), None);
    assert_eq!(Pool::default().age_of_a_life(0.5), None);
}

#[test]
fn a_surge_is_at_least_one_worker() {
    let pool = Pool::default();
    for (workers, surge) in [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (1000, 250)] {
        assert_eq!(pool.surge_of(workers), surge);
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(table) => table
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}
