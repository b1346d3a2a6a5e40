use std::rc::Rc;

use super::*;
use crate::database::lease::Lobby;
use crate::protocol::Secret;
use crate::scoreboard::{DatabaseReading, Scoreboard};
use crate::sys::shared::Shared;

#[test]
fn a_request_past_its_deadline_is_told_so_and_costs_neither_an_attempt_nor_the_next_request_a_pause() {
    let scoreboard: Rc<Shared<Scoreboard>> = Rc::new(Shared::create("test").unwrap());
    scoreboard.set_slots(1);
    let lobby = Lobby::new("test", 1).unwrap();
    let rules = protocol::DatabaseRules::at(Secret::new("postgres://shop@127.0.0.1:1/shop"));
    let desk = Desk::new(lobby, 0, 1);
    let mut database = Database::new(rules, desk, Deadline::of(Rc::clone(&scoreboard), 0)).unwrap();
    let cell = scoreboard.cell(0).unwrap();
    cell.begin(1, 2, b"GET / HTTP/1.1");
    assert!(database.acquire().map(drop).unwrap_err().is_late());
    assert_eq!(scoreboard.database(), DatabaseReading::default());
    cell.begin(clock::now(), u64::MAX, b"GET / HTTP/1.1");
    assert!(database.acquire().map(drop).unwrap_err().is_unavailable());
    assert_eq!(scoreboard.database().failures, 1);
}
