//! Promised: what the documentation says is there, is there.

use std::fs;
use std::path::{Path, PathBuf};

use ratoon_worker::scoreboard::Stale;

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

/// Headings and lists quote a message, or its beginning; a line of the log has it between its level and its first field.
#[test]
fn the_messages_by_which_trouble_is_looked_up_are_those_of_the_log() {
    let mut source = String::new();
    ["supervisor/src", "worker/src"].iter().for_each(|place| code(&root().join(place), &mut source));
    let manual = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let quoting = manual.lines().filter(|line| line.starts_with("## ") || line.starts_with("* `"));
    let messages: Vec<&str> = quoting.filter_map(|line| line.split('`').nth(1)).collect();
    assert!(messages.len() > 10, "{messages:?}");
    let levels = ["INFO ", "WARN ", "ERROR "];
    let logged = manual.lines().filter_map(|line| levels.iter().find_map(|level| line.strip_prefix(level)));
    let said = logged.map(|rest| rest.split_once('=').map_or(rest, |(before, _)| before.rsplit_once(' ').unwrap().0));
    for message in messages.into_iter().chain(said) {
        assert!(source.contains(message), "nobody says {message:?}");
    }
}

#[test]
fn every_cause_for_which_a_connection_to_the_database_is_given_up_is_explained() {
    let manual = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    for cause in Stale::ALL.map(Stale::name) {
        assert!(manual.contains(&format!("\n* `{cause}`: ")), "{cause}");
    }
}

/// The map: each line that names something, as the folder it is in and what is named there.
fn map() -> Vec<(PathBuf, Vec<String>)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let block = text.split_once("## Where things are\n\n```\n").unwrap().1.split_once("\ntests/").unwrap().0;
    let (mut crate_folder, mut folder, mut found) = (PathBuf::new(), PathBuf::new(), Vec::new());
    for line in block.lines() {
        let depth = line.len() - line.trim_start().len();
        // Names and what is said of them take turns; two blanks are between them.
        let cells = line.trim_start().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).step_by(2);
        let names: Vec<String> = cells.flat_map(|cell| cell.split(", ")).map(|name| name.replace('/', "")).collect();
        match depth {
            0 => (crate_folder, folder) = (root().join(line.trim()), root().join(line.trim())),
            2 => {
                found.push((crate_folder.clone(), names.clone()));
                folder = crate_folder.join(&names[0]);
            }
            4 => found.push((folder.clone(), names)),
            _ => {}
        }
    }
    found
}

/// The modules of a folder, but for itself and its tests.
fn modules(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = entries
        .filter(|path| path.is_dir() || path.extension().is_some_and(|kind| kind == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !["mod", "lib", "main", "tests"].contains(&name.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn the_map_names_each_folder_and_each_file_that_is_there_and_no_other() {
    let map = map();
    for (folder, names) in &map {
        let there = modules(folder);
        for name in names {
            assert!(there.contains(name), "the map has {name:?} in {}, where nothing is called so", folder.display());
        }
    }
    let named = |folder: &Path, module: &String| map.iter().any(|(its, names)| its == folder && names.contains(module));
    for source in ["supervisor/src", "worker/src"].map(|place| root().join(place).join("")) {
        let folders: Vec<PathBuf> = modules(&source).iter().map(|name| source.join(name)).collect();
        let missing = |folder: &Path| {
            let names = modules(folder).into_iter().filter(|module| !named(folder, module));
            names.map(|name| folder.join(name)).collect::<Vec<_>>()
        };
        let mut lost = missing(&source);
        // A folder beside a file of its name is that file's own business, unless the map opens it.
        let is_open =
            |folder: &&PathBuf| !folder.with_extension("rs").exists() || map.iter().any(|(its, _)| its == *folder);
        lost.extend(folders.iter().filter(is_open).flat_map(|folder| missing(folder)));
        assert!(lost.is_empty(), "ARCHITECTURE.md's map does not have {lost:?}");
    }
}
