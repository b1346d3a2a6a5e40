//! Who dies while the supervisor is nobody.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{TAKEN_OVER, Upgradable, config};
use crate::harness::{SOON, eventually, get, process};

/// "After exec a sweep finds what died meanwhile": here everybody dies while another program stands in our place.
#[test]
fn who_dies_while_the_program_is_being_executed_is_buried_and_replaced() {
    let ratoon = Upgradable::serving(&config("workers = 3"));
    for _ in 0..3 {
        let workers = ratoon.ready_workers("web", 3);
        let template = process::children(ratoon.pid(), "ratoon: web template")[0];
        ratoon.install_script(&format!("[ $1 = check ] || kill -9 {} {template}\nexec @ratoon@ \"$@\"", workers[0]));
        ratoon.upgrade();
        ratoon.logged("died", &[("pid", workers[0].as_raw().into())]);
        let after = ratoon.ready_workers("web", 3);
        assert!(!after.contains(&workers[0]) && after.contains(&workers[1]) && after.contains(&workers[2]));
        eventually("nobody is left unburied", SOON, || process::zombies(ratoon.pid()).is_empty().then_some(()));
        // The script is what runs now, by its path: the next upgrade executes whatever stands there.
        assert_eq!(get(ratoon.address(), "/ok").status, 200);
    }
}

/// The same without a script: workers die all the time while it upgrades again and again.
#[test]
fn workers_that_die_during_upgrades_are_all_buried() {
    let ratoon = Upgradable::serving(&config("workers = 6"));
    let mut killed: Vec<Pid> = Vec::new();
    for round in 0..12 {
        let victim =
            eventually("a worker", SOON, || ratoon.workers("web").into_iter().find(|pid| !killed.contains(pid)));
        let before = ratoon.all_logged(TAKEN_OVER, &[]).len();
        ratoon.signal(Signal::SIGUSR2);
        if round % 3 > 0 {
            let becoming = "upgrade: becoming the new program";
            eventually("the new program is executed", SOON, || {
                ratoon.all_logged(becoming, &[]).into_iter().nth(before)
            });
            std::thread::sleep(Duration::from_micros(700) * (round as u32 / 3));
        }
        kill(victim, Signal::SIGKILL).unwrap();
        killed.push(victim);
        eventually("the upgrade", SOON, || ratoon.all_logged(TAKEN_OVER, &[]).into_iter().nth(before));
    }
    for pid in &killed {
        ratoon.logged("died", &[("pid", pid.as_raw().into())]);
    }
    eventually("nobody is left unburied", SOON, || process::zombies(ratoon.pid()).is_empty().then_some(()));
    ratoon.ready_workers("web", 6);
}
