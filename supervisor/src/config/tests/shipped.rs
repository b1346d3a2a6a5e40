//! The shipped config.toml: valid, complete, equal to the defaults in code, and hard to break the parser with.

use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use super::complaints;
use crate::config::*;

const SHIPPED: &str = include_str!("../../../../config.toml");

const NOT_THE_DEFAULT: &str = "not the default";

/// The text read without asking whether it makes sense as a whole: a pool without listeners passes.
fn read(text: &str) -> Config {
    let document = DeValue::Table(DeTable::parse(text).unwrap().into_inner());
    let (config, mistakes) = document::read::<Config>(&document);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    config.unwrap()
}

#[test]
fn the_shipped_file_is_valid() {
    let config = parse(SHIPPED, "config.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let [web] = config.pools.as_slice() else { panic!("one pool is enough for a first run") };
    assert_eq!(web.listen, [Listen::new("127.0.0.1:8080".parse().unwrap())]);
    assert_eq!(Value::from(web.settings.clone()), json!({ "faults": true }));
    assert_eq!(web.program, None);
    assert_eq!(config.admin.listen, Some(Listen::new("127.0.0.1:9180".parse().unwrap())));
}

#[test]
fn the_shipped_file_states_the_defaults_but_where_it_says_otherwise() {
    let told: Vec<&str> =
        SHIPPED.lines().filter(|line| line.contains(" = ") && line.contains(NOT_THE_DEFAULT)).collect();
    assert_eq!(told.len(), 3, "both addresses and the faults: {told:?}");
    let rest: String = SHIPPED.lines().filter(|line| !told.contains(line)).map(|line| format!("{line}\n")).collect();
    let config = read(&rest);
    assert_eq!(config.log, Log::default());
    assert_eq!(config.control, Control::default());
    assert_eq!(config.admin, Admin::default());
    assert_eq!(config.pools, [Pool { name: "web".into(), ..Pool::default() }]);
}

/// The lines of the shipped file, commented out or not, each with the path of the table it stands in.
fn lines() -> Vec<(String, &'static str)> {
    let mut table = String::new();
    let lines = SHIPPED.lines().map(|line| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(path) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = path.replace("pool.web", "pool.NAME");
        }
        (table.clone(), line)
    });
    lines.collect()
}

/// The line of the shipped file, from 0, that shows the key at `path`, commented out or not.
fn line_showing(path: &str) -> Option<usize> {
    let tables = ["", "log", "control", "admin", "pool.NAME", "pool.NAME.database"];
    let table = tables.iter().rfind(|table| path.strip_prefix(**table).is_some_and(|rest| rest.starts_with('.')));
    let (table, key) = (*table?, path.rsplit('.').next()?);
    lines().iter().position(|(its, line)| {
        // A table within a line.
        let is_within = path != format!("{table}.{key}");
        let shows = line.starts_with(&format!("{key} = "))
            || is_within && line.contains(&format!("{{ {key} = "))
            || is_within && line.contains(&format!(", {key} = "));
        its == table && shows || its == path
    })
}

#[test]
fn the_shipped_file_shows_every_key_in_the_order_of_the_reference() {
    assert!(KEYS.len() > 20, "{KEYS:?}");
    let shown: Vec<_> = KEYS.iter().map(|key| (line_showing(key.path), key.path)).collect();
    assert!(shown.is_sorted_by_key(|(line, _)| *line) && shown.iter().all(|(line, _)| line.is_some()), "{shown:#?}");
}

#[test]
fn what_the_shipped_file_shows_commented_out_is_valid_too() {
    let shown: Vec<(String, &str)> = lines()
        .into_iter()
        .zip(SHIPPED.lines())
        .filter(|(_, written)| written.starts_with("# "))
        .map(|(shown, _)| shown)
        .filter(|(_, line)| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
        .collect();
    assert!(shown.len() >= 3, "{shown:?}");
    for (table, line) in shown {
        let url = if line.starts_with("url") { "" } else { "url = \"postgres://db\"" };
        let listen = if line.starts_with("listen") { "" } else { "listen = [\"127.0.0.1:0\"]" };
        let access = if line.starts_with("access_") { "access = \"json\"" } else { "" };
        let said = ["static", "dynamic", "ondemand"].map(|scaling| {
            let pool = format!("[pool.web]\nscaling = {scaling:?}\n{listen}\n{access}\n");
            complaints(&match table.as_str() {
                "pool.NAME" => format!("{pool}{line}\n"),
                "pool.NAME.database" => format!("{pool}[pool.web.database]\n{url}\n{line}\n"),
                table => format!("[{table}]\n{line}\n{pool}"),
            })
        });
        assert!(said.contains(&String::new()), "{said:?}");
    }
}

#[test]
#[allow(clippy::print_stdout)]
fn no_mutation_of_the_shipped_file_is_a_panic_or_an_empty_answer() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let pieces =
        ["\"", "[", "]", "{", "}", "=", "\n", "#", ".", ",", "0", "-", "é", "\\u0000", "\r", "'''", "[[", "unix:"];
    let plain: Vec<&str> = SHIPPED.lines().filter(|line| !line.starts_with('#')).collect();
    let original = format!("[[pool.b.listen]]\naddress = \"unix:/x\"\nmode = \"0660\"\n{}", plain.join("\n"));
    for _ in 0..3_000 {
        let mut text: Vec<char> = original.chars().collect();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..text.len());
            let until = (at + random.usize(..20)).min(text.len());
            match random.u8(..4) {
                0 => drop(text.drain(at..until)),
                1 => drop(text.splice(at..at, random.choice(pieces).unwrap_or("").chars())),
                2 => text[at] = random.char(..),
                _ => {
                    let copy: Vec<char> = text[at..until].to_vec();
                    let to = random.usize(..text.len());
                    text.splice(to..to, copy);
                }
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(errors) = parse(&text, "config.toml") {
            assert!(errors.iter().next().is_some(), "{text}");
            for complaint in errors.iter() {
                let line = complaint.to_string();
                assert!(!complaint.message.is_empty() && !line.contains(char::is_control), "{line}\n{text}");
            }
        }
    }
}
