//! "`auto` = text with colour on a terminal, journald's native fields under systemd, JSON otherwise": the journal's part is
//! proven with a real one, in the chapter of systemd.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ratoon, SOON, Terminal, eventually, fixture, get};

/// A configuration in a directory of its own.
fn config(lines: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, lines).unwrap();
    (directory, path)
}

#[test]
fn on_a_terminal_lines_are_text_with_the_level_in_colour() {
    let (_directory, path) = config(&fixture::pool("web", "workers = 1"));
    let mut terminal = Terminal::open(&format!("run --config {}", path.display()));
    let shown = terminal.shows("serving: every pool has a ready worker\r\n");
    terminal.types("\x03");
    terminal.end();
    let ready = shown.lines().find(|line| line.contains(" ready boot=")).unwrap_or_else(|| panic!("{shown:?}"));
    let (time, rest) = ready.split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{ready:?}");
    assert!(rest.starts_with("\x1b[32m INFO\x1b[0m pool=web worker=0 gen=1 pid="), "{ready:?}");
}

#[test]
fn in_a_pipe_lines_are_json_and_text_without_colour_where_that_is_wanted() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1"));
    get(ratoon.address(), "/print:stdout:a~word");
    ratoon.logged("a~word", &[]);
    let is_object = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"] == "INFO");
    assert!(ratoon.text().lines().all(is_object), "{}", ratoon.text());

    let pool = fixture::pool("web", "workers = 1\nsettings = { start = \"print:stdout:a~word\" }");
    let ratoon = Ratoon::start(&format!("[log]\nformat = \"text\"\n{pool}"));
    let says = |words: &str| {
        let line = eventually(&format!("a line with {words:?}:\n{}", ratoon.text()), SOON, || {
            ratoon.text().lines().find(|line| line.contains(words)).map(str::to_owned)
        });
        let (_, rest) = line.split_once(' ').unwrap();
        assert!(rest.starts_with(" INFO pool=web worker=0 gen=1 pid="), "{line:?}");
    };
    says(" ready boot=");
    says(" a~word stream=stdout");
    assert!(!ratoon.text().contains('\x1b') && !ratoon.text().contains('{'), "{}", ratoon.text());
}
