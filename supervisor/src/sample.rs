//! The sample application: what the worker library does, on one page, and routes that let anyone watch the supervisor
//! work. It is what a pool without a `program` serves.

mod notes;
mod state;

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use ratoon_worker::http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use ratoon_worker::http::{Method, StatusCode};
use ratoon_worker::{App, Body, Context, Error, Histogram, Request, Response, Result, Settings};
use serde::Deserialize;
use serde_json::json;

const PAGE: &str = include_str!("sample.html");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What `/bytes` repeats: lines of 64 characters, so that a person can look at a download.
static PIECE: [u8; 64 * 1024] = piece();

/// The sample application.
pub struct Sample {
    /// Whether clients may make a worker panic, crash or leak.
    faults: bool,
    /// Seconds that `/sleep` and `/spin` were asked for: a metric of the application's own.
    pauses: Histogram,
    /// What `/leak` keeps until the worker dies.
    leaked: Vec<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct SampleSettings {
    faults: bool,
}

impl App for Sample {
    fn load(settings: Settings) -> Result<Self> {
        let SampleSettings { faults } = settings.parse()?;
        let help = "Pauses that clients asked for with /sleep and /spin.";
        let pauses = settings.metrics().histogram("sample_pause_seconds", help, &[], &[0.01, 0.1, 1.0, 10.0])?;
        Ok(Sample { faults, pauses, leaked: Vec::new() })
    }

    fn handle(&mut self, request: Request, context: &mut Context) -> Result<Response> {
        let path = request.uri().path().to_owned();
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        match path.as_str() {
            "/echo" => echo(request),
            "/notes" if *request.method() == Method::POST => notes::write(request, context),
            "/notes" if !get => not_allowed("GET, HEAD, POST"),
            _ if !get => match ROUTES.contains(&path.as_str()) {
                true => not_allowed("GET, HEAD"),
                false => status(StatusCode::NOT_FOUND, "no such route; / lists them"),
            },
            "/" => answer(HTML, PAGE),
            "/hello" => answer(TEXT, "Hello, world!"),
            "/whoami" => whoami(context),
            "/headers" => headers(&request, context),
            "/state" => state::visit(&request),
            "/sleep" => {
                let ms = number(&request, "ms", 0)?;
                context.metrics().observe(self.pauses, ms as f64 / 1e3);
                sleep(Duration::from_millis(ms));
                answer(TEXT, format!("slept {ms} ms\n"))
            }
            "/spin" => {
                let ms = number(&request, "ms", 0)?;
                context.metrics().observe(self.pauses, ms as f64 / 1e3);
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(ms) {
                    std::hint::spin_loop();
                }
                answer(TEXT, format!("burnt {ms} ms of a CPU\n"))
            }
            "/bytes" => answer(BINARY, Body::repeat(&PIECE[..], number(&request, "n", 0)?)),
            "/count" => answer(TEXT, Body::reader(Counter { next: 0, end: number(&request, "n", 10)? })),
            "/db" => notes::row(&request, context),
            "/notes" => notes::list(context),
            "/backend" => notes::backend(context),
            "/panic" | "/crash" | "/leak" if !self.faults => status(
                StatusCode::FORBIDDEN,
                "this route breaks its worker: set `faults = true` in the pool's settings",
            ),
            "/panic" => panic!("somebody asked for /panic"),
            "/crash" => crash(&parameter(&request, "how").unwrap_or_default()),
            "/leak" => {
                let mib = number(&request, "mib", 1)?;
                self.leaked.push(vec![1; usize::try_from(mib)?.saturating_mul(1024 * 1024)]);
                let held: usize = self.leaked.iter().map(Vec::len).sum();
                answer(TEXT, format!("worker {} now holds {} MiB\n", context.worker().pid(), held / (1024 * 1024)))
            }
            _ => status(StatusCode::NOT_FOUND, "no such route; / lists them"),
        }
    }
}

/// The routes that take GET and HEAD.
const ROUTES: [&str; 14] = [
    "/", "/hello", "/whoami", "/headers", "/state", "/sleep", "/spin", "/bytes", "/count", "/db", "/backend", "/panic",
    "/crash", "/leak",
];

fn answer(kind: HeaderValue, body: impl Into<Body>) -> Result<Response> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn status(status: StatusCode, sentence: &str) -> Result<Response> {
    let mut response = answer(TEXT, format!("{sentence}\n"))?;
    *response.status_mut() = status;
    Ok(response)
}

fn not_allowed(allowed: &'static str) -> Result<Response> {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED, &format!("this route takes {allowed}"))?;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    Ok(response)
}

/// The body back, with its content type; never copied, however long it is.
fn echo(request: Request) -> Result<Response> {
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    answer(kind.unwrap_or(BINARY), request.into_body())
}

fn whoami(context: &Context) -> Result<Response> {
    let worker = context.worker();
    let who = json!({
        "pool": worker.pool(),
        "slot": worker.slot(),
        "generation": worker.generation(),
        "pid": worker.pid(),
        "served": context.served(),
    });
    answer(JSON, format!("{who}\n"))
}

/// The request as the application sees it.
fn headers(request: &Request, context: &Context) -> Result<Response> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> = request.headers().iter().map(|(name, value)| json!([name.as_str(), text(value)])).collect();
    let client = context.client();
    let seen = json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
        "peer": context.peer().map(|peer| peer.to_string()),
        "client": json!({
            "ip": client.ip(),
            "port": client.port(),
            "scheme": client.scheme().as_str(),
            "host": client.host(),
        }),
    });
    answer(JSON, format!("{seen}\n"))
}

/// Ends this worker the way `how` says.
fn crash(how: &str) -> Result<Response> {
    match how {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "stack" => answer(TEXT, exhaust_the_stack(0).to_string()),
        "segfault" => {
            // The signal of a wild pointer, without one. By hand, the first finds the handler that Rust has for stack
            // overflows, which looks, and lets the next one through.
            for _ in 0..2 {
                raise(Signal::SIGSEGV)?;
            }
            status(StatusCode::INTERNAL_SERVER_ERROR, "survived a SIGSEGV")
        }
        _ => status(StatusCode::BAD_REQUEST, "how: one of abort, segfault, exit, stack"),
    }
}

#[allow(unconditional_recursion)]
fn exhaust_the_stack(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 128]);
    exhaust_the_stack(frame[0] + 1) + frame[127]
}

/// Numbers, one a line: a response that the application itself produces while it is sent.
struct Counter {
    next: u64,
    end: u64,
}

impl Read for Counter {
    fn read(&mut self, mut buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = buffer.len();
        while self.next < self.end {
            let line = format!("{}\n", self.next);
            if buffer.len() < line.len() {
                break;
            }
            buffer.write_all(line.as_bytes())?;
            self.next += 1;
        }
        Ok(room - buffer.len())
    }
}

/// The value of a query parameter, as it stands in the query.
fn parameter(request: &Request, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

/// A query parameter that is a whole number.
fn number(request: &Request, name: &str, otherwise: u64) -> Result<u64> {
    match parameter(request, name) {
        None => Ok(otherwise),
        Some(text) => text
            .parse()
            .map_err(|error| Error::msg(format!("{name}={text:?}: {error}")).with_status(StatusCode::BAD_REQUEST)),
    }
}

const fn piece() -> [u8; 64 * 1024] {
    let mut bytes = [0; 64 * 1024];
    let mut place = 0;
    while place < bytes.len() {
        bytes[place] = if place % 64 == 63 { b'\n' } else { b'0' + (place % 64 % 10) as u8 };
        place += 1;
    }
    bytes
}
