//! What is said to a supervisor while it becomes another program.

use nix::sys::signal::Signal;

use super::{TAKEN_OVER, Upgradable, config};
use crate::harness::{SOON, eventually};

/// "Nothing dropped": a signal is heard by the one or by the other, whenever it comes.
#[test]
fn a_signal_that_comes_while_the_program_is_executed_is_heard() {
    for _ in 0..8 {
        let ratoon = Upgradable::serving(&config("workers = 1"));
        ratoon.signal(Signal::SIGUSR2);
        ratoon.logged("upgrade: becoming the new program", &[]);
        ratoon.signal(Signal::SIGTTIN);
        ratoon.logged(TAKEN_OVER, &[]);
        ratoon.logged("size changed by the operator", &[]);
    }
    for _ in 0..4 {
        let mut ratoon = Upgradable::serving(&config("workers = 1"));
        ratoon.signal(Signal::SIGUSR2);
        ratoon.logged("upgrade: becoming the new program", &[]);
        ratoon.signal(Signal::SIGTERM);
        ratoon.ratoon.leaves_in_peace();
    }
}

/// A reload that is wished for at that moment is the successor's to do, from its beginning.
#[test]
fn a_reload_that_is_wished_for_while_the_program_is_executed_is_done_afterwards() {
    for _ in 0..4 {
        let ratoon = Upgradable::serving(&config("workers = 1\nsettle = \"0s\""));
        ratoon.signal(Signal::SIGUSR2);
        ratoon.logged("upgrade: becoming the new program", &[]);
        ratoon.signal(Signal::SIGHUP);
        ratoon.logged("reloaded", &[]);
        let place = |message: &str| {
            eventually(message, SOON, || ratoon.lines().iter().position(|line| line["message"] == message))
        };
        assert!(place(TAKEN_OVER) < place("reloaded"));
    }
}
