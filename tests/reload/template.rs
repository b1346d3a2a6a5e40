//! The template after a reload: one is left, and when it dies nobody notices.

use nix::sys::signal::{Signal, kill};

use super::{generation, generations, reload_well, web};
use crate::harness::{Ratoon, SOON, eventually, process};

#[test]
fn the_old_template_leaves_once_the_new_generation_has_settled() {
    let ratoon = Ratoon::serving(&web(""));
    let before = process::children(ratoon.pid(), "ratoon: web template");
    reload_well(&ratoon);
    eventually("the new template is left", SOON, || {
        let templates = process::children(ratoon.pid(), "ratoon: web template");
        (templates.len() == 1 && templates != before).then_some(())
    });
    ratoon.logged("template gone", &[("gen", 1.into()), ("cause", "retired by reload".into())]);
    assert!(ratoon.all_logged("template died", &[]).is_empty());
}

/// "The template itself dying later is replaced without touching serving workers."
#[test]
fn a_template_that_dies_after_a_reload_is_replaced_and_the_workers_serve_on() {
    let ratoon = Ratoon::serving(&web(""));
    ratoon.configure(&web("settings = { load = \"memory:3\" }"));
    reload_well(&ratoon);
    let workers = ratoon.ready_workers("web", 2);
    assert_eq!(generations(&ratoon, "web", 2), [2, 2]);
    for next in [3, 4] {
        let template = eventually("one template", SOON, || {
            let templates = process::children(ratoon.pid(), "ratoon: web template");
            (templates.len() == 1).then(|| templates[0])
        });
        kill(template, Signal::SIGKILL).unwrap();
        ratoon.logged("template loaded", &[("gen", next.into())]);
        assert_eq!(ratoon.ready_workers("web", 2), workers);
    }
    // Who comes after that is of the reloaded configuration, too.
    kill(workers[0], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[("pid", workers[0].as_raw().into())]);
    let replaced = ratoon.ready_workers("web", 2);
    let newcomer = *replaced.iter().find(|pid| **pid != workers[1]).unwrap();
    assert_eq!(generation(&ratoon, newcomer), 4);
    let word = "environment:NOBODY";
    let mut seen = std::collections::BTreeSet::new();
    eventually("both have answered", SOON, || {
        let (mut client, pid) = ratoon.engage(ratoon.address(), word);
        assert_eq!(client.response().text(), "unset");
        seen.insert(pid.as_raw());
        (seen.len() == 2).then_some(())
    });
}

/// A template that dies while its edition is tried is that edition's failure, and nobody else's.
#[test]
fn the_serving_template_may_die_during_a_reload() {
    let ratoon = Ratoon::serving(&web(""));
    let old = process::children(ratoon.pid(), "ratoon: web template")[0];
    let file = ratoon.directory().join("go");
    ratoon.configure(&web(&format!("settings = {{ start = \"{}\" }}", super::until(&file))));
    let asking = super::reloading(&ratoon, &[]).spawn().unwrap();
    eventually("the new worker starts", SOON, || (ratoon.workers("web").len() == 3).then_some(()));
    kill(old, Signal::SIGKILL).unwrap();
    ratoon.logged("template died", &[("gen", 1.into())]);
    std::fs::write(&file, "").unwrap();
    let outcome = super::Outcome::of(&asking.wait_with_output().unwrap());
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let newest = generations(&ratoon, "web", 2);
    assert!(newest.iter().all(|generation| *generation > 1), "{newest:?}");
}

/// Nor does it speak against a release that somebody kills its template.
#[test]
fn a_new_template_that_is_killed_from_outside_is_tried_again() {
    let ratoon = Ratoon::serving(&web(""));
    let before = process::children(ratoon.pid(), "ratoon: web template");
    let file = ratoon.directory().join("go");
    ratoon.configure(&web(&format!("settings = {{ load = \"{}\" }}", super::until(&file))));
    let asking = super::reloading(&ratoon, &[]).spawn().unwrap();
    let new = eventually("the new template loads", SOON, || {
        process::children(ratoon.pid(), "ratoon: web template").into_iter().find(|pid| !before.contains(pid))
    });
    kill(new, Signal::SIGKILL).unwrap();
    ratoon.logged("template died", &[("cause", "killed from outside".into())]);
    std::fs::write(&file, "").unwrap();
    let outcome = super::Outcome::of(&asking.wait_with_output().unwrap());
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
}
