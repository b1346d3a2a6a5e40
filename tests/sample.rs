//! Promised: "the sample application shows what the library does and lets anyone watch the supervisor work".
//! Asked by `curl`, as a person would.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Client, Postgres, Ratoon, SOON, Stop, eventually, get, process, root};

const FAULTY: &str = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\nsettings.faults = true\n";
const HARMLESS: &str = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n";
const TEXT: &str = "text/plain; charset=utf-8";

/// What `curl` got.
struct Got {
    status: u16,
    kind: String,
    body: Vec<u8>,
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[track_caller]
fn curl(ratoon: &Ratoon, target: &str, arguments: &[&str]) -> Got {
    let url = format!("http://{}{target}", ratoon.address());
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "--noproxy", "*", "--max-time", "60", "-w", "\n%{http_code} %{content_type}"]);
    let output = command.args(arguments).arg(url).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "curl {target}: {complaint}; the log:\n{}", ratoon.text());
    let end = output.stdout.iter().rposition(|byte| *byte == b'\n').unwrap();
    let report = String::from_utf8_lossy(&output.stdout[end + 1..]).into_owned();
    let (status, kind) = report.split_once(' ').unwrap();
    Got { status: status.parse().unwrap(), kind: kind.to_owned(), body: output.stdout[..end].to_vec() }
}

#[test]
fn the_front_page_is_a_self_contained_page_that_links_every_route_a_browser_can_follow() {
    let ratoon = Ratoon::serving(FAULTY);
    let page = curl(&ratoon, "/", &[]);
    assert_eq!((page.status, page.kind.as_str()), (200, "text/html; charset=utf-8"));
    let text = page.text();
    for route in [
        "whoami", "hello", "headers", "state", "sleep", "spin", "bytes", "count", "notes", "db", "backend", "panic",
        "crash", "leak",
    ] {
        assert!(text.contains(&format!("href=\"/{route}")), "no link to {route}");
    }
    assert!(text.contains("POST /echo"));
    for loads in ["src=", "<link", "<script", "@import", "url("] {
        assert!(!text.contains(loads), "the page loads something: {loads}");
    }
}

#[test]
fn hello_is_thirteen_bytes_of_text() {
    let ratoon = Ratoon::serving(FAULTY);
    let hello = curl(&ratoon, "/hello", &[]);
    assert_eq!((hello.status, hello.kind.as_str()), (200, TEXT));
    assert_eq!((hello.text(), hello.body.len()), ("Hello, world!", 13));
}

#[test]
fn whoami_names_the_worker_that_answers_and_counts_what_it_has_served() {
    let ratoon = Ratoon::serving(HARMLESS);
    let first = curl(&ratoon, "/whoami", &[]);
    assert_eq!((first.status, first.kind.as_str()), (200, "application/json"));
    let who = first.json();
    let mut keys: Vec<&String> = who.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["generation", "pid", "pool", "served", "slot"]);
    assert_eq!(who["pool"], "web");
    assert_eq!(who["slot"], 0);
    assert_eq!(who["generation"], 1);
    assert_eq!(who["pid"], ratoon.ready_workers("web", 1)[0].as_raw());
    let again = curl(&ratoon, "/whoami", &[]).json();
    assert_eq!(again["served"].as_u64().unwrap(), who["served"].as_u64().unwrap() + 1);
}

#[test]
fn echo_gives_the_body_back_with_its_content_type() {
    let ratoon = Ratoon::serving(FAULTY);
    let json = curl(&ratoon, "/echo", &["-H", "content-type: application/json", "-d", "{\"a\": [1, 2]}"]);
    assert_eq!((json.status, json.kind.as_str(), json.text()), (200, "application/json", "{\"a\": [1, 2]}"));
    let form = curl(&ratoon, "/echo", &["-d", "a=1&b=2"]);
    assert_eq!((form.kind.as_str(), form.text()), ("application/x-www-form-urlencoded", "a=1&b=2"));
    let file = ratoon.directory().join("upload");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let upload = format!("@{}", file.display());
    for framing in ["content-type: image/png", "transfer-encoding: chunked"] {
        let back = curl(&ratoon, "/echo", &["-H", framing, "--data-binary", &upload]);
        assert_eq!((back.status, back.body.len()), (200, bytes.len()), "{framing}");
        assert!(back.body == bytes, "{framing}: the bytes differ");
    }
}

#[test]
fn sleep_takes_as_long_as_it_is_told() {
    let ratoon = Ratoon::serving(FAULTY);
    let begun = Instant::now();
    let slept = curl(&ratoon, "/sleep?ms=300", &[]);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!((slept.status, slept.text()), (200, "slept 300 ms\n"));
    let wrong = curl(&ratoon, "/sleep?ms=soon", &[]);
    assert_eq!((wrong.status, wrong.text()), (400, "400 Bad Request\n"));
}

#[test]
fn spin_burns_a_cpu() {
    let ratoon = Ratoon::serving(HARMLESS);
    let worker = ratoon.ready_workers("web", 1)[0];
    let before = process::cpu_time(worker);
    // Its time is wall time: on a busy machine one spin gets only a share of it.
    let burnt = (0..20).any(|_| {
        let spun = curl(&ratoon, "/spin?ms=200", &[]);
        assert_eq!((spun.status, spun.text()), (200, "burnt 200 ms of a CPU\n"));
        process::cpu_time(worker) - before >= Duration::from_millis(150)
    });
    assert!(burnt, "twenty spins of 200 ms took {:?} of a CPU", process::cpu_time(worker) - before);
}

#[test]
fn bytes_are_as_many_as_asked_for() {
    let ratoon = Ratoon::serving(FAULTY);
    for count in [0, 1, 65_535, 65_536, 65_537, 5_000_000] {
        let bytes = curl(&ratoon, &format!("/bytes?n={count}"), &[]);
        assert_eq!((bytes.status, bytes.body.len()), (200, count));
        assert_eq!(bytes.kind, "application/octet-stream");
        let expected = |place: usize| if place % 64 == 63 { b'\n' } else { b'0' + (place % 64 % 10) as u8 };
        assert!(bytes.body.iter().enumerate().all(|(place, byte)| *byte == expected(place)), "{count} bytes differ");
    }
}

#[test]
fn count_yields_numbers_while_they_are_sent() {
    let ratoon = Ratoon::serving(FAULTY);
    let numbers = curl(&ratoon, "/count?n=30000", &[]);
    let expected: String = (0..30_000).map(|number| format!("{number}\n")).collect();
    assert_eq!((numbers.status, numbers.kind.as_str()), (200, TEXT));
    assert!(numbers.text() == expected);
}

#[test]
fn headers_shows_the_request_as_json() {
    let ratoon = Ratoon::serving(FAULTY);
    let seen = curl(&ratoon, "/headers?a=%20b", &["-A", "the test", "-H", "X-Two: one", "-H", "x-two: two"]);
    assert_eq!((seen.status, seen.kind.as_str()), (200, "application/json"));
    let seen = seen.json();
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["target"], "/headers?a=%20b");
    assert_eq!(seen["version"], "HTTP/1.1");
    let headers: Vec<(&str, &str)> = seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    let host = ratoon.address().to_string();
    assert!(headers.contains(&("host", &host)) && headers.contains(&("user-agent", "the test")), "{headers:?}");
    let twos: Vec<&str> = headers.iter().filter(|(name, _)| *name == "x-two").map(|(_, value)| *value).collect();
    assert_eq!(twos, ["one", "two"]);
}

#[test]
fn state_always_says_1_and_knows_no_visitor_but_its_own() {
    let ratoon = Ratoon::serving(HARMLESS);
    let mut client = Client::connect(ratoon.address());
    for (target, said) in [("/state?name=ada", "1, ada\n"), ("/state", "1, nobody\n"), ("/state?name=bob", "1, bob\n")]
    {
        for _ in 0..3 {
            let answer = client.get(target);
            assert_eq!((answer.status, answer.text()), (200, said.into()));
        }
    }
    // All of it on one worker.
    assert_eq!(client.get("/whoami").json()["served"], 9);
    let state = curl(&ratoon, "/state?name=eve", &[]);
    assert_eq!((state.kind.as_str(), state.text()), (TEXT, "1, eve\n"));
}

#[test]
fn a_panic_is_a_500_whose_story_only_the_log_tells() {
    let ratoon = Ratoon::serving(FAULTY);
    let panicked = curl(&ratoon, "/panic", &["-i"]);
    assert_eq!(panicked.status, 500);
    let shown = panicked.text();
    assert!(!shown.contains("somebody asked") && !shown.contains("sample.rs"), "{shown}");
    ratoon.logged("the handler panicked", &[("request", "GET /panic HTTP/1.1".into())]);
    assert!(ratoon.text().contains("somebody asked for /panic"), "{}", ratoon.text());
    assert_eq!(get(ratoon.address(), "/hello").text(), "Hello, world!");
}

/// Asks for a crash; yields the pid of the worker that was to die, and what the log says of its end. The client is told
/// `status`, or nothing.
fn crash(how: &str, status: Option<u16>) -> (Ratoon, Pid, Value) {
    let ratoon = Ratoon::serving(HARMLESS.replace("workers = 1\n", "workers = 1\nsettings.faults = true\n").as_str());
    let worker = ratoon.ready_workers("web", 1)[0];
    let target = format!("/crash?how={how}");
    match status {
        Some(status) => assert_eq!(curl(&ratoon, &target, &[]).status, status),
        None => {
            let url = format!("http://{}{target}", ratoon.address());
            let arguments = ["-q", "-sS", "--noproxy", "*", "--max-time", "60", &url];
            let output = Command::new("curl").args(arguments).output().unwrap();
            assert_eq!(output.status.code(), Some(52), "curl says \"empty reply\": {output:?}");
        }
    }
    let line = ratoon.logged("died", &[("pid", worker.as_raw().into())]);
    let after = ratoon.ready_workers("web", 1);
    assert_ne!(after[0], worker);
    assert_eq!(curl(&ratoon, "/hello", &[]).text(), "Hello, world!");
    (ratoon, worker, line)
}

#[test]
fn a_crash_by_abort_is_a_worker_that_died_of_sigabrt() {
    assert_eq!(crash("abort", Some(500)).2["cause"], "signal SIGABRT");
}

#[test]
fn a_crash_by_segfault_is_a_worker_that_died_of_sigsegv() {
    assert_eq!(crash("segfault", Some(500)).2["cause"], "signal SIGSEGV");
}

#[test]
fn a_crash_by_exit_is_a_worker_that_left_with_its_status() {
    assert_eq!(crash("exit", None).2["cause"], "exited 3");
}

#[test]
fn a_crash_by_stack_overflow_is_a_worker_that_died_saying_so() {
    let (ratoon, pid, line) = crash("stack", Some(500));
    assert_eq!(line["cause"], "signal SIGSEGV");
    ratoon.logged("last words", &[("pid", pid.as_raw().into()), ("fault", "stack overflow".into())]);
}

#[test]
fn a_crash_that_nobody_knows_hurts_nobody() {
    let ratoon = Ratoon::serving(FAULTY);
    let workers = ratoon.ready_workers("web", 2);
    assert_eq!(curl(&ratoon, "/crash?how=politely", &[]).status, 400);
    assert_eq!(curl(&ratoon, "/crash", &[]).status, 400);
    assert_eq!(ratoon.workers("web"), workers);
}

#[test]
fn a_leak_is_memory_that_its_worker_keeps() {
    let ratoon = Ratoon::serving(HARMLESS.replace("workers = 1\n", "workers = 1\nsettings.faults = true\n").as_str());
    let worker = ratoon.ready_workers("web", 1)[0];
    let before = process::memory(worker, "Private_Dirty");
    assert_eq!(curl(&ratoon, "/leak?mib=16", &[]).text(), format!("worker {worker} now holds 16 MiB\n"));
    assert_eq!(curl(&ratoon, "/leak?mib=24", &[]).text(), format!("worker {worker} now holds 40 MiB\n"));
    assert_eq!(curl(&ratoon, "/hello", &[]).status, 200);
    let grown = process::memory(worker, "Private_Dirty") - before;
    assert!((40 * 1024..48 * 1024).contains(&grown), "it grew by {grown} KiB");
}

#[test]
fn the_routes_that_hurt_a_worker_are_forbidden_unless_the_settings_allow_faults() {
    let ratoon = Ratoon::serving(HARMLESS);
    let worker = ratoon.ready_workers("web", 1);
    for target in ["/panic", "/crash", "/crash?how=abort", "/crash?how=exit", "/leak", "/leak?mib=100"] {
        let refused = curl(&ratoon, target, &[]);
        assert_eq!(refused.status, 403, "{target}");
        assert!(refused.text().contains("faults = true"), "{target}: {}", refused.text());
    }
    assert_eq!(ratoon.workers("web"), worker);
    assert!(process::memory(worker[0], "Private_Dirty") < 50 * 1024);
}

#[test]
fn head_is_get_without_the_body() {
    let ratoon = Ratoon::serving(FAULTY);
    for (target, length) in [("/hello", "13"), ("/bytes?n=123456789", "123456789")] {
        let head = curl(&ratoon, target, &["-I"]);
        assert_eq!(head.status, 200, "{target}");
        let line = format!("\r\ncontent-length: {length}\r\n");
        assert!(head.text().contains(&line) && head.text().ends_with("\r\n\r\n"), "{target}: {}", head.text());
    }
}

#[test]
fn an_unknown_route_is_a_404_and_an_unknown_method_a_405_that_says_what_is_allowed() {
    let ratoon = Ratoon::serving(FAULTY);
    let unknown = curl(&ratoon, "/nothing", &[]);
    assert_eq!((unknown.status, unknown.kind.as_str()), (404, TEXT));
    assert_eq!(curl(&ratoon, "/nothing", &["-X", "DELETE"]).status, 404);
    for (method, target) in [("POST", "/hello"), ("DELETE", "/"), ("PUT", "/panic"), ("get", "/whoami")] {
        let wrong = curl(&ratoon, target, &["-X", method, "-i"]);
        assert_eq!(wrong.status, 405, "{method} {target}");
        assert!(wrong.text().contains("\r\nallow: GET, HEAD\r\n"), "{method} {target}: {}", wrong.text());
    }
}

#[test]
fn the_shipped_configuration_serves_the_sample_application_with_its_faults() {
    let shipped = std::fs::read_to_string(root().join("config.toml")).unwrap();
    let config = shipped.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9180", "127.0.0.1:0");
    assert_ne!(config, shipped);
    let ratoon = Ratoon::serving(&config);
    assert_eq!(curl(&ratoon, "/hello", &[]).text(), "Hello, world!");
    assert_eq!(curl(&ratoon, "/panic", &[]).status, 500);
    eventually("at least four workers", SOON, || (ratoon.workers("web").len() >= 4).then_some(()));
}

#[test]
fn the_routes_of_a_database_read_and_write_its_table_and_name_the_backend() {
    let postgres = Postgres::start();
    let ratoon = Ratoon::serving(&format!("{HARMLESS}[pool.web.database]\nurl = \"{}\"\n", postgres.url()));
    // Before anybody has written there is no table.
    assert_eq!((curl(&ratoon, "/notes", &[]).text(), curl(&ratoon, "/db?id=1", &[]).status), ("[]\n", 404));
    for (id, text) in [(1, "first"), (2, "grün"), (3, "'; drop table ratoon_notes; --")] {
        let written = curl(&ratoon, "/notes", &["--data-binary", text]);
        assert_eq!((written.status, written.json()["id"].as_i64()), (201, Some(id)), "{}", written.text());
        let row = curl(&ratoon, &format!("/db?id={id}"), &[]);
        assert_eq!((row.status, row.kind.as_str()), (200, "application/json"));
        assert_eq!(row.json(), serde_json::json!({ "id": id, "text": text }));
    }
    let notes = curl(&ratoon, "/notes", &[]).json();
    let texts: Vec<&str> = notes.as_array().unwrap().iter().map(|note| note["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["'; drop table ratoon_notes; --", "grün", "first"]);
    assert_eq!(curl(&ratoon, "/db?id=99", &[]).status, 404);
    for nonsense in ["", "   ", "a\u{0}b"] {
        let file = ratoon.directory().join("nonsense");
        std::fs::write(&file, nonsense).unwrap();
        assert_eq!(curl(&ratoon, "/notes", &["--data-binary", &format!("@{}", file.display())]).status, 400);
    }
    let backend = curl(&ratoon, "/backend", &[]);
    assert_eq!(backend.text().trim().parse(), Ok(postgres.backend_pids()[0]));
    let wrong = curl(&ratoon, "/notes", &["-X", "DELETE", "-i"]);
    assert!(wrong.status == 405 && wrong.text().contains("\r\nallow: GET, HEAD, POST\r\n"), "{}", wrong.text());
}

#[test]
fn the_routes_of_a_database_say_so_where_there_is_none() {
    let ratoon = Ratoon::serving(HARMLESS);
    for (target, arguments) in
        [("/db?id=1", vec![]), ("/notes", vec![]), ("/notes", vec!["-d", "x"]), ("/backend", vec![])]
    {
        let refused = curl(&ratoon, target, &arguments);
        assert_eq!(refused.status, 503, "{target}");
        assert!(refused.text().contains("none is configured"), "{target}: {}", refused.text());
    }
}

#[test]
fn the_routes_of_a_database_that_is_down_are_503_to_be_tried_again() {
    let mut postgres = Postgres::start();
    let ratoon = Ratoon::serving(&format!("{HARMLESS}[pool.web.database]\nurl = \"{}\"\n", postgres.url()));
    postgres.stop(Stop::Fast);
    let refused = curl(&ratoon, "/backend", &["-i"]);
    assert_eq!(refused.status, 503);
    assert!(refused.text().to_lowercase().contains("\r\nretry-after: "), "{}", refused.text());
    assert_eq!(curl(&ratoon, "/hello", &[]).status, 200);
    postgres.start_again();
    eventually("the database is there again", SOON, || (curl(&ratoon, "/backend", &[]).status == 200).then_some(()));
}
