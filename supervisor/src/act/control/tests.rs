//! The control socket over real sockets, with a clock that the test moves.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;

use super::*;
use crate::control::Status;
use crate::control::status::{Phase, Reloads};

struct Bench {
    control: Control,
    outer: Epoll,
    now: Time,
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let control = Control::open(&directory.path().join("control.sock")).unwrap();
        let outer = Epoll::new(EpollCreateFlags::empty()).unwrap();
        outer.add(&control, EpollEvent::new(EpollFlags::EPOLLIN, 7)).unwrap();
        Bench { control, outer, now: Time(1_000_000_000), directory }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.directory.path().join("control.sock")).unwrap()
    }

    fn send(&self, bytes: &[u8]) -> UnixStream {
        let mut client = self.connect();
        client.write_all(bytes).unwrap();
        client
    }

    /// Whether the supervisor's loop is woken.
    fn calls(&self) -> bool {
        let mut found = [EpollEvent::empty(); 1];
        self.outer.wait(&mut found, EpollTimeout::ZERO).unwrap() == 1 && found[0].data() == 7
    }

    /// Serves for as long as there is something to do; it must come to an end.
    fn serve(&mut self) -> Vec<(ClientId, Ask)> {
        let mut asked = Vec::new();
        for _ in 0..1000 {
            if !self.calls() {
                return asked;
            }
            asked.extend(self.control.serve(self.now));
        }
        panic!("it spins");
    }

    fn ask(&mut self, bytes: &[u8]) -> (UnixStream, ClientId) {
        let client = self.send(bytes);
        let asked = self.serve();
        assert_eq!(asked.len(), 1);
        (client, asked[0].0)
    }
}

/// Everything that is said until the supervisor hangs up.
fn told(client: &UnixStream) -> Vec<Answer> {
    let lines = BufReader::new(client).lines();
    lines.map_while(Result::ok).map(|line| Answer::read(line.as_bytes()).unwrap()).collect()
}

#[track_caller]
fn assert_refused(client: &UnixStream, why: &str) {
    match &told(client)[..] {
        [Answer::Refused(reason)] if reason.contains(why) => {}
        other => panic!("not refused for {why:?}: {other:?}"),
    }
}

const STATUS: &[u8] = b"{\"version\":1,\"ask\":\"status\"}\n";

/// Longer than a socket's buffers.
fn long() -> Answer {
    let version = "x".repeat(4 << 20);
    let (pid, start_time, start_since_ms) = (1, 2, 3);
    let (state, last_reload, pools) = (Phase::Serving, None, Vec::new());
    Answer::Status(Box::new(Status {
        version,
        time_ms: 0,
        pid,
        start_time,
        start_since_ms,
        state,
        reload_stage: None,
        last_reload,
        log_lines_lost: 0,
        reloads: Reloads::default(),
        upgrades: 0,
        admin_deaths: 0,
        pools,
    }))
}

#[test]
fn a_question_is_given_out_and_its_answers_are_sent_until_the_last() {
    let mut bench = Bench::new();
    assert!(!bench.calls());
    let client = bench.send(b"{\"ask\":\"reload\",\"pools\":[\"web\"]}\n");
    let asked = bench.serve();
    assert_eq!(asked[0].1, Ask::Reload { pools: vec!["web".into()] });
    let answers = [Answer::Progress("loading".into()), Answer::Done("loaded".into())];
    for answer in &answers {
        bench.control.answer(asked[0].0, answer, bench.now);
    }
    assert_eq!(told(&client), answers);
    assert!(bench.control.clients.is_empty());
    bench.control.answer(asked[0].0, &answers[0], bench.now);
    assert!(!bench.calls());
}

#[test]
fn a_question_may_come_byte_by_byte_and_end_with_the_stream() {
    let mut bench = Bench::new();
    let mut client = bench.connect();
    for byte in &STATUS[..STATUS.len() - 1] {
        client.write_all(&[*byte]).unwrap();
        assert_eq!(bench.serve(), []);
    }
    client.shutdown(Shutdown::Write).unwrap();
    let asked = bench.serve();
    assert_eq!(asked[0].1, Ask::Status);
    bench.control.answer(asked[0].0, &Answer::Done(String::new()), bench.now);
    assert_eq!(told(&client), [Answer::Done(String::new())]);
}

#[test]
fn nonsense_is_refused_with_a_reason() {
    let mut bench = Bench::new();
    for (sent, why) in [
        (&b"hello\n"[..], "this is no question"),
        (b"\n", "this is no question"),
        (b"{\"ask\":\"dance\"}\n", "unknown variant `dance`"),
        (&[b'x'; LONGEST + 1], "at most 65536 bytes"),
    ] {
        let client = bench.send(sent);
        assert_eq!(bench.serve(), []);
        assert_refused(&client, why);
    }
    assert!(bench.control.clients.is_empty());
}

#[test]
fn who_asks_nothing_is_refused_in_time_and_who_waits_for_us_is_not() {
    let mut bench = Bench::new();
    let (mut waiting, id) = bench.ask(STATUS);
    assert_eq!(bench.control.wake_at(), None);
    let silent = bench.connect();
    assert_eq!(bench.serve(), []);
    let late = bench.now.after(PATIENCE);
    assert_eq!(bench.control.wake_at(), Some(late));

    assert_eq!(bench.control.serve(Time(late.0 - 1)), []);
    assert_eq!(bench.control.clients.len(), 2);
    assert_eq!(bench.control.serve(late), []);
    assert_refused(&silent, "no question came within 5 s");

    bench.control.answer(id, &Answer::Done("at last".into()), late.after(PATIENCE));
    let mut said = String::new();
    waiting.read_to_string(&mut said).unwrap();
    assert_eq!(said, "{\"done\":\"at last\"}\n");
}

#[test]
fn a_long_answer_is_taken_piece_by_piece() {
    let mut bench = Bench::new();
    let (client, id) = bench.ask(STATUS);
    let reader = std::thread::spawn(move || told(&client));
    bench.control.answer(id, &long(), bench.now);
    while !bench.control.clients.is_empty() {
        bench.serve();
    }
    assert_eq!(reader.join().unwrap(), [long()]);
}

#[test]
fn who_does_not_take_the_answer_is_dropped_in_time() {
    let mut bench = Bench::new();
    let (_client, id) = bench.ask(STATUS);
    bench.control.answer(id, &long(), bench.now);
    assert_eq!(bench.serve(), []);
    assert_eq!(bench.control.wake_at(), Some(bench.now.after(PATIENCE)));
    bench.control.serve(bench.now.after(PATIENCE));
    assert!(bench.control.clients.is_empty());
    assert_eq!(bench.control.wake_at(), None);
}

#[test]
fn who_lets_progress_pile_up_is_dropped_before_it_fills_our_memory() {
    let mut bench = Bench::new();
    let (_client, id) = bench.ask(STATUS);
    let progress = Answer::Progress("x".repeat(1 << 10));
    for _ in 0..4096 {
        bench.control.answer(id, &progress, bench.now);
    }
    assert!(bench.control.clients.is_empty());
}

#[test]
fn who_hangs_up_is_forgotten_and_who_half_closes_or_talks_on_is_not() {
    let mut bench = Bench::new();
    let (half, _) = bench.ask(STATUS);
    half.shutdown(Shutdown::Write).unwrap();
    let (mut talking, _) = bench.ask(STATUS);
    talking.write_all(STATUS).unwrap();
    assert_eq!(bench.serve(), []);
    assert_eq!(bench.control.clients.len(), 2);
    drop((half, talking));
    bench.serve();
    assert!(bench.control.clients.is_empty());
}

#[test]
fn there_are_never_more_clients_than_are_wanted() {
    let mut bench = Bench::new();
    let mut clients = Vec::new();
    for _ in 0..MOST {
        clients.push(bench.connect());
        bench.serve();
    }
    let one_more = bench.connect();
    bench.serve();
    assert_refused(&one_more, "64 others are being answered: try again later");
    clients.pop();
    bench.serve();
    bench.ask(STATUS);
}
