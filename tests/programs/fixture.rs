//! The application of the tests: does whatever it is told to, by its settings or by a path, and says so in the log.
//!
//! `settings = { load = "threads:3", start = "hang" }` tells it what to do in `load` and in `start`, `stop` and `drop`
//! what to do in those of a worker, `handle` what to do before each request; a request for `/exit:3` what to do in its
//! handler. Each is one of the words in [`Fixture::act`]; `ok`, the default, is none. A request may also be for a
//! peculiar answer: [`answer`] has those, and [`stains`] what a request may leave behind. `release` names a file in which `load` finds the words instead, as JSON: what
//! is written there is a new release, whatever the configuration says.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod database;
mod intruder;
mod metrics;
mod stains;

use std::fs::File;
use std::io::{Read, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, exit, id};
use std::thread::{panicking, sleep, spawn};
use std::time::Duration;

use nix::sys::signal::SigSet;
use ratoon_worker::http::header::CONTENT_LENGTH;
use ratoon_worker::{App, Body, Context, Error, Request, Response, Result, Settings, Worker};
use serde::Deserialize;

struct Fixture {
    wishes: Wishes,
    is_worker: bool,
    memory: Vec<u8>,
    companions: stains::Companions,
    declared: metrics::Declared,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wishes {
    load: String,
    start: String,
    handle: String,
    stop: String,
    drop: String,
    release: Option<PathBuf>,
    /// What it counts: `counter:NAME`, `gauge:NAME` or `histogram:NAME`.
    metrics: Vec<String>,
}

impl Default for Wishes {
    fn default() -> Self {
        let [load, start, handle, stop, drop] = [(); 5].map(|()| "ok".to_owned());
        Wishes { load, start, handle, stop, drop, release: None, metrics: Vec::new() }
    }
}

fn main() -> ExitCode {
    let _end = EndOfMain { begun_by: id() };
    ratoon_worker::main::<Fixture>()
}

/// `main` is the template's: no worker ever gets to its end, not even on its way out of a panic.
struct EndOfMain {
    begun_by: u32,
}

impl Drop for EndOfMain {
    fn drop(&mut self) {
        if id() != self.begun_by {
            tracing::error!("a worker is back in main");
        }
    }
}

impl App for Fixture {
    fn load(settings: Settings) -> Result<Self> {
        let mut wishes: Wishes = settings.parse()?;
        if let Some(release) = &wishes.release {
            wishes = serde_json::from_reader(File::open(release)?)?;
        }
        let load = wishes.load.clone();
        let declared = metrics::Declared::from(&wishes.metrics, settings.metrics())?;
        let (memory, companions) = (Vec::new(), Default::default());
        let mut fixture = Fixture { wishes, is_worker: false, memory, companions, declared };
        fixture.act(&load)?;
        Ok(fixture)
    }

    fn start(&mut self, worker: &Worker) -> Result<()> {
        self.declared.begin(worker.metrics());
        self.is_worker = true;
        let start = self.wishes.start.clone();
        self.act(&start).map(drop)
    }

    /// Answers with the pid, or with what came of the deed.
    fn handle(&mut self, mut request: Request, context: &mut Context) -> Result<Response> {
        let word = request.uri().path().trim_start_matches('/').to_owned();
        let before = self.wishes.handle.clone();
        self.act(&before)?;
        if word == "ok" {
            return Ok(Response::new(context.worker().pid().to_string().into()));
        }
        if let Some(millis) = word.strip_prefix("echo:") {
            sleep(Duration::from_millis(millis.parse()?));
            return echo(request, context);
        }
        if let Some(response) = database::answer(&word, &mut request, context)? {
            return Ok(response);
        }
        if self.declared.write(&word, context.metrics())? {
            return Ok(Response::new("counted".into()));
        }
        tracing::info!(word, "begins");
        if let Some(response) = stains::answer(&word, &mut request, context, &mut self.companions)? {
            return Ok(response);
        }
        match answer(&word, context)? {
            Some(response) => Ok(response),
            None => self.act(&word).map(|outcome| Response::new(outcome.into())),
        }
    }

    fn stop(&mut self) {
        let stop = self.wishes.stop.clone();
        self.act(&stop).expect("a deed that cannot fail");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if self.is_worker && !panicking() {
            let drop = self.wishes.drop.clone();
            self.act(&drop).expect("a deed that cannot fail");
        }
    }
}

/// What came, and which generation answers.
fn echo(mut request: Request, context: &Context) -> Result<Response> {
    let mut body = Vec::new();
    request.body_mut().read_to_end(&mut body)?;
    let mut response = Response::new(body.into());
    response.headers_mut().insert("generation", context.worker().generation().into());
    Ok(response)
}

/// The answer a word asks for, if it asks for one.
fn answer(word: &str, context: &mut Context) -> Result<Option<Response>> {
    Ok(match word.split(':').collect::<Vec<_>>()[..] {
        // No body, and the length that one would have had.
        ["unsent", status, length] => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status.parse()?;
            response.headers_mut().insert(CONTENT_LENGTH, length.parse()?);
            Some(response)
        }
        // So many bytes, from a reader that panics when it is dropped.
        ["brittle", length] => Some(Response::new(Body::reader(Brittle { left: length.parse()? }))),
        // A megabyte, so that something of it leaves, and then what this word leads to.
        ["then", deed] => Some(Response::new(Body::reader(Then { deed: deed.into(), left: 1 << 20 }))),
        // So many milliseconds of sleep, allowed for beforehand.
        ["extended", time] => {
            let time = Duration::from_millis(time.parse()?);
            context.extend_deadline(time * 4);
            sleep(time);
            Some(Response::new("extended".into()))
        }
        _ => None,
    })
}

struct Brittle {
    left: usize,
}

impl Read for Brittle {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(self.left);
        buffer[..length].fill(b'b');
        self.left -= length;
        Ok(length)
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        assert!(panicking(), "the fixture's reader panics when it is dropped");
    }
}

struct Then {
    deed: String,
    left: usize,
}

impl Read for Then {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            ruin(&self.deed);
        }
        let length = buffer.len().min(self.left);
        buffer[..length].fill(b't');
        self.left -= length;
        Ok(length)
    }
}

/// What ends a worker, if it is the end of one.
fn ruin(word: &str) {
    match word {
        "abort" => std::process::abort(),
        "spin" => spin_for_ever(),
        "segfault" => drop(wild::follow_a_wild_pointer()),
        "overflow" => drop(exhaust_the_stack(0)),
        "deaf" => {
            SigSet::all().thread_block().expect("every signal can be blocked");
            spin_for_ever();
        }
        "callous" => {
            wild::ignore_every_signal();
            spin_for_ever();
        }
        _ => {}
    }
}

#[inline(never)]
fn spin_for_ever() {
    loop {
        std::hint::spin_loop();
    }
}

#[allow(unconditional_recursion)]
#[inline(never)]
fn exhaust_the_stack(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 128]);
    exhaust_the_stack(frame[0] + 1) + frame[127]
}

#[allow(unsafe_code)]
mod wild {
    use nix::sys::signal::{SigHandler, Signal, signal};

    /// As much of a worker's patience as a program can take away.
    pub(super) fn ignore_every_signal() {
        for each in Signal::iterator().filter(|each| !matches!(each, Signal::SIGKILL | Signal::SIGSTOP)) {
            // SAFETY: no handler is installed, so none can run at a bad moment.
            unsafe { signal(each, SigHandler::SigIgn) }.expect("every other signal can be ignored");
        }
    }

    /// A crash like that of a program that is wrong, and not like one that was sent a signal.
    #[inline(never)]
    pub(super) fn follow_a_wild_pointer() -> u8 {
        let pointer = std::hint::black_box(16 as *const u8);
        // SAFETY: there is none: nothing is ever mapped there, and this is the end of the process.
        unsafe { pointer.read_volatile() }
    }
}

impl Fixture {
    fn act(&mut self, word: &str) -> Result<String> {
        let (verb, argument) = word.split_once(':').unwrap_or((word, ""));
        let number = || argument.parse::<u64>().expect("a number after the colon");
        match verb {
            "ok" => {}
            "error" => return Err(Error::msg(format!("the fixture fails: {argument}"))),
            "panic" => panic!("the fixture panics"),
            "abort" | "spin" | "segfault" | "overflow" | "deaf" | "callous" => ruin(verb),
            "exit" => exit(i32::try_from(number())?),
            "hang" => sleep(Duration::from_secs(3600)),
            "sleep" => sleep(Duration::from_millis(number())),
            // Until there is a file of this name (with ~ for each slash, so that a path can name it).
            "await" => {
                while !Path::new(&argument.replace('~', "/")).exists() {
                    sleep(Duration::from_millis(1));
                }
            }
            // Fails unless there is a file of this name.
            "needs" => {
                std::fs::metadata(argument)?;
            }
            // The same, and the file is gone.
            "take" => std::fs::remove_file(argument)?,
            "threads" => {
                for _ in 0..number() {
                    spawn(|| sleep(Duration::from_secs(3600)));
                }
            }
            // Falls dead so many milliseconds from now, whatever else happens.
            "doom" => {
                let rest = Duration::from_millis(number());
                spawn(move || {
                    sleep(rest);
                    exit(3);
                });
            }
            // Falls dead once there is a file of this name.
            "doomed" => {
                let file = PathBuf::from(argument);
                spawn(move || {
                    while !file.exists() {
                        sleep(Duration::from_millis(1));
                    }
                    exit(3);
                });
            }
            // So many MiB, touched.
            "memory" => self.memory = vec![1; usize::try_from(number())? << 20],
            // As many, in a handler that keeps them and does not return.
            "hoard" => {
                self.memory = vec![1; usize::try_from(number())? << 20];
                sleep(Duration::from_secs(3600));
            }
            // A grandchild that nobody waits for; its pid.
            "orphan" => {
                let left = Command::new("sh").args(["-c", "sleep 3600 >/dev/null 2>&1 & echo $!"]).output()?;
                return Ok(String::from_utf8_lossy(&left.stdout).trim().to_owned());
            }
            // Spoils these, as far as that needs no request.
            "spoil" => argument.split(':').try_for_each(stains::spoil_process)?,
            // Goes to this directory (with ~ for each slash).
            "chdir" => std::env::set_current_dir(argument.replace('~', "/"))?,
            // Prints a line on one of the two streams, or one of so many bytes on the first; answers with the pid.
            "print" => {
                match argument.split_once(':') {
                    Some(("stdout", line)) => writeln!(stdout(), "{line}")?,
                    Some((_, line)) => writeln!(stderr(), "{line}")?,
                    None => {}
                }
                return Ok(id().to_string());
            }
            "flood" => writeln!(stdout(), "{}", "x".repeat(usize::try_from(number())?))?,
            // What nobody who took over a worker may do.
            "try" => return Ok(intruder::attempt(argument)),
            // The value of a variable of the environment.
            "environment" => return Ok(std::env::var(argument).unwrap_or_else(|_| "unset".into())),
            _ => return Err(Error::msg(format!("the fixture cannot {word:?}"))),
        }
        Ok(format!("{} MiB", self.memory.len() >> 20))
    }
}
