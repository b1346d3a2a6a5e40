//! Promised: "clean state for every request": what a handler spoils the next request on the same worker does not see,
//! what it defers runs after its answer, what it leaks is named, and a panic costs its worker and nobody's request.

mod companions;
mod deferred;
mod leaks;
mod panics;
mod spoilt;

use serde_json::Value;

use crate::harness::{CONTROL, Client, Ratoon, fixture};

const NOBODY: [Value; 0] = [];

/// A pool of one worker.
#[track_caller]
fn serving(lines: &str) -> Ratoon {
    Ratoon::serving(&format!("{CONTROL}{}", fixture::pool("web", &format!("workers = 1\n{lines}"))))
}

/// What a request finds.
#[track_caller]
fn soil(client: &mut Client) -> Value {
    let answer = client.get("/soil");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}
