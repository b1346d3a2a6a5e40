//! Clients that say nothing, or next to nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{SetWhenDropped, answers_as_fast};
use crate::harness::{Client, Ratoon, SOON, eventually, process, raise_descriptor_limit};

const CONFIG: &str = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\nheader_timeout = \"1h\"\n";

#[test]
fn a_thousand_silent_and_fifty_trickling_clients_cost_descriptors_and_not_workers() {
    raise_descriptor_limit();
    let (burdened, free) = (Ratoon::serving(CONFIG), Ratoon::serving(CONFIG));
    let workers = burdened.ready_workers("web", 2);
    free.ready_workers("web", 2);
    let held = || workers.iter().map(|pid| process::descriptors(*pid)).sum::<usize>();
    let before: usize = workers.iter().map(|pid| process::descriptors_at_rest(*pid)).sum();

    let mut silent: Vec<Client> = (0..1000).map(|_| Client::connect(burdened.address())).collect();
    let mut trickling: Vec<Client> = (0..50).map(|_| Client::connect(burdened.address())).collect();
    eventually("the workers hold them all", SOON, || (held() == before + 1050).then_some(()));
    for client in &mut trickling {
        client.send(b"GET /hello HTTP/1.1\r\nHost: test\r\nX-Long: ");
    }
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                trickling.iter_mut().for_each(|client| client.send(b"x"));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let _done = SetWhenDropped(&enough);
        answers_as_fast(burdened.address(), free.address());
        let now_held = || (held() == before + 1050).then_some(());
        eventually("the workers still hold them all", SOON, now_held);
    });

    for client in &mut trickling {
        client.send(b"\r\n\r\n");
        assert_eq!(client.response().text(), "Hello, world!");
    }
    for client in &mut silent {
        assert_eq!(client.get("/hello").text(), "Hello, world!");
    }
    assert_eq!(burdened.workers("web"), workers);
}

#[test]
fn a_daemon_with_nothing_to_do_does_nothing() {
    let ratoon = Ratoon::serving(CONFIG);
    ratoon.ready_workers("web", 2);
    let mut idle: Vec<Client> = (0..20).map(|_| Client::connect(ratoon.address())).collect();
    for client in &mut idle {
        assert_eq!(client.get("/hello").status, 200);
    }
    let family = ratoon.everybody();
    assert_eq!(family.len(), 5, "supervisor, log process, template and two workers");
    // How often they went to sleep, and how long they ran: who spins never sleeps.
    let wakes = |pid: &_| process::status(*pid, "voluntary_ctxt_switches");
    let activity = || {
        let (wakes, ran) = (family.iter().map(wakes), family.iter().map(|pid| process::cpu_time(*pid)));
        (wakes.sum::<u64>(), ran.sum::<Duration>())
    };
    // What the beginning left to be done may still be on its way: one quiet interval in three is enough.
    let intervals: Vec<_> = (0..3)
        .map(|_| {
            let before = activity();
            std::thread::sleep(Duration::from_secs(2));
            let after = activity();
            (after.0 - before.0, after.1 - before.1)
        })
        .collect();
    let is_quiet = |(wakes, ran): &(u64, Duration)| *wakes <= 2 && *ran <= Duration::from_millis(20);
    assert!(intervals.iter().any(is_quiet), "wake-ups and time in two seconds each: {intervals:?}");
    assert!(idle.iter_mut().all(|client| client.get("/hello").status == 200));
}
