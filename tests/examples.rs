//! Promised: "examples/ holds applications a reader can start from". As their own configurations have them run.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Client, Postgres, Ratoon, Response, SOON, Stop, application, eventually, get, root};

/// `examples/notes`, as its README has it run.
#[track_caller]
fn notes(postgres: &Postgres) -> Ratoon {
    let shipped = std::fs::read_to_string(root().join("examples/notes/config.toml")).unwrap();
    let config = shipped
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9180", "127.0.0.1:0")
        .replace("target/release/notes", application("notes").to_str().unwrap())
        .replace("examples/notes/schema.sql", root().join("examples/notes/schema.sql").to_str().unwrap());
    let ratoon = Ratoon::start_with(&config, |command| {
        command.env("DATABASE_URL", postgres.url());
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    ratoon
}

/// Sends a request with this body.
#[track_caller]
fn send(ratoon: &Ratoon, request: &str, body: &str) -> Response {
    let mut client = Client::connect(ratoon.address());
    let length = body.len();
    client.send(format!("{request} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
    client.response()
}

#[track_caller]
fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn notes_are_written_by_people_and_programs_and_shown_to_both() {
    let postgres = Postgres::start();
    let ratoon = notes(&postgres);
    assert!(get(ratoon.address(), "/").text().contains("Nothing is written yet."));

    let written = send(&ratoon, "POST /", "text=milk+%3Cb%3E%26+bread");
    assert_eq!((written.status, written.header("location")), (303, Some("/")));
    let page = get(ratoon.address(), "/");
    assert!(page.text().contains("milk &lt;b&gt;&amp; bread"), "{}", page.text());

    let answer = send(&ratoon, "POST /api/notes", &json!({ "text": " eggs " }).to_string());
    let written = json_of(&answer);
    assert_eq!((answer.status, &written["text"]), (201, &json!("eggs")));
    let list = json_of(&get(ratoon.address(), "/api/notes"));
    let texts: Vec<&Value> = list.as_array().unwrap().iter().map(|note| &note["text"]).collect();
    assert_eq!(texts, [&json!("eggs"), &json!("milk <b>& bread")]);

    let place = format!("/api/notes/{}", written["id"]);
    assert_eq!(json_of(&get(ratoon.address(), &place)), written);
    assert_eq!(send(&ratoon, &format!("DELETE {place}"), "").status, 204);
    assert_eq!(send(&ratoon, &format!("DELETE {place}"), "").status, 404);
    assert_eq!(get(ratoon.address(), &place).status, 404);
    assert_eq!(postgres.query("select count(*) from notes"), "1");
}

/// "What the application counts", as its README shows it.
#[test]
fn notes_counts_what_is_written() {
    let postgres = Postgres::start();
    let ratoon = notes(&postgres);
    assert_eq!(send(&ratoon, "POST /", "text=milk").status, 303);
    assert_eq!(send(&ratoon, "POST /api/notes", &json!({ "text": "twelve eggs" }).to_string()).status, 201);
    assert_eq!(send(&ratoon, "POST /", "text=+").status, 400);
    let (begun, mut text) = (Instant::now(), String::new());
    let lines = [
        "notes_written_total{pool=\"web\"} 2\n",
        "notes_length_chars_bucket{pool=\"web\",le=\"10.0\"} 1\n",
        "notes_length_chars_sum{pool=\"web\"} 15.0\n",
    ];
    while !lines.iter().all(|line| text.contains(line)) {
        assert!(begun.elapsed() < SOON, "{text}");
        text = get(ratoon.admin(), "/metrics").text();
    }
}

#[test]
fn notes_refuses_what_it_cannot_do() {
    let postgres = Postgres::start();
    let ratoon = notes(&postgres);
    for (request, body, expected) in [
        ("GET /nowhere", "", 404),
        ("GET /api/notes/one", "", 404),
        ("PUT /api/notes", "", 405),
        ("PUT /api/notes/1", "", 405),
        ("DELETE /", "", 405),
        ("POST /", "text=+", 400),
        ("POST /", "note=x", 400),
        ("POST /", "text=a%00b", 400),
        ("POST /api/notes", "text=x", 400),
        ("POST /api/notes", "{\"text\": \"\"}", 400),
    ] {
        let refused = send(&ratoon, request, body);
        assert_eq!(refused.status, expected, "{request} {body}");
        assert_eq!(refused.header("allow").is_some(), expected == 405, "{request}");
    }
    assert_eq!(postgres.query("select count(*) from notes"), "0");
}

#[test]
fn notes_survives_a_restart_of_its_database_and_says_503_in_between() {
    let mut postgres = Postgres::start();
    let ratoon = notes(&postgres);
    assert_eq!(send(&ratoon, "POST /", "text=before").status, 303);
    postgres.stop(Stop::Fast);
    assert_eq!(get(ratoon.address(), "/").status, 503);
    postgres.start_again();
    eventually("the page is there again", SOON, || (get(ratoon.address(), "/").status == 200).then_some(()));
    // Sixteen in a row, so that every worker has its turn; none is served a connection that is dead.
    assert!(postgres.terminate_all() > 0);
    for _ in 0..16 {
        assert_eq!(send(&ratoon, "POST /", "text=after").status, 303);
    }
    assert_eq!(postgres.query("select count(*) from notes"), "17");
}
