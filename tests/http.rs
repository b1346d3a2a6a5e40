//! Promised: "HTTP/1.0 and 1.1, as strict as RFC 9112 asks". Tables of raw bytes and the answer; each is sent
//! whole, byte by byte, and over a Unix socket; what follows a refused request is never taken for another.

mod bodies;
mod conversation;
mod refused;
mod requests;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::Pid;

use self::refused::Refused;
use self::requests::Served;
use crate::harness::{Client, Ratoon, Response};

/// Long enough for any answer on a busy machine; a table's entry that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

const CONFIG: &str =
    "[pool.web]\nlisten = [\"127.0.0.1:0\", \"unix:DIR/web.sock\"]\nworkers = 2\nsettings.faults = true\n";

/// What would be served if a refused request's connection went on; no answer may ever bear its mark.
const SMUGGLED: &[u8] = b"GET /headers?smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server that must end with the workers it began with.
struct Server {
    ratoon: Ratoon,
    workers: Vec<Pid>,
}

impl Server {
    #[track_caller]
    fn new(config: &str) -> Server {
        let ratoon = Ratoon::serving(config);
        let workers = ratoon.ready_workers("web", 2);
        Server { ratoon, workers }
    }

    #[track_caller]
    fn connect(&self) -> Client {
        let mut client = Client::connect(self.ratoon.address());
        client.set_patience(PATIENCE);
        client
    }

    #[track_caller]
    fn connect_unix(&self) -> Client {
        let path: PathBuf = self.ratoon.directory().join("web.sock");
        let mut client = Client::connect_unix(&path).unwrap();
        client.set_patience(PATIENCE);
        client
    }

    /// No worker died and none panicked.
    #[track_caller]
    fn is_whole(&self) {
        assert_eq!(self.ratoon.workers("web"), self.workers, "{}", self.ratoon.text());
        assert!(!self.ratoon.text().contains("panicked"), "{}", self.ratoon.text());
    }
}

/// How the bytes of an entry are sent.
#[derive(Debug, Clone, Copy)]
enum Sending {
    Whole,
    ByteByByte,
    OverUnix,
}

const SENDINGS: [Sending; 3] = [Sending::Whole, Sending::ByteByByte, Sending::OverUnix];

impl Server {
    /// A connection over which the bytes have been sent. That may fail: a refusal does not wait for the rest.
    fn ask(&self, sending: Sending, bytes: &[u8]) -> Client {
        let mut client = match sending {
            Sending::OverUnix => self.connect_unix(),
            Sending::Whole | Sending::ByteByByte => self.connect(),
        };
        match sending {
            Sending::ByteByByte => client.dribble(bytes),
            Sending::Whole | Sending::OverUnix => _ = client.try_send(bytes),
        }
        client
    }
}

#[track_caller]
fn refuses(table: &[Refused]) {
    let server = Server::new(CONFIG);
    for (what, bytes, status) in table {
        for sending in SENDINGS {
            let mut client = server.ask(sending, bytes);
            is_refused(&mut client, *status).unwrap_or_else(|why| panic!("{what} ({sending:?}): {why}"));
        }
        let mut client = server.ask(Sending::Whole, &[bytes, SMUGGLED].concat());
        is_refused(&mut client, *status).unwrap_or_else(|why| panic!("{what}, and another request: {why}"));
    }
    server.is_whole();
}

/// One response with this status that says the connection ends here, and then it does.
fn is_refused(client: &mut Client, status: u16) -> Result<(), String> {
    let response = client.try_response().map_err(|error| format!("no response: {error}"))?;
    if response.status != status {
        return Err(format!("{} instead of {status}: {}", response.status, response.text()));
    }
    if response.header("connection") != Some("close") || response.header("date").is_none() {
        return Err(format!("a refusal closes the connection, and has a date: {response:?}"));
    }
    match client.until_closed() {
        None => Err("the connection stays open".to_owned()),
        Some(rest) if rest.is_empty() => Ok(()),
        Some(rest) => Err(format!("more than one response: {}", String::from_utf8_lossy(&rest))),
    }
}

#[test]
fn a_malformed_request_line_is_refused() {
    refuses(refused::REQUEST_LINES);
}

#[test]
fn a_malformed_header_or_host_is_refused() {
    refuses(refused::HEADERS);
}

#[test]
fn a_request_whose_body_could_be_framed_in_two_ways_or_none_is_refused() {
    refuses(refused::FRAMING);
}

#[test]
fn a_malformed_chunk_or_trailer_is_refused() {
    refuses(refused::CHUNKS);
}

/// Each of the responses, then one more to a request that shows the connection in step.
#[track_caller]
fn serves(table: &[Served], last: &[u8]) {
    let server = Server::new(CONFIG);
    for (what, bytes, statuses) in table {
        for sending in SENDINGS {
            let mut client = server.ask(sending, bytes);
            let answers: io::Result<Vec<Response>> = statuses.iter().map(|_| client.try_response()).collect();
            let answers = answers.unwrap_or_else(|error| panic!("{what} ({sending:?}): {error}"));
            let got: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert_eq!(got, *statuses, "{what} ({sending:?}): {answers:?}");
            assert!(answers.iter().all(|answer| answer.header("date").is_some()), "{what}: {answers:?}");
            if !last.is_empty() {
                assert_eq!(answers.last().unwrap().body, last, "{what} ({sending:?})");
            }
            let after =
                client.try_get("/headers?after").unwrap_or_else(|error| panic!("{what} ({sending:?}): {error}"));
            assert_eq!(after.json()["target"], "/headers?after", "{what} ({sending:?})");
        }
    }
    server.is_whole();
}

#[test]
fn an_unusual_head_that_is_well_formed_is_served() {
    serves(requests::HEADS, b"");
}

#[test]
fn a_body_is_found_by_its_length_or_its_chunks_and_what_follows_is_the_next_request() {
    serves(requests::BODIES, b"hello");
}

#[test]
fn a_header_that_only_looks_like_a_framing_one_frames_nothing() {
    let server = Server::new(CONFIG);
    for name in ["Transfer_Encoding", "Transfer-Encodings", "X-Transfer-Encoding", "TransferEncoding"] {
        let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{name}: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let mut client = server.ask(Sending::Whole, request.as_bytes());
        let first = client.response();
        assert_eq!((first.status, first.text().as_str()), (200, ""), "{name}");
        is_refused(&mut client, 400).unwrap_or_else(|why| panic!("{name}: {why}"));
    }
    server.is_whole();
}

const TRUNCATED: [&[u8]; 3] = [
    b"GET /hello?cut HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello, world",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\n, w\r\n0\r\nX: y\r\n\r\n",
];

#[test]
fn a_request_cut_short_by_the_clients_end_is_not_served() {
    let server = Server::new(CONFIG);
    for request in TRUNCATED {
        for length in 0..request.len() {
            for sending in [Sending::Whole, Sending::OverUnix] {
                let mut client = server.ask(sending, &request[..length]);
                client.finish();
                let told = client.until_closed().unwrap_or_else(|| panic!("{length} bytes ({sending:?}): a hang"));
                // RFC 9112, 8: an error response, or none.
                let told = String::from_utf8_lossy(&told).into_owned();
                let refused = told.starts_with("HTTP/1.1 400 ") && told.matches("HTTP/1.1").count() == 1;
                assert!(told.is_empty() || refused, "{length} bytes ({sending:?}): {told}");
            }
        }
        let mut client = server.ask(Sending::Whole, request);
        client.finish();
        assert_eq!(client.response().status, 200);
        assert_eq!(client.until_closed().as_deref(), Some(&b""[..]));
    }
    server.is_whole();
}

#[test]
fn a_request_that_never_goes_on_is_told_so_and_closed() {
    let timeouts = "header_timeout = \"300ms\"\nbody_timeout = \"300ms\"\n";
    let server = Server::new(&format!("{CONFIG}{timeouts}"));
    let cuts = TRUNCATED.iter().flat_map(|request| (0..request.len()).map(|length| &request[..length]));
    let mut waiting: Vec<(usize, Client)> = cuts.map(|part| (part.len(), server.ask(Sending::Whole, part))).collect();
    for (length, client) in &mut waiting {
        let told = client.until_closed().unwrap_or_else(|| panic!("{length} bytes: a hang"));
        let told = String::from_utf8_lossy(&told).into_owned();
        let refused = told.starts_with("HTTP/1.1 408 ") && told.matches("HTTP/1.1").count() == 1;
        assert_eq!(refused, *length > 0, "{length} bytes: {told}");
        assert!(refused || told.is_empty(), "{length} bytes: {told}");
    }
    server.is_whole();
}

#[test]
fn a_client_that_is_gone_in_the_middle_hurts_nobody() {
    let server = Server::new(CONFIG);
    for request in TRUNCATED {
        for length in 0..=request.len() {
            drop(server.ask(Sending::Whole, &request[..length]));
            drop(server.ask(Sending::OverUnix, &request[..length]));
        }
    }
    for target in ["/bytes?n=50000000", "/count?n=10000000", "/sleep?ms=20"] {
        let mut client = server.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        drop(client);
        let mut client = server.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        client.read_some(100).unwrap();
    }
    for mut client in [server.connect(), server.connect_unix()] {
        assert_eq!(client.get("/hello").text(), "Hello, world!");
    }
    server.is_whole();
}
