//! "A status page worth looking at", in a real browser: it shows what happens as it happens, and no client's line is
//! anything but text.

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use super::{serving, status, until};
use crate::harness::{Browser, Ratoon, SOON, eventually, fixture, get};

/// A browser that looks at the status page.
#[track_caller]
pub(super) fn watching(ratoon: &Ratoon) -> Browser {
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", ratoon.admin()));
    browser
}

/// The text of the first element that `selector` finds.
fn text(browser: &mut Browser, selector: &str) -> String {
    let found = browser.value(&format!("document.querySelector({selector:?})?.textContent ?? ''"));
    found.as_str().unwrap_or_default().to_owned()
}

#[track_caller]
pub(super) fn assert_no_complaint(browser: &mut Browser) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "the page complains: {complaints:?}");
}

/// "In a real browser the page shows a killed worker within two seconds, without errors in the console."
#[test]
fn it_shows_a_killed_worker_and_the_one_in_its_place() {
    let ratoon = serving(&fixture::pool("web", "workers = 2"));
    let workers = ratoon.ready_workers("web", 2);
    let mut browser = watching(&ratoon);
    let pid = "[data-slot='1'] [data-field=pid]";
    assert_eq!(text(&mut browser, pid), workers[1].to_string());
    // Nothing is loaded anew: what is marked now is still marked then.
    browser.value("document.querySelector('main').marked = true");
    kill(workers[1], Signal::SIGKILL).unwrap();
    let begun = std::time::Instant::now();
    eventually("its death is on the page", SOON, || {
        (text(&mut browser, ".deaths .cause") == "killed from outside").then_some(())
    });
    eprintln!("a killed worker was shown after {:?}", begun.elapsed());
    let replaced = ratoon.ready_workers("web", 2);
    eventually("the next one is, too", SOON, || (text(&mut browser, pid) == replaced[1].to_string()).then_some(()));
    assert_eq!(text(&mut browser, ".deaths tbody tr td:nth-child(3)"), workers[1].to_string());
    assert_eq!(browser.value("document.querySelector('main').marked"), true);
    assert_no_complaint(&mut browser);
}

/// "… and a reload within two seconds."
#[test]
fn it_shows_a_reload_and_how_far_it_is() {
    let ratoon = serving(&fixture::pool("web", "workers = 2\nsettle = \"5s\""));
    let mut browser = watching(&ratoon);
    assert_eq!(text(&mut browser, "[data-field=generations]"), "1");
    ratoon.signal(Signal::SIGHUP);
    let begun = std::time::Instant::now();
    eventually("the reload is on the page", SOON, || {
        (text(&mut browser, ".state") == "reloading" && !text(&mut browser, "[aria-current=step]").is_empty())
            .then_some(())
    });
    eprintln!("a reload was shown after {:?}", begun.elapsed());
    eventually("the new generation is, too", SOON, || {
        (text(&mut browser, "[data-field=generations]") == "2").then_some(())
    });
    eventually("it is watched", SOON, || {
        (text(&mut browser, "[aria-current=step]") == "watching it settle").then_some(())
    });
    eventually("its outcome is told", SOON, || {
        text(&mut browser, ".verdict").starts_with("Last reload succeeded").then_some(())
    });
    assert_no_complaint(&mut browser);
}

/// "Without JavaScript it works by plain refresh."
#[test]
fn without_scripts_it_is_complete_and_refreshes_itself() {
    let ratoon = serving(&fixture::pool("web", "workers = 2"));
    let workers = ratoon.ready_workers("web", 2);
    let mut browser = Browser::start();
    browser.order("Emulation.setScriptExecutionDisabled", serde_json::json!({ "value": true }));
    browser.open(&format!("http://{}/", ratoon.admin()));
    kill(workers[0], Signal::SIGKILL).unwrap();
    let replaced = ratoon.ready_workers("web", 2);
    let wanted = [replaced[0].to_string(), "killed from outside".to_owned()];
    eventually("the page has refreshed itself", SOON, || {
        let shown = browser.glance("document.body.textContent")?;
        wanted.iter().all(|text| shown.as_str().unwrap_or_default().contains(text)).then_some(())
    });
    assert_no_complaint(&mut browser);
}

/// "What a client has sent is text": a request line that would be markup, a script, or turn the line around.
#[test]
fn a_hostile_request_line_is_text() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    // As much of markup as a target may hold; what a worker might write into its own cell is the page's own tests' affair.
    let target = "/ok\"onmouseover=\"alert(1)\"'&lt;script&gt;alert(2)&lt;/script&gt;";
    let _ = get(ratoon.address(), target);
    let mut browser = watching(&ratoon);
    let shown = text(&mut browser, "[data-slot='0'] .request code");
    assert!(shown.starts_with("GET /ok\"onmouseover=\"alert(1)\"'&lt;script&gt;"), "{shown}");
    assert_eq!(browser.value("document.querySelectorAll('main img, main script, main svg:not(.chart)').length"), 0);
    assert_eq!(browser.value("document.querySelectorAll('[onmouseover], [onload]').length"), 0);
    assert!(browser.value("document.title").as_str().unwrap().ends_with("Ratoon"));
    assert_no_complaint(&mut browser);
}

/// "The numbers agree with `/status.json`": where both are of one moment, they are the same.
#[test]
fn the_numbers_are_those_of_the_document_of_the_same_moment() {
    let ratoon = serving(&fixture::pool("web", "workers = 3"));
    ratoon.ready_workers("web", 3);
    let go = until(&ratoon, "go");
    let _busy = ratoon.engage(ratoon.address(), &go);
    for _ in 0..20 {
        assert_eq!(get(ratoon.address(), "/ok").status, 200);
    }
    let (page, document) = eventually("both are of one moment", SOON, || {
        let (page, document) = (get(ratoon.admin(), "/").text(), status(ratoon.admin()));
        let moment = document["time_ms"].as_u64().unwrap();
        let millis = format!(".{:03}Z", moment % 1000);
        let requests = document["pools"][0]["traffic"]["requests"].as_u64();
        let is_over = requests == Some(21) && document["pools"][0]["active_processes"] == 1;
        (is_over && page.contains(&millis)).then_some((page, document))
    });
    let pool = &document["pools"][0];
    let number = |field: &str| -> Vec<u64> {
        let mark = format!("data-field=\"{field}\" value=\"");
        let parts = page.split(&mark).skip(1);
        parts.map(|part| part.split('"').next().unwrap().parse().unwrap()).collect()
    };
    for field in ["active_processes", "wanted_processes"] {
        assert_eq!(number(field), [pool[field].as_u64().unwrap()], "{field}");
    }
    assert_eq!(number("active_processes"), [1]);
    let listener = &pool["listeners"][0];
    assert_eq!(number("listen_queue"), [listener["listen_queue"].as_u64().unwrap()]);
    let requests: Vec<u64> =
        pool["processes"].as_array().unwrap().iter().map(|worker| worker["requests"].as_u64().unwrap()).collect();
    assert_eq!(number("requests"), requests);
    assert_eq!(requests.iter().sum::<u64>(), 21);
}

/// "Legible in light and dark, on a phone, and to a screen reader."
#[test]
fn it_fits_a_phone_has_two_palettes_and_names_everything() {
    let ratoon = serving(&(fixture::pool("web", "workers = 80") + &fixture::pool("jobs", "workers = 2")));
    let long = format!("ok?{}", "x".repeat(200));
    assert_eq!(get(ratoon.address_of("jobs"), &format!("/{long}")).status, 200);
    let mut browser = watching(&ratoon);
    for width in [360, 768, 1280] {
        browser.resize(width, 800);
        let overflow = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(overflow, 0, "at {width} pixels something sticks out");
    }
    let mut colours = |scheme: &str| {
        browser.prefer("prefers-color-scheme", scheme);
        browser.value("getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color")
    };
    assert_ne!(colours("light"), colours("dark"));
    let nameless = browser.value(
        "[...document.querySelectorAll('svg, [role=img], section, progress')].filter(e => e.ariaHidden !== 'true' \
         && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby')).map(e => e.outerHTML.slice(0, 80))",
    );
    assert_eq!(nameless, Value::Array(Vec::new()));
    for landmark in ["header", "main", "footer", "h1", "th[scope=col]", "th[scope=row]", "html[lang]"] {
        assert_ne!(text(&mut browser, landmark), "", "{landmark}");
    }
    assert_no_complaint(&mut browser);
}

#[test]
fn while_the_supervisor_is_silent_the_page_says_so_and_then_goes_on() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let mut browser = watching(&ratoon);
    ratoon.signal(Signal::SIGSTOP);
    eventually("it says so", SOON, || {
        text(&mut browser, "#connection").contains("the supervisor has not answered within 1 s").then_some(())
    });
    ratoon.signal(Signal::SIGCONT);
    eventually("it goes on", SOON, || text(&mut browser, "#connection").is_empty().then_some(()));
    assert_eq!(browser.value("document.documentElement.className"), "");
}
