//! Promised: what the documentation says is there, is there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::root;

fn manuals() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    found.push(root().join("README.md"));
    found
}

#[test]
fn every_file_that_a_page_refers_to_is_there_and_the_readme_refers_to_every_page() {
    let mut referred = Vec::new();
    for manual in manuals() {
        let text = fs::read_to_string(&manual).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(manual.parent().unwrap().join(file).exists(), "{} refers to {file}", manual.display());
            if manual.ends_with("README.md") {
                referred.push(root().join(file));
            }
        }
    }
    for manual in manuals().iter().filter(|manual| !manual.ends_with("README.md")) {
        assert!(referred.contains(manual), "README.md should refer to {}", manual.display());
    }
}

/// All code of the product, each text on one line.
fn code(place: &Path, into: &mut String) {
    for entry in fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            code(&entry, into);
        } else if entry.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(entry).unwrap();
            let mut lines = text.split("\\\n");
            into.push_str(lines.next().unwrap_or_default());
            lines.for_each(|line| into.push_str(line.trim_start()));
        }
    }
}

/// Headings and lists quote a message, or its beginning.
#[test]
fn the_messages_by_which_trouble_is_looked_up_are_those_of_the_log() {
    let mut source = String::new();
    ["supervisor/src", "worker/src"].iter().for_each(|place| code(&root().join(place), &mut source));
    let manual = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let quoting = manual.lines().filter(|line| line.starts_with("## ") || line.starts_with("* `"));
    let messages: Vec<&str> = quoting.filter_map(|line| line.split('`').nth(1)).collect();
    assert!(messages.len() > 10, "{messages:?}");
    for message in messages {
        assert!(source.contains(message), "nobody says {message:?}");
    }
}
