//! "Access log per pool, escaped so that no header can forge a line, one line for killed requests too; slow requests with
//! their stage; `log_query` for query strings in logs and status, which may hold secrets."

mod file;

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::harness::{CONTROL, Client, Ratoon, SOON, eventually, fixture, get};

/// A supervisor of one worker with an access log of this form in `access`, and these further lines.
fn with(form: &str, lines: &str) -> (Ratoon, PathBuf) {
    let access = format!("access = '{form}'\naccess_file = \"DIR/access\"");
    let pool = fixture::pool("web", &format!("workers = 1\n{access}\n{lines}"));
    let ratoon = Ratoon::serving(&(CONTROL.to_owned() + &pool));
    let file = ratoon.directory().join("access");
    (ratoon, file)
}

/// The lines, once there are so many; there are no more.
#[track_caller]
fn lines(file: &PathBuf, count: usize) -> Vec<String> {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    let text = eventually(&format!("{count} lines, not {:?}", read()), SOON, || {
        let text = read();
        (text.ends_with('\n') && text.lines().count() >= count).then_some(text)
    });
    assert_eq!(text.lines().count(), count, "{text}");
    text.lines().map(str::to_owned).collect()
}

fn raw(ratoon: &Ratoon, request: &[u8]) -> u16 {
    let mut client = Client::connect(ratoon.address());
    client.send(request);
    client.response().status
}

#[test]
fn the_combined_format_has_a_line_for_every_request_and_for_every_refusal() {
    let (ratoon, file) = with("combined", "");
    assert_eq!(
        raw(&ratoon, b"GET /ok?a=b HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8\r\nReferer: http://r/?s=1\r\n\r\n"),
        200
    );
    assert_eq!(get(ratoon.address(), "/error:oh").status, 500);
    assert_eq!(raw(&ratoon, b"GET /bad HTTP/1.1\r\n\r\n"), 400);
    let lines = lines(&file, 3);
    assert!(
        lines[0].starts_with("127.0.0.1 - - [") && lines[0].contains(" +0000] \"GET /ok?a=b HTTP/1.1\" 200 "),
        "{lines:?}"
    );
    assert!(lines[0].ends_with(" \"http://r/?s=1\" \"curl/8\""), "{lines:?}");
    assert!(lines[1].contains("\"GET /error:oh HTTP/1.1\" 500 "), "{lines:?}");
    assert!(lines[2].contains("\"GET /bad HTTP/1.1\" 400 "), "{lines:?}");
}

#[test]
fn as_json_a_line_is_an_object_that_says_who_what_and_how_long() {
    let (ratoon, file) = with("json", "");
    let mut client = Client::connect(ratoon.address());
    client.send(b"GET /sleep:50 HTTP/1.1\r\nHost: shop.test\r\nX-Request-Id: abc-1\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let line: Value = serde_json::from_str(&lines(&file, 1)[0]).unwrap();
    let expected = json!({
        "pool": "web", "worker": 0, "gen": 1, "client": "127.0.0.1", "method": "GET", "target": "/sleep:50",
        "protocol": "HTTP/1.1", "status": 200, "host": "shop.test", "request_id": "abc-1", "referer": null,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(line[key], *value, "{key} in {line}");
    }
    assert!(line["duration"].as_f64().unwrap() >= 0.05 && line["handler"].as_f64().unwrap() >= 0.05, "{line}");
    assert!(line["bytes"].as_u64().unwrap() > 0 && line["cause"].is_null(), "{line}");
}

/// "… so that no header can forge a line": quotes, backslashes, escape sequences, what is no UTF-8.
#[test]
fn nothing_that_a_client_sends_ends_its_field_or_begins_a_line() {
    for form in ["combined", "json", "{target} \"{user_agent}\" {header.x-evil}"] {
        let (ratoon, file) = with(form, "");
        let request =
            b"GET /ok HTTP/1.1\r\nHost: x\r\nUser-Agent: a\" 200 \\\t\xff\xc3\x28 \x80\r\nX-Evil: \"}{\r\n\r\n";
        assert_eq!(raw(&ratoon, request), 200);
        // Refused, and shown all the same.
        assert_eq!(raw(&ratoon, b"GET /\x1b[31m\x07\"x HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
        let lines = lines(&file, 2);
        for line in &lines {
            assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte >= 0x80), "{line:?}");
            if form == "json" {
                let line: Value = serde_json::from_str(line).unwrap();
                assert_eq!(line.as_object().unwrap()["pool"], "web");
            } else {
                assert!(line.is_ascii(), "{line:?}");
                assert!(!line.contains("a\" 200"), "{line:?}");
            }
        }
    }
}

#[test]
fn a_template_that_is_none_is_refused_with_what_would_be_right() {
    for (key, wrong) in [
        ("access = \"on\"", "config.toml:3: pool.web.access: \"on\" is neither \"off\", \"combined\" nor \"json\""),
        ("access = \"{ip}\"", "config.toml:3: pool.web.access: there is no field {ip}: there are client, time, "),
        ("access = \"{status\"", "config.toml:3: pool.web.access: a \"{\" stands alone"),
        (
            "access = \"json\"\naccess_file = \"x\"",
            "config.toml:4: pool.web.access_file: \"x\" is not an absolute path",
        ),
        ("access = \"json\"\naccess_file = \"/none/x\"", "config.toml:4: pool.web.access_file: /none cannot be used"),
        ("access = \"json\"\naccess_skip = [\"x\"]", "config.toml:4: pool.web.access_skip: \"x\" is not a path"),
        (
            "access_file = \"/tmp/access\"",
            "config.toml:3: pool.web.access_file: needs access, or there is no line: write for example access = \"combined\"",
        ),
        (
            "access = \"off\"\naccess_skip = [\"/ok\"]",
            "config.toml:4: pool.web.access_skip: needs access, or there is no line",
        ),
        ("log_query = \"some\"", "config.toml:3: pool.web.log_query: "),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, format!("[pool.web]\nlisten = [\"127.0.0.1:0\"]\n{key}\n")).unwrap();
        let output = crate::harness::ratoon(&["check", "--config", path.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(wrong), "{key}: {said}");
    }
}

/// Nobody is killed who comes back after his deadline, however long that takes.
const PATIENT: &str = "request_timeout = \"300ms\"\nkill_grace = \"1h\"";

/// "One line for killed requests too", with what their client was answered and the cause.
#[test]
fn a_request_that_dies_with_its_worker_has_one_line_with_its_status_and_cause() {
    let lines_of = "request_timeout = \"300ms\"\nkill_grace = \"3s\"\nboot_timeout = \"30s\"";
    let (ratoon, file) = with("json", lines_of);
    assert_eq!(get(ratoon.address(), "/abort").status, 500);
    assert_eq!(get(ratoon.address(), "/spin").status, 504);
    let killed = |word: &str| {
        let (mut client, pid) = ratoon.engage(ratoon.address(), word);
        kill(pid, Signal::SIGKILL).unwrap();
        client.set_patience(SOON);
        assert!(client.try_response().is_err(), "it is told nothing");
    };
    eventually("a worker serves again", SOON, || (ratoon.all_logged("ready", &[]).len() == 3).then_some(()));
    // Not for its deadline, however long it takes until it is killed.
    killed("extended:60000");
    // One that outlives its deadline and comes back has its line from the worker itself.
    let (patient, its) = with("json", PATIENT);
    assert_eq!(get(patient.address(), "/await:go").status, 504);
    std::fs::write(patient.directory().join("go"), "").unwrap();
    let lines = [lines(&file, 3), lines(&its, 1)].concat();
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |line: &Value| json!([line["target"], line["status"], line["cause"], line["client"], line["worker"]]);
    let all: Vec<Value> = lines.iter().map(said).collect();
    assert_eq!(all[0], json!(["/abort", 500, "signal SIGABRT", "127.0.0.1", 0]));
    assert_eq!(all[1], json!(["/spin", 504, "request timeout", "127.0.0.1", 0]));
    assert_eq!(all[2], json!(["/extended:60000", 502, "killed from outside", "127.0.0.1", 0]));
    assert_eq!(all[3], json!(["/await:go", 504, "request timeout", "127.0.0.1", 0]));
    assert!(lines[1]["duration"].as_f64().unwrap() >= 0.3);
}

/// "`bytes` are those written for the response", by whomever: the handler, the worker that refuses, its last words.
#[test]
fn the_bytes_of_a_line_are_those_that_its_client_has_read_whoever_has_written_them() {
    let (ratoon, file) =
        with("json", "request_timeout = \"300ms\"\nkill_grace = \"3s\"\nboot_timeout = \"30s\"\nmax_header = \"1KiB\"");
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(2000));
    let big = "Host: shop.test\r\nUser-Agent: curl/8\r\nReferer: http://r/?s=1\r\nExpect: 100-continue\r\n";
    let requests = [
        (200, "GET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned()),
        (400, "GET /bad HTTP/1.1\r\n\r\n".into()),
        (400, "HEAD /bad HTTP/1.1\r\n\r\n".into()),
        (414, long),
        (413, format!("POST /a HTTP/1.1\r\n{big}Content-Length: 90000000\r\n\r\n")),
        (413, format!("POST /b HTTP/1.1\r\n{big}Transfer-Encoding: chunked\r\n\r\n5F5E100\r\n")),
        (500, "GET /abort HTTP/1.1\r\nHost: x\r\n\r\n".into()),
        (504, "GET /spin HTTP/1.1\r\nHost: x\r\n\r\n".into()),
        (504, "HEAD /spin HTTP/1.1\r\nHost: x\r\n\r\n".into()),
    ];
    let is_right = |ratoon: &Ratoon, file: &PathBuf, place: usize, status: u16, request: &str| {
        let mut client = Client::connect(ratoon.address());
        client.send(request.as_bytes());
        client.finish();
        let answer = client.rest();
        std::fs::write(ratoon.directory().join("go"), "").unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        // What goes before the response itself is not of it.
        let response = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {text}");
        let line: Value = serde_json::from_str(&lines(file, place + 1)[place]).unwrap();
        assert_eq!(json!([line["status"], line["bytes"]]), json!([status, response.len()]), "{request}: {line}");
        // The headers of a head that was whole are known, where not what followed at once was wrong, and only they.
        let expected = if request.contains(" /a ") {
            json!(["shop.test", "curl/8", "http://r/?s=1"])
        } else {
            json!([null, null, null])
        };
        if !matches!(status, 200 | 504) {
            assert_eq!(json!([line["host"], line["user_agent"], line["referer"]]), expected, "{line}");
        }
        if matches!(status, 400..500) {
            assert_eq!(json!([line["cause"], line["request_id"]]), json!(["refused", null]), "{line}");
        }
    };
    for (place, (status, request)) in requests.iter().enumerate() {
        is_right(&ratoon, &file, place, *status, request);
    }
    // It outlives its deadline: its line is from the worker itself.
    let (patient, its) = with("json", PATIENT);
    is_right(&patient, &its, 0, 504, "GET /await:go HTTP/1.1\r\nHost: x\r\n\r\n");
}

/// "… for killed requests too": what was answered and had not left, from memory and from a reader.
#[test]
fn a_response_that_was_still_leaving_when_its_worker_died_has_a_line() {
    let (ratoon, file) = with("json", "access_skip = [\"/echo:1\"]");
    let worker = ratoon.ready_workers("web", 1)[0];
    let body = vec![b'x'; 7 << 20];
    let [_unread, _skipped, mut late] = [0, 1, 2].map(|word| {
        let mut client = Client::connect(ratoon.address());
        let head = format!("POST /echo:{word} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send(head.as_bytes());
        client.send(&body);
        client
    });
    let requests = || ratoon.status_of("web")["processes"][0]["requests"].as_u64();
    eventually("all are answered", SOON, || (requests() == Some(3)).then_some(()));
    // It has a turn only when they have had theirs.
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    // One that has left after all has its line from the worker, and no other.
    assert_eq!(late.response().body.len(), body.len());
    lines(&file, 2);
    let mut reader = Client::connect(ratoon.address());
    reader.send(b"GET /brittle:90000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    reader.await_response();
    eventually("the reader's has begun, and the worker waits", SOON, || {
        let stat = std::fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
        (requests() == Some(5) && stat.contains(") S ")).then_some(())
    });
    kill(worker, Signal::SIGKILL).unwrap();
    let lines: Vec<Value> = lines(&file, 4).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |line: &Value| json!([line["target"], line["status"], line["cause"], line["client"], line["pid"]]);
    let all: Vec<Value> = lines.iter().map(said).collect();
    let (pid, cause) = (worker.as_raw(), "killed from outside");
    // Of what was still leaving, as much as the kernel had taken: not all, and more than nothing.
    let written = |line: &Value| line["bytes"].as_u64().unwrap();
    assert!(lines[1..].iter().all(|line| written(line) > 1000), "{lines:?}");
    assert!(written(&lines[2]) < 7 << 20 && written(&lines[3]) < 90_000_000, "{lines:?}");
    assert_eq!(all[0], json!(["/ok", 200, null, "127.0.0.1", pid]));
    assert_eq!(all[1], json!(["/echo:2", 200, null, "127.0.0.1", pid]));
    assert_eq!(all[2], json!(["/echo:0", 200, cause, "127.0.0.1", pid]));
    assert_eq!(all[3], json!(["/brittle:90000000", 200, cause, "127.0.0.1", pid]));
    assert_eq!(ratoon.status_of("web")["log_lines_lost"], 0);
}

#[test]
fn paths_that_are_skipped_have_no_line() {
    let (ratoon, file) = with("{target}", "access_skip = [\"/ok\", \"/sleep*\"]");
    for path in ["/ok", "/ok?x", "/sleep:0", "/print:stdout:x"] {
        assert_eq!(get(ratoon.address(), path).status, 200);
    }
    assert_eq!(lines(&file, 1), ["/print:stdout:x"]);
}

/// "… in logs and status, which may hold secrets."
#[test]
fn of_a_query_no_more_is_shown_than_is_allowed_neither_in_a_log_nor_in_the_status() {
    for (shown, expected) in [("keys", "/sleep:3000?token="), ("none", "/sleep:3000")] {
        let more =
            format!("log_query = \"{shown}\"\nrequest_timeout = \"400ms\"\nkill_grace = \"10s\"\nslow_log = \"100ms\"");
        let (ratoon, file) = with("combined", &more);
        let mut client = Client::connect(ratoon.address());
        client.send(b"GET /sleep:3000?token=geheim HTTP/1.1\r\nHost: x\r\nReferer: http://r/?k=geheim\r\n\r\n");
        let line = eventually("the status shows it", SOON, || {
            ratoon.status_of("web")["processes"][0]["request_line"]
                .as_str()
                .filter(|line| line.contains("sleep"))
                .map(str::to_owned)
        });
        assert_eq!(line, format!("GET {expected} HTTP/1.1"));
        assert_eq!(client.response().status, 504);
        ratoon.logged("last words", &[]);
        ratoon.logged("slow request", &[("stage", "handler".into())]);
        let lines = lines(&file, 1);
        assert!(lines[0].contains(&format!("\"GET {expected} HTTP/1.1\" 504")), "{lines:?}");
        assert!(!lines[0].contains("geheim") && !ratoon.text().contains("geheim"), "{lines:?}\n{}", ratoon.text());
    }
}

/// The same of a line that is malformed: what may be a part of the query is treated as one.
#[test]
fn of_a_malformed_request_line_no_more_of_a_query_is_shown_than_of_another() {
    for (shown, expected) in [("keys", ["/ok?token=", "/ok"]), ("none", ["/ok"; 2])] {
        let (ratoon, file) = with("json", &format!("log_query = \"{shown}\""));
        for line in ["GET /ok?token=a HTTP/geheim", "GET /ok HTTP/geheim", "GET /ok?token=a b=geheim", "GET /ok#geheim"]
        {
            assert_eq!(raw(&ratoon, format!("{line}\r\nHost: x\r\n\r\n").as_bytes()), 400);
        }
        let lines = lines(&file, 4);
        assert!(!lines.concat().contains("geheim") && !ratoon.text().contains("geheim"), "{lines:?}");
        for (line, expected) in lines.iter().zip([expected[0], expected[1], expected[0], expected[1]]) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(json!([line["target"], line["protocol"]]), json!([expected, null]));
        }
    }
}

/// Longer than what is slow in these tests, and than anything else takes that a request does here.
const SLOW: std::time::Duration = std::time::Duration::from_secs(2);

#[test]
fn a_slow_request_is_named_with_the_stage_that_took_its_time() {
    let pool = fixture::pool("web", "workers = 1\nslow_log = \"1s\"\nlog_query = \"full\"");
    let ratoon = Ratoon::serving(&pool);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    let mut client = Client::connect(ratoon.address());
    client.send(b"GET /ok HTTP/1.1\r\nHost: x");
    std::thread::sleep(SLOW);
    client.send(b"\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let line = ratoon.logged("slow request", &[("stage", "head".into())]);
    assert_eq!((&line["request"], &line["status"]), (&json!("GET /ok HTTP/1.1"), &json!(200)));
    client.send(b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na");
    std::thread::sleep(SLOW);
    client.send(b"b");
    assert_eq!(client.response().status, 200);
    ratoon.logged("slow request", &[("stage", "body".into())]);
    assert_eq!(get(ratoon.address(), "/sleep:2000").status, 200);
    ratoon.logged("slow request", &[("stage", "handler".into()), ("request", "GET /sleep:2000 HTTP/1.1".into())]);
    assert_eq!(ratoon.all_logged("slow request", &[]).len(), 3);
}

#[test]
fn by_default_there_is_neither_an_access_log_nor_a_slow_log() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1"));
    let before = ratoon.lines().len();
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    ratoon.signal(Signal::SIGUSR1);
    ratoon.logged("standard error is no file: there is nothing to open anew", &[]);
    assert_eq!(ratoon.lines().len(), before + 1);
}
