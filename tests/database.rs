//! Promised: "a database connection that is never stale", and what the configuration of one may give away: nothing.

mod by_hand;
mod clean;
mod client;
mod down;
mod fresh;
mod harmless;
mod hosts;
mod leasing;
mod managers;
mod network;
mod pgbouncer;
mod retry;
mod secrets;
mod status;
mod tls;
mod users;

use std::net::SocketAddr;

use crate::harness::{Client, Response};

/// The answer to this SQL, by the fixture's `/sql`: 200 and its rows, or what failed.
#[track_caller]
fn sql(address: SocketAddr, text: &str) -> Response {
    post(address, "/sql", text)
}

/// The answer to a request with this body.
#[track_caller]
fn post(address: SocketAddr, target: &str, body: &str) -> Response {
    let mut client = Client::connect(address);
    let length = body.len();
    client.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
    client.response()
}
