//! A worker that never reads what it is told, until its channel has no room for another order.

use std::time::Instant;

use nix::unistd::Pid;
use ratoon_worker::channel::Channel;
use ratoon_worker::protocol::Order;

use super::{ANSWERS_WITHIN, MORE, hostile, memory};
use crate::harness::{CONTROL, Client, Door, Ratoon, SOON, Traffic, eventually, fixture, process, ratoon as command};

/// How many sockets come with one reload and go with the next: everybody is told of each that goes.
const SOCKETS: usize = 60;
/// How often.
const ROUNDS: usize = 6;

/// A pool of the hostile application, with all the sockets or without, beside one of honest workers.
fn config(with_all: bool) -> String {
    let program = hostile();
    let more = (0..SOCKETS).filter(|_| with_all).map(|number| format!(", \"unix:DIR/{number}\""));
    let listen = "\"127.0.0.1:0\"".to_owned() + &more.collect::<String>();
    let times = "settle = \"0s\"\nsurge = \"100%\"\nrequest_timeout = \"1000s\"\nstop_timeout = \"25s\"";
    let bad = format!("[pool.bad]\nlisten = [{listen}]\nprogram = [{program:?}]\nworkers = 2\n{times}\n");
    CONTROL.to_owned() + &bad + &fixture::pool("web", "workers = 2\nsettle = \"0s\"")
}

/// How many orders a channel holds that nobody reads.
fn room() -> usize {
    let (ours, _theirs) = Channel::pair().unwrap();
    (0..).take_while(|_| ours.send(&Order::Close { listener: 1 }, &[]).is_ok()).count()
}

/// "The supervisor never blocks, and allocates bounded memory": whoever does not listen is not waited for, and killed when
/// its time is over.
#[test]
fn a_worker_that_never_reads_its_orders_holds_up_nobody_and_is_killed_in_the_end() {
    assert!(room() < SOCKETS * ROUNDS, "there is room for {} orders", room());
    let ratoon = Ratoon::serving(&config(false));
    ratoon.ready_workers("bad", 2);
    let mut client = Client::connect(ratoon.address_of("bad"));
    client.send(b"GET /deaf:900000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let deaf = eventually("a worker is deaf", SOON, || {
        let pool = ratoon.status_of("bad");
        let busy = pool["processes"].as_array().unwrap().iter().find(|each| each["state"] == "busy")?;
        busy["pid"].as_i64()
    });
    let socket = ratoon.directory().join("control.sock");
    let asked = |words: &[&str]| {
        let output = command(&[words, &["--socket", socket.to_str().unwrap()]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}\n{}", ratoon.text());
        let begun = Instant::now();
        ratoon.status();
        assert!(begun.elapsed() < ANSWERS_WITHIN, "the status took {:?} after {words:?}", begun.elapsed());
    };
    let traffic = Traffic::begin(&[Door::Tcp(ratoon.address_of("web"))], 1, &["ok"]);
    // One round to have what such a configuration takes.
    let round = |size: &str| {
        for with_all in [true, false] {
            ratoon.configure(&config(with_all));
            asked(&["reload"]);
        }
        asked(&["restart", "bad"]);
        asked(&["scale", "bad", size]);
    };
    round("3");
    let before = memory(&ratoon);
    (1..ROUNDS).for_each(|number| round(if number % 2 == 0 { "3" } else { "2" }));
    let after = memory(&ratoon);
    eprintln!("{before} KiB after the first round, {after} KiB after {ROUNDS}");
    assert!(after <= before + MORE, "{before} KiB before, {after} KiB after");
    traffic.ends_without_a_loss();

    let died = eventually("its time is over", 3 * SOON, || ratoon.all_logged("died", &[("pid", deaf.into())]).pop());
    assert_eq!(died["cause"], "stop timeout");
    assert!(client.try_response().is_err(), "it is told nothing");
    eventually("others serve in its place", SOON, || (ratoon.status_of("bad")["idle_processes"] == 2).then_some(()));
    assert!(!process::is_alive(Pid::from_raw(deaf as i32)));
}
