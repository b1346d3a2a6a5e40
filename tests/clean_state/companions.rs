//! What the application owns, however late it was opened, is nobody's to close.

use crate::harness::{CONTROL, Client, Ratoon, fixture};

#[test]
fn an_http_client_and_a_sqlite_connection_opened_late_still_work_in_request_1000() {
    let peer = "[pool.peer]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n";
    let web = fixture::pool("web", "workers = 1\nreset_check = 1\nreset = \"recycle\"");
    let ratoon = Ratoon::serving(&format!("{CONTROL}{web}{peer}"));
    let port = ratoon.address_of("peer").port();
    let mut client = Client::connect(ratoon.address());
    let pid = client.get("/ok").text();
    for number in 1..=1000 {
        let answer = client.get(&format!("/companions:{port}"));
        assert_eq!((answer.status, answer.text()), (200, number.to_string()));
    }
    assert_eq!(client.get("/ok").text(), pid);
    // One connection, from beginning to end.
    let peer = ratoon.status_of("peer");
    assert_eq!((&peer["processes"][0]["connections"], &peer["processes"][0]["requests"]), (&1.into(), &1000.into()));
}
