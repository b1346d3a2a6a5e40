//! What a request is told that gets no connection, and what is counted of it.

use std::rc::Rc;

use super::*;
use crate::database::lease::Lobby;
use crate::protocol::Secret;
use crate::scoreboard::{DatabaseReading, Scoreboard};
use crate::sys::shared::Shared;

fn scoreboard() -> Rc<Shared<Scoreboard>> {
    let scoreboard: Shared<Scoreboard> = Shared::create("test").unwrap();
    scoreboard.set_slots(1);
    Rc::new(scoreboard)
}

fn database(rules: protocol::DatabaseRules, lobby: Lobby, scoreboard: &Rc<Shared<Scoreboard>>) -> Database {
    Database::new(rules, Desk::new(lobby, 0, 1), Deadline::of(Rc::clone(scoreboard), 0)).unwrap()
}

/// The server has had no time to answer: nothing is known of it.
#[test]
fn a_login_for_which_a_wait_has_left_too_little_time_is_a_wait_in_vain_and_no_outage() {
    let scoreboard = scoreboard();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://shop@{}/shop?sslmode=disable", silent.local_addr().unwrap());
    let rules = protocol::DatabaseRules { connect_timeout: 300, ..protocol::DatabaseRules::at(Secret::new(&url)) };
    let lobby = Lobby::new("test", 1).unwrap();
    let parts = lobby.parts().map(|part| part.try_clone_to_owned().unwrap());
    let mut database = database(rules, lobby, &scoreboard);
    let mut other = Desk::new(Lobby::from_parts(parts).unwrap(), 1, 2);
    let token = other.obtain(u64::MAX).unwrap().token;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !other.promises() {
                std::thread::yield_now();
            }
            other.release(token, None);
        });
        assert!(database.acquire().map(drop).unwrap_err().to_string().contains("became free"));
    });
    let waited = scoreboard.database();
    assert_eq!((waited.exhausted, waited.failures), (1, 0));
    // There is one for the asking, and the time for it.
    assert!(!database.acquire().map(drop).unwrap_err().to_string().contains("became free"));
    assert_eq!(scoreboard.database().failures, 1);
}

#[test]
fn a_request_past_its_deadline_is_told_so_and_costs_neither_an_attempt_nor_the_next_request_a_pause() {
    let scoreboard = scoreboard();
    let rules = protocol::DatabaseRules::at(Secret::new("postgres://shop@127.0.0.1:1/shop"));
    let mut database = database(rules, Lobby::new("test", 1).unwrap(), &scoreboard);
    let cell = scoreboard.cell(0).unwrap();
    cell.begin(1, 2, b"GET / HTTP/1.1");
    assert!(database.acquire().map(drop).unwrap_err().is_late());
    assert_eq!(scoreboard.database(), DatabaseReading::default());
    cell.begin(clock::now(), u64::MAX, b"GET / HTTP/1.1");
    assert!(database.acquire().map(drop).unwrap_err().is_unavailable());
    assert_eq!(scoreboard.database().failures, 1);
}
