//! The application of the tests: does whatever it is told to, by its settings or by a path, and says so in the log.
//!
//! `settings = { load = "threads:3", start = "hang" }` tells it what to do in `load` and in `start`; a request for
//! `/exit:3` what to do in its handler. Each is one of the words in [`Fixture::act`]; `ok`, the default, is none.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::process::{Command, ExitCode, exit};
use std::thread::{sleep, spawn};
use std::time::Duration;

use ratoon_worker::{App, Context, Error, Request, Response, Result, Settings, Worker};
use serde::Deserialize;

struct Fixture {
    start: String,
    memory: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wishes {
    load: String,
    start: String,
}

impl Default for Wishes {
    fn default() -> Self {
        Wishes { load: "ok".into(), start: "ok".into() }
    }
}

fn main() -> ExitCode {
    ratoon_worker::main::<Fixture>()
}

impl App for Fixture {
    fn load(settings: Settings) -> Result<Self> {
        let Wishes { load, start } = settings.parse()?;
        let mut fixture = Fixture { start, memory: Vec::new() };
        fixture.act(&load)?;
        Ok(fixture)
    }

    fn start(&mut self, _: &Worker) -> Result<()> {
        let start = self.start.clone();
        self.act(&start).map(drop)
    }

    /// Answers with the pid, or with what came of the deed.
    fn handle(&mut self, request: Request, context: &mut Context) -> Result<Response> {
        let word = request.uri().path().trim_start_matches('/').to_owned();
        if word == "ok" {
            return Ok(Response::new(context.worker().pid().to_string().into()));
        }
        tracing::info!(word, "begins");
        self.act(&word).map(|outcome| Response::new(outcome.into()))
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
            "exit" => exit(i32::try_from(number())?),
            "hang" => sleep(Duration::from_secs(3600)),
            "sleep" => sleep(Duration::from_millis(number())),
            // Until there is a file of this name (with ~ for each slash, so that a path can name it).
            "await" => {
                while !std::path::Path::new(&argument.replace('~', "/")).exists() {
                    sleep(Duration::from_millis(1));
                }
            }
            // Fails unless there is a file of this name.
            "needs" => {
                std::fs::metadata(argument)?;
            }
            "threads" => {
                for _ in 0..number() {
                    spawn(|| sleep(Duration::from_secs(3600)));
                }
            }
            // So many MiB, touched.
            "memory" => self.memory = vec![1; usize::try_from(number())? << 20],
            // A grandchild that nobody waits for; its pid.
            "orphan" => {
                let left = Command::new("sh").args(["-c", "sleep 3600 >/dev/null 2>&1 & echo $!"]).output()?;
                return Ok(String::from_utf8_lossy(&left.stdout).trim().to_owned());
            }
            // The value of a variable of the environment.
            "environment" => return Ok(std::env::var(argument).unwrap_or_else(|_| "unset".into())),
            _ => return Err(Error::msg(format!("the fixture cannot {word:?}"))),
        }
        Ok(format!("{} MiB", self.memory.len() >> 20))
    }
}
