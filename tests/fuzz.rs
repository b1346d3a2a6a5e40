//! Promised: "at most one response per request, then in step or closed". Well-formed requests are changed at
//! random and sent in random pieces, followed by one that bears a mark. A reference that shares no code with the
//! server says which requests are in those bytes, and so which responses there must be.

mod mutation;
mod reference;

use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;

use self::reference::{End, Reading, Request};
use crate::harness::{Client, Ratoon};

/// A server that is silent for so long hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest body the server takes, in bytes.
const LONGEST: usize = 64 * 1024;

const CONFIG: &str =
    "[pool.web]\nlisten = [\"127.0.0.1:0\", \"unix:DIR/web.sock\"]\nworkers = 2\nmax_body = \"64KiB\"\n";

#[test]
fn whatever_arrives_there_is_at_most_one_response_per_request_and_then_the_connection_is_in_step_or_closed() {
    fuzz(number("RATOON_FUZZ_ROUNDS").unwrap_or(5000));
}

#[test]
#[ignore = "many times as long"]
fn whatever_arrives_for_minutes_there_is_at_most_one_response_per_request() {
    fuzz(number("RATOON_FUZZ_ROUNDS").unwrap_or(200_000));
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Every round has a seed of its own: `RATOON_SEED=… RATOON_FUZZ_ROUNDS=1` repeats the one that failed.
fn fuzz(rounds: u64) {
    let first = number("RATOON_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
    eprintln!("RATOON_SEED={first}, {rounds} rounds");
    let ratoon = Ratoon::serving(CONFIG);
    let workers = ratoon.ready_workers("web", 2);
    for seed in first..first + rounds {
        if let Err(why) = round(&ratoon, seed) {
            panic!("RATOON_SEED={seed} RATOON_FUZZ_ROUNDS=1: {why}");
        }
    }
    assert_eq!(ratoon.workers("web"), workers, "a worker died");
    assert!(!ratoon.text().contains("panicked"), "{}", ratoon.text());
}

fn round(ratoon: &Ratoon, seed: u64) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let requests = mutation::requests(&mut rng);
    let mut stream = mutation::mutate(&mut rng, requests);
    let last = if rng.bool() { "Connection: close\r\n" } else { "" };
    stream.extend_from_slice(format!("GET /headers?mark={seed} HTTP/1.1\r\nHost: a\r\n{last}\r\n").as_bytes());
    let reading = reference::read(&stream, LONGEST);

    let mut client = match rng.u8(..4) {
        0 => Client::connect_unix(&ratoon.directory().join("web.sock")).unwrap(),
        _ => Client::connect(ratoon.address()),
    };
    client.set_patience(PATIENCE);
    send(&mut rng, &mut client, &stream);
    // Who is told that the connection ends need not say so himself.
    if reading.end != End::Closed || rng.bool() {
        client.finish();
    }
    let told = client.until_closed();
    let shown = || {
        let told = told.as_deref().map_or("nothing in time".into(), |told| told.escape_ascii().to_string());
        format!("\nsent: {}\ntold: {told}\nreference: {reading:?}", stream.escape_ascii())
    };
    let told = told.as_deref().ok_or_else(|| format!("a hang{}", shown()))?;
    judge(&reading, told).map_err(|why| format!("{why}{}", shown()))
}

/// Sends in pieces; a refusal may come before the end.
fn send(rng: &mut Rng, client: &mut Client, mut stream: &[u8]) {
    for _ in 0..rng.usize(..5) {
        let (piece, rest) = stream.split_at(rng.usize(..=stream.len()));
        if client.try_send(piece).is_err() {
            return;
        }
        stream = rest;
        sleep(Duration::from_micros(rng.u64(..300)));
    }
    let _ = client.try_send(stream);
}

/// The responses must be those to the requests, in order; a refusal is the last, and only where there may be one.
fn judge(reading: &Reading, mut told: &[u8]) -> Result<(), String> {
    let mut expected = reading.requests.iter();
    loop {
        let request = expected.next();
        if told.is_empty() {
            let may_end = reading.end == End::Unfinished && request.is_none();
            let all = reading.end != End::Bad && request.is_none();
            return if may_end || all { Ok(()) } else { Err("a response is missing".to_owned()) };
        }
        let answer = Answer::read(&mut told, request.unwrap_or(&reading.broken))?;
        if answer.is_refusal() {
            let may_be = match request {
                Some(request) => request.may_be_refused,
                None => matches!(reading.end, End::Bad | End::Unfinished),
            };
            return match (may_be, told.is_empty()) {
                (true, true) => Ok(()),
                (false, _) => Err(format!("refused with {} what is well-formed", answer.status)),
                (_, false) => Err("more after a refusal".to_owned()),
            };
        }
        match request {
            Some(request) => answer.fits(request)?,
            None => return Err("a response too many".to_owned()),
        }
    }
}

struct Answer<'a> {
    status: u16,
    closes: bool,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The next response in `told`; interim ones are for those who asked for them.
    fn read(told: &mut &'a [u8], request: &Request) -> Result<Answer<'a>, String> {
        if request.expects {
            *told = told.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(told);
        }
        let end = told.windows(4).position(|window| window == b"\r\n\r\n").ok_or("half a response")?;
        let head = String::from_utf8_lossy(&told[..end]).to_ascii_lowercase();
        // RFC 9110, 2.5: to an HTTP/1.0 client, either version will do.
        let status = head.strip_prefix("http/1.1 ").or(head.strip_prefix("http/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or("no status line")?;
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let mut answer = Answer { status, closes: head.contains("\r\nconnection: close"), body: b"" };
        *told = &told[end + 4..];
        // RFC 9110, 9.3.2: no body, and not even its length. What was refused may have been a HEAD, for all we know.
        let has_none = if answer.is_refusal() { told.is_empty() } else { request.method == "HEAD" };
        if !has_none {
            (answer.body, *told) = told.split_at_checked(length.ok_or("no length")?).ok_or("half a body")?;
        }
        Ok(answer)
    }

    /// What the server itself says; the routes that are asked for here never answer so.
    fn is_refusal(&self) -> bool {
        self.closes && matches!(self.status, 400 | 408 | 413 | 414 | 417 | 431 | 501 | 505)
    }

    /// Whether the sample application would answer this request so.
    fn fits(&self, request: &Request) -> Result<(), String> {
        let target = request.target.strip_prefix("http://a.test").unwrap_or(&request.target);
        let path = target.split('?').next().unwrap_or_default();
        let is_get = request.method == "GET";
        let fits = match (path, self.status) {
            ("/echo", 200) => request.method == "HEAD" || self.body == request.body,
            ("/echo", _) => false,
            ("/hello", 200) => request.method == "HEAD" || self.body == b"Hello, world!",
            ("/headers", 200) if is_get => {
                let seen: serde_json::Value = serde_json::from_slice(self.body).unwrap_or_default();
                seen["target"] == request.target.as_str() && seen["method"] == "GET"
            }
            ("/hello" | "/headers", status) => !is_get && (status == 405 || status == 200),
            (_, status) => matches!(status, 200 | 403 | 404 | 405 | 400),
        };
        if fits { Ok(()) } else { Err(format!("{} {} is answered by {}", request.method, target, self.status)) }
    }
}
