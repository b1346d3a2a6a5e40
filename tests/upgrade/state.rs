//! What the new program knows of the old one.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Upgradable, config};
use crate::harness::{CONTROL, Client, Door, SOON, eventually, fixture};

/// An upgrade changes nothing about how pools are scaled, not even for one that has no worker at the time.
#[test]
fn pools_of_every_scaling_go_on_after_an_upgrade() {
    let lines = "scaling = \"dynamic\"\nmin_workers = 1\nmax_workers = 3\nmin_spare = 1\nmax_spare = 2\nworkers = 1";
    let jobs = fixture::pool("jobs", "scaling = \"ondemand\"\nmax_workers = 2\nidle_timeout = \"1s\"");
    let mut ratoon = Upgradable::serving(&(config(lines) + &jobs.replace("127.0.0.1:0", "unix:DIR/jobs")));
    let door = Door::Unix(ratoon.directory().join("jobs"));
    assert_eq!(ratoon.workers("jobs"), []);
    ratoon.signal(Signal::SIGTTIN);
    ratoon.logged("size changed by the operator", &[("pool", "web".into())]);
    ratoon.ready_workers("web", 2);
    ratoon.upgrade();
    eventually("the one more that jobs did not need is gone", SOON, || ratoon.workers("jobs").is_empty().then_some(()));

    ratoon.upgrade();
    assert_eq!(door.connect().unwrap().get("/ok").status, 200);
    ratoon.upgrade();
    eventually("the ondemand pool is empty again", SOON, || ratoon.workers("jobs").is_empty().then_some(()));
    assert_eq!(door.connect().unwrap().get("/ok").status, 200);

    let go = ratoon.directory().join("go");
    let word = format!("await:{}", go.to_str().unwrap().replace('/', "~"));
    let mut busy: Vec<Client> = (0..4).map(|_| ratoon.engage(ratoon.address(), &word).0).collect();
    // The operator's one more than the configured three.
    ratoon.ready_workers("web", 4);
    ratoon.upgrade();
    std::fs::write(go, "").unwrap();
    busy.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    ratoon.signal(Signal::SIGTERM);
    ratoon.ratoon.leaves_in_peace();
    for file in ["web", "jobs", "control.sock"] {
        assert!(!ratoon.directory().join(file).exists(), "{file} was left behind");
    }
}

/// "State handed over": every key that can be written, as the next reload finds by comparing.
#[test]
fn the_configuration_survives_an_upgrade_to_the_last_key() {
    let keys = r#"
        listen = [{ address = "127.0.0.1:0", backlog = 64 }, { address = "unix:DIR/web", mode = "0600", owner = "0" }]
        prepare = ["/bin/true", "twice"]
        scaling = "dynamic"
        workers = 2
        min_workers = 2
        max_workers = 5
        min_spare = 1
        max_spare = 3
        spawn_rate = 7
        max_requests = 100000
        max_requests_jitter = "3%"
        max_age = "1h30m"
        max_age_jitter = "4%"
        max_memory = "256MiB"
        max_memory_hard = "1GiB"
        surge = "50%"
        settle = "100ms"
        on_failure = "exit"
        boot_timeout = "33s"
        request_timeout = "11s"
        kill_grace = "0s"
        stop_timeout = "12s"
        queue_timeout = "20s"
        half_close = "gone"
        max_body = "0B"
        body_dir = "DIR"
        nice = 3
        oom_score_adj = 150
        rlimits = { nofile = 500, core = "unlimited", cpu = "1m" }
        settings = { load = "ok", start = "sleep:1" }
    "#;
    let program = fixture::program();
    let log = "[log]\nlevel = \"debug\"\nformat = \"json\"";
    let config = format!("{log}\n{CONTROL}[pool.web]\nprogram = [{program:?}, \"--verbose\"]\n{keys}\n");
    let ratoon = Upgradable::serving(&config);
    ratoon.ready_workers("web", 2);
    ratoon.upgrade();
    ratoon.upgrade();
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    ratoon.logged("configuration: nothing changed", &[]);
    assert_eq!(ratoon.all_logged("died", &[]), [] as [Value; 0]);
}
