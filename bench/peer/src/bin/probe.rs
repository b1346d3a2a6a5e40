//! What a connection costs that is fresh, seen from within: `GET /db?id=` as the sample application has it, timing how long
//! the handler waited for its connection; `GET /acquired` says what that took, in nanoseconds: the median of the last ones.

use std::time::Instant;

use ratoon_worker::{App, Context, Request, Response, Result, Settings};

/// How many are kept.
const KEPT: usize = 10_000;

struct Probe {
    took: Vec<u128>,
    asked: usize,
}

impl App for Probe {
    fn load(_: Settings) -> Result<Self> {
        Ok(Probe { took: vec![0; KEPT], asked: 0 })
    }

    fn handle(&mut self, request: Request, context: &mut Context) -> Result<Response> {
        if request.uri().path() == "/acquired" {
            let mut took = self.took[..self.asked.min(KEPT)].to_vec();
            took.sort_unstable();
            let median = took.get(took.len() / 2).copied().unwrap_or_default();
            return Ok(Response::new(format!("{median}\n").into()));
        }
        let begun = Instant::now();
        let client = context.database()?;
        self.took[self.asked % KEPT] = begun.elapsed().as_nanos();
        self.asked += 1;
        let row = client.query_one("select text from ratoon_notes where id = $1", &[&1_i64])?;
        Ok(Response::new(row.try_get::<_, String>(0)?.into()))
    }
}

fn main() -> std::process::ExitCode {
    ratoon_worker::main::<Probe>()
}
