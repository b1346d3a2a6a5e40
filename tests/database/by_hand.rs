//! A program run by hand, without a supervisor, has the database that its environment names.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::harness::{Client, Postgres, fixture};

/// Gone with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The fixture with this database, and where it listens.
#[track_caller]
fn run(url: &str) -> (Killed, SocketAddr) {
    let mut command = Command::new(fixture::program());
    command.env("RATOON_LISTEN", "127.0.0.1:0").env("RATOON_DATABASE_URL", url);
    let mut process = Killed(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.by_ref().find_map(|line| {
        let (_, rest) = line.split_once("http://")?;
        rest.split(|c: char| !(c.is_ascii_digit() || ".:".contains(c))).next()?.parse().ok()
    });
    // What else it says is read, or it would have nowhere to say it.
    std::thread::spawn(move || lines.for_each(drop));
    (process, address.expect("the program says where it listens"))
}

#[test]
fn a_program_run_by_hand_has_a_connection_as_fresh_and_clean_as_under_a_supervisor() {
    let postgres = Postgres::start();
    let (_program, address) = run(&postgres.url());
    let mut client = Client::connect(address);
    let backend = client.sql("select pg_backend_pid()");
    client.sql("set work_mem = '77MB'");
    assert_eq!(client.sql("show work_mem"), "4MB");
    assert_eq!(client.sql("select pg_backend_pid()"), backend);
    postgres.terminate_all();
    assert_ne!(client.sql("select pg_backend_pid()"), backend);
}

#[test]
fn and_without_a_server_a_503() {
    let (_program, address) = run("postgres://nobody@127.0.0.1:1/nothing");
    assert_eq!(Client::connect(address).ask("sql", "select 1").status, 503);
}
