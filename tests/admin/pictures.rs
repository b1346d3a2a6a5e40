//! The pictures of the status page in docs/, of a real one: `make pictures` draws them anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::page::{assert_no_complaint, watching};
use crate::harness::{ADMIN, Client, RaisedAtTheEnd, Ratoon, get, root};

/// Where they are put; elsewhere than in a directory of the test's own only if this says so.
const PLACE: &str = "RATOON_PICTURES";

/// How long the charts are given to have something to show.
const LONG_ENOUGH: Duration = Duration::from_secs(100);

#[test]
#[ignore = "takes two minutes"]
fn the_pictures_in_the_documentation() {
    let web = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 16\nrequest_timeout = \"12s\"\nsettings = { faults = true }\n";
    let jobs = "[pool.jobs]\nlisten = [\"127.0.0.1:0\"]\nscaling = \"dynamic\"\nmax_workers = 12\nmax_requests = 400\n";
    let ratoon = Ratoon::serving(&format!("{ADMIN}{web}{jobs}"));
    let place = std::env::var_os(PLACE).map_or_else(|| ratoon.directory().to_owned(), |place| root().join(place));
    let mut browser = watching(&ratoon);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = RaisedAtTheEnd(&is_over);
        let begun = Instant::now();
        for (pool, clients) in [("web", 9), ("jobs", 3)] {
            let address = ratoon.address_of(pool);
            for number in 0..clients {
                let is_over = &is_over;
                scope.spawn(move || visit(address, number, begun, is_over));
            }
        }
        while begun.elapsed() < LONG_ENOUGH {
            browser.value("document.title");
            std::thread::sleep(Duration::from_millis(200));
        }
        let address = ratoon.address_of("web");
        for time in [11_000, 9_000, 6_000] {
            scope.spawn(move || drop(Client::connect(address).try_get(&format!("/sleep?ms={time}"))));
            std::thread::sleep(Duration::from_millis(1600));
        }
        assert_eq!(get(address, "/crash?how=segfault").status, 500);
        kill(ratoon.workers("web")[3], Signal::SIGKILL).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        for scheme in ["light", "dark"] {
            browser.prefer("prefers-color-scheme", scheme);
            browser.resize(1160, 800);
            // Colours change gently.
            std::thread::sleep(Duration::from_secs(1));
            browser.picture(&place.join(format!("status-page-{scheme}.png")));
        }
        assert_no_complaint(&mut browser);
    });
}

/// Somebody who asks for this and that, now more and now less.
fn visit(address: std::net::SocketAddr, number: u64, begun: Instant, is_over: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(number);
    while !is_over.load(Ordering::SeqCst) {
        let Ok(mut client) = Client::try_connect(address) else { continue };
        for _ in 0..random.u32(10..60) {
            let target = match random.u32(..12) {
                0 => format!("/sleep?ms={}", random.u32(5..80)),
                1 | 2 => "/whoami".to_owned(),
                3 => format!("/spin?ms={}", random.u32(1..4)),
                _ => "/hello".to_owned(),
            };
            if is_over.load(Ordering::SeqCst) || client.try_get(&target).is_err() {
                break;
            }
            let tide = 1.0 + (begun.elapsed().as_secs_f64() / 9.0).sin();
            std::thread::sleep(Duration::from_secs_f64(random.f64() * 0.02 * (0.4 + tide)));
        }
    }
}

/// A picture that nobody has drawn is no picture: those that the documentation shows are there.
#[test]
fn the_documentation_has_its_pictures() {
    for scheme in ["light", "dark"] {
        let bytes = std::fs::read(root().join(format!("docs/status-page-{scheme}.png"))).unwrap();
        assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() > 20_000);
    }
}
