//! A program that loads much before it forks: `mib` of its settings, in memory that has been written to. Every worker
//! answers with its pid and a checksum over all of it.

use ratoon_worker::{App, Context, Request, Response, Result, Settings};
use serde::Deserialize;

struct Catalogue {
    entries: Vec<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    mib: u64,
}

impl App for Catalogue {
    fn load(settings: Settings) -> Result<Self> {
        let Size { mib } = settings.parse()?;
        let entries = (0..mib * 1024 * 1024 / 8).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        Ok(Catalogue { entries })
    }

    fn handle(&mut self, _: Request, context: &mut Context) -> Result<Response> {
        let sum = self.entries.iter().fold(0, |sum: u64, entry| sum.rotate_left(1) ^ entry);
        Ok(Response::new(format!("{} {sum:016x}\n", context.worker().pid()).into()))
    }
}

fn main() -> std::process::ExitCode {
    ratoon_worker::main::<Catalogue>()
}
