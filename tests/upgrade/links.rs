//! Releases side by side, and a link that says which of them is meant.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::Signal;

use super::{TAKEN_OVER, config, install};
use crate::harness::{RATOON, Ratoon};

/// "The program that now stands at its path": the path it was started by, links and all.
#[test]
fn a_link_that_is_switched_to_the_next_release_is_followed() {
    let place = tempfile::tempdir().unwrap();
    for release in ["one", "two"] {
        std::fs::create_dir(place.path().join(release)).unwrap();
        install(Path::new(RATOON), &place.path().join(release).join("ratoon"), "0755");
    }
    let current = place.path().join("current");
    symlink("one", &current).unwrap();
    let program = current.join("ratoon");
    let ratoon = Ratoon::start_with(&config("workers = 1"), |command| {
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        crate::harness::wrap(command, &["/bin/sh", "-c", "shift; exec \"$0\" \"$@\"", program.to_str().unwrap()]);
        assert!(!arguments.is_empty());
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let executes = || std::fs::read_link(format!("/proc/{}/exe", ratoon.pid())).unwrap();
    assert!(executes().ends_with("one/ratoon"), "{:?}", executes());
    std::fs::remove_file(&current).unwrap();
    symlink("two", &current).unwrap();
    ratoon.signal(Signal::SIGUSR2);
    ratoon.logged(TAKEN_OVER, &[]);
    assert!(executes().ends_with("two/ratoon"), "{:?}", executes());
}
