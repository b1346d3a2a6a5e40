//! Promised: "no client ever sees a closed keep-alive connection because a worker is replaced": connections that are
//! between requests change hands, with all that has arrived of the next request and all that has passed of its time.

mod bounded;
mod inbox;
mod late;
mod retiring;
mod sharing;
mod slow;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::Pid;
use ratoon_worker::scoreboard::{Reading, Scoreboard};
use ratoon_worker::sys::shared::Shared;

use crate::harness::{Client, Door, Ratoon};

/// How many requests each worker has answered.
type Shares = Mutex<BTreeMap<i64, u64>>;

/// Asks over one connection until it is over, or `most` times: every answer is there, and none says that the connection
/// ends. Counts who gave it.
#[track_caller]
fn ask_over_one_connection(door: &Door, most: u64, over: &AtomicBool, shares: &Shares) {
    let mut client = door.connect().unwrap();
    for number in 0..most {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let answer = client.try_get("/whoami").unwrap_or_else(|error| panic!("request {number} is lost: {error}"));
        assert_eq!((answer.status, answer.header("connection")), (200, None));
        count(&answer, shares);
    }
}

/// The same with a connection for each request, which the server may end.
#[track_caller]
fn ask_over_new_connections(door: &Door, most: u64, over: &AtomicBool, shares: &Shares) {
    for number in 0..most {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let asked = door.connect().and_then(|mut client| client.try_get("/whoami"));
        let answer = asked.unwrap_or_else(|error| panic!("request {number} is lost: {error}"));
        assert_eq!(answer.status, 200);
        count(&answer, shares);
    }
}

fn count(answer: &crate::harness::Response, shares: &Shares) {
    *shares.lock().unwrap().entry(answer.json()["pid"].as_i64().unwrap()).or_default() += 1;
}

/// Who answers over this connection.
#[track_caller]
fn server_of(client: &mut Client) -> Pid {
    pid_in(client.try_get("/whoami")).unwrap()
}

fn pid_in(answer: io::Result<crate::harness::Response>) -> io::Result<Pid> {
    Ok(Pid::from_raw(answer?.json()["pid"].as_i64().unwrap() as i32))
}

/// What the pool's slots say, added up by `field`.
#[track_caller]
fn counted(ratoon: &Ratoon, field: impl Fn(&Reading) -> u64) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{}/fd", ratoon.pid())).unwrap().flatten().map(|entry| entry.path());
    let is_it = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|link| link.to_string_lossy().starts_with("/memfd:ratoon-web"))
    };
    let path = open.into_iter().find(is_it).expect("the supervisor has the scoreboard");
    let file = File::options().read(true).write(true).open(path).unwrap();
    let scoreboard: Shared<Scoreboard> = Shared::open(file.into()).unwrap();
    (0..scoreboard.slots() as u32).filter_map(|slot| scoreboard.cell(slot)).map(|cell| field(&cell.read())).sum()
}
