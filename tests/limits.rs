//! Promised: "every limit has a default, and what exceeds it is told so". Sizes first, then time, then room.

mod room;
mod size;
mod time;

use std::time::Duration;

use crate::harness::Client;

/// One response with this status, the end of the connection, and nothing else.
#[track_caller]
fn is_refused(client: &mut Client, status: u16) {
    client.set_patience(Duration::from_secs(20));
    let response = client.response();
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(client.until_closed().as_deref(), Some(&b""[..]), "the connection ends here");
}
