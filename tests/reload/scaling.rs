//! A reload of pools whose size follows the load.

use super::{asked, generations, reload_well, status};
use crate::harness::{Ratoon, SOON, eventually, fixture, get};

/// A pool that scales in this way.
#[track_caller]
fn scaled(lines: &str) -> String {
    asked(&fixture::pool("web", &format!("settle = \"50ms\"\n{lines}")))
}

/// "`ondemand` starts from zero workers": a reload shows that one can be had, and leaves it at that.
#[test]
fn a_pool_that_has_no_worker_is_reloaded_and_serves_whoever_comes_then() {
    let ondemand = scaled("scaling = \"ondemand\"\nmax_workers = 3\nidle_timeout = \"200ms\"");
    let ratoon = Ratoon::serving(&ondemand);
    assert!(ratoon.workers("web").is_empty());
    reload_well(&ratoon);
    eventually("it returns to zero", SOON, || ratoon.workers("web").is_empty().then_some(()));
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    eventually("its worker is of the new generation", SOON, || {
        ratoon.all_logged("ready", &[("gen", 2.into())]).into_iter().nth(1)
    });
    eventually("it returns to zero again", SOON, || ratoon.workers("web").is_empty().then_some(()));
    ratoon.configure(&ondemand.replace("200ms\"", "200ms\"\nsettings = { start = \"error:no database\" }"));
    assert_eq!(super::reload(&ratoon, &[]).status, Some(1));
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}

#[test]
fn a_pool_may_scale_in_another_way_after_a_reload() {
    let ratoon = Ratoon::serving(&scaled("workers = 3"));
    ratoon.ready_workers("web", 3);
    ratoon.configure(&scaled(
        "scaling = \"dynamic\"\nmin_workers = 1\nmax_workers = 4\nmin_spare = 1\nmax_spare = 2\nworkers = 2",
    ));
    reload_well(&ratoon);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    assert_eq!(status(&ratoon)["pools"][0]["process_manager"], "dynamic");
    ratoon.configure(&scaled("scaling = \"ondemand\"\nmax_workers = 3\nidle_timeout = \"200ms\""));
    reload_well(&ratoon);
    eventually("nobody is needed", SOON, || ratoon.workers("web").is_empty().then_some(()));
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    ratoon.configure(&scaled("workers = 2"));
    reload_well(&ratoon);
    assert_eq!(generations(&ratoon, "web", 2), [4, 4]);
}
