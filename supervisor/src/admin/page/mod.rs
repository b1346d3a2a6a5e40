//! The status page: one document as HTML, complete in itself, the same with and without a script.
//!
//! Owns what a person sees and how it is put. Everything is drawn here: the script only fetches this very page again and
//! moves what has changed into place. What clients have sent is text and nothing else, wherever it stands.

mod board;
mod chart;
mod header;
mod pool;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::history::History;
use crate::control::Status;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What a browser may do with it: run this script, use these styles, ask here again, and nothing else. They are known by
/// their digests, so that the page which the script fetches is held to the same.
pub(super) fn policy() -> String {
    let (script, style) = (digest(SCRIPT), digest(STYLE));
    format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// A text as such a policy names it.
fn digest(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut name = String::from("sha256-");
    for bytes in digest.as_ref().chunks(3) {
        let bits = (0..3).fold(0, |bits, place| bits << 8 | usize::from(bytes.get(place).copied().unwrap_or(0)));
        for place in 0..4 {
            let letter = LETTERS[bits >> (18 - 6 * place) & 63];
            name.push(if place <= bytes.len() { letter.into() } else { '=' });
        }
    }
    name
}

/// The page.
pub(super) fn of(status: &Status, history: &History) -> String {
    let busy: u32 = status.pools.iter().map(|pool| pool.active_processes).sum();
    let all: u32 = status.pools.iter().map(|pool| pool.total_processes).sum();
    let body = html! {
        (header::of(status))
        main {
            @for pool in &status.pools {
                (pool::of(pool, &history.of(pool, status.start_since_ms), status))
            }
        }
        footer {
            p {
                "Every number here is of one moment, "
                time datetime=(words::moment(status.time_ms)) { (words::moment(status.time_ms)) }
                ", and of the same document as " a href="/status.json" { "status.json" } "."
            }
            nav aria-label="For programs" {
                a href="/metrics" { "metrics" } " " a href="/healthz" { "healthz" } " " a href="/readyz" { "readyz" }
            }
        }
    };
    shell(&format!("{busy}/{all} busy · Ratoon"), &body)
}

/// The page while the supervisor does not answer.
pub(super) fn silent(silence: &str) -> String {
    let body = html! {
        header { (header::wordmark()) }
        main { section.pool { h2 { "No answer" } p #silence { (silence) "." } } }
    };
    shell("No answer · Ratoon", &body)
}

fn shell(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
                noscript { meta http-equiv="refresh" content="2"; }
            }
            body {
                p #connection role="status" {}
                div #live { (body) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

/// A shoot that grows beside the cut.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' \
                    stroke='%23548b3c' stroke-width='1.8' stroke-linecap='round'%3E%3Cpath d='M5 15V9M10 15V5M10 8c0-4 \
                    1.5-6 4.500-6.500C14.500 5 13 7.500 10 8'/%3E%3Cpath d='M3 9h4'/%3E%3C/svg%3E";

#[cfg(test)]
mod tests {
    use super::super::specimen;
    use super::*;

    #[test]
    fn what_a_client_has_sent_is_text_wherever_it_stands() {
        let page = of(&specimen::status(), &History::default());
        assert!(page.contains("GET /&lt;script&gt;1 HTTP/1.1"), "{page}");
        assert!(page.contains("GET /&lt;b&gt;dead&lt;/b&gt; HTTP/1.1") && page.contains("&lt;boot&gt;"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert!(!page.contains("<b>dead"), "{page}");
    }

    #[test]
    fn a_digest_is_named_as_the_policy_wants_it() {
        // The example of CSP level 2.
        assert_eq!(digest("alert('Hello, world.');"), "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=");
    }

    #[test]
    fn nothing_on_it_comes_from_elsewhere_or_escapes_the_policy() {
        let page = of(&specimen::status(), &History::default());
        for foreign in ["http://", "https://", " style=", " onclick=", "javascript:", "url("] {
            let found = page.replace("http://www.w3.org/2000/svg", "").contains(foreign);
            assert!(!found, "{foreign} in {page}");
        }
    }

    #[test]
    fn every_state_has_a_word_and_a_sign_of_its_own() {
        let page = of(&specimen::status(), &History::default());
        for word in ["idle", "busy", "starting", "retiring", "draining", "dying", "deferred", "vacant"] {
            assert!(page.contains(&format!(">{word}</")), "{word}: {page}");
        }
        assert!(page.contains("exited 3") && page.contains("killed from outside"), "{page}");
    }
}
