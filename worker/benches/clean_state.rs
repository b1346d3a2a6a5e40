//! What a clean state costs, in nanoseconds: putting the process back, and a request-local that is touched or not.
//!
//! Prints the median of some rounds and judges nothing. The process is put back as a worker does it, by the worker's own code.
#![allow(clippy::print_stdout, missing_docs)]

use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use ratoon_worker::cleaning::Cleaner;
use ratoon_worker::protocol::{Cleaning, Reset};
use ratoon_worker::request_local;

const ROUNDS: usize = 21;
const TIMES: u32 = 20_000;

request_local! {
    static COUNT: Cell<u32> = Cell::new(0);
}

fn main() {
    let reset = |reset| Cleaner::new(&Cleaning { reset, reset_check: 0, ..Cleaning::default() });
    let line = || String::from("GET /bench HTTP/1.1");
    let mut restoring = reset(Reset::Restore);
    measure("the process put back", || {
        black_box(restoring.put_back(line));
    });
    let mut recycling = reset(Reset::Recycle);
    measure("the same, and looked at (recycle)", || {
        black_box(recycling.put_back(line));
    });
    let mut counting = Cleaner::new(&Cleaning { reset: Reset::Off, reset_check: 1, ..Cleaning::default() });
    measure("what is never put back, counted", || {
        if counting.is_to_count() {
            counting.count(0, "GET /bench HTTP/1.1");
        }
    });
    measure("a request that touches no request-local", request_local::end);
    measure("a request that touches one", || {
        COUNT.set(black_box(1));
        request_local::end();
    });
    COUNT.set(0);
    measure("the second touch of one", || COUNT.set(black_box(COUNT.get() + 1)));
}

/// Prints how long one call takes.
fn measure(what: &str, mut call: impl FnMut()) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            (0..TIMES).for_each(|_| call());
            begun.elapsed().as_nanos() as f64 / f64::from(TIMES)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{:>9.1} ns  {what}", rounds[ROUNDS / 2]);
}
