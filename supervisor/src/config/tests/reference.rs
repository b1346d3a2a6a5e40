//! The declaration of every key held to the structs, and docs/configuration.md to the declarations.

use std::collections::BTreeSet;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::config::*;

const MANUAL: &str = include_str!("../../../../docs/configuration.md");

/// Every key with its default, by its path in the declarations; null where it has none.
fn defaults() -> Vec<(String, Value)> {
    let listen = vec![Listen::new("127.0.0.1:0".parse().unwrap())];
    let pool = Pool { name: "NAME".into(), listen, database: Some(Database::default()), ..Pool::default() };
    let specimen = Config { pools: vec![pool], ..Config::default() };
    let mut keys = Vec::new();
    gather(&serde_json::to_value(&specimen).unwrap(), "", &mut keys);
    keys
}

fn gather(value: &Value, path: &str, keys: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(table) if !table.is_empty() => table.iter().for_each(|(key, value)| {
            let separator = if path.is_empty() { "" } else { "." };
            gather(value, &format!("{path}{separator}{key}"), keys);
        }),
        Value::Array(items) if items.is_empty() => keys.push((path.to_owned(), Value::Null)),
        Value::Array(items) => items.iter().for_each(|item| gather(item, &format!("{path}[]"), keys)),
        _ => keys.push((path.to_owned(), value.clone())),
    }
}

#[test]
fn every_key_is_declared_once_and_nothing_else_is() {
    let declared: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
    let distinct: BTreeSet<&str> = declared.iter().copied().collect();
    assert_eq!(declared.len(), distinct.len(), "declared twice");
    let keys = defaults();
    let keys: BTreeSet<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys.difference(&distinct).collect::<Vec<_>>(), Vec::<&&str>::new(), "not declared");
    assert_eq!(distinct.difference(&keys).collect::<Vec<_>>(), Vec::<&&str>::new(), "no such key");
}

#[test]
fn a_declared_default_is_the_default() {
    for (path, value) in defaults() {
        let key = KEYS.iter().find(|key| key.path == path).unwrap();
        let written = match &value {
            // What has no value by default is declared in words, and a listener has no address.
            Value::Null | Value::Object(_) => continue,
            _ if path.ends_with(".address") => continue,
            Value::String(_) => format!("{:?}", key.default),
            _ => key.default.to_owned(),
        };
        // A duration can be written in several ways: what counts is what is read.
        let text = match path.strip_prefix("pool.NAME.listen[].") {
            Some(inner) => format!("pool.NAME.listen = [{{ address = \"127.0.0.1:0\", {inner} = {written} }}]"),
            None => format!("{path} = {written}"),
        };
        let document = DeValue::Table(DeTable::parse(&text).unwrap().into_inner());
        let (config, mistakes) = document::read::<Config>(&document);
        assert!(mistakes.is_empty(), "{text}: {mistakes:?}");
        let mut read = Vec::new();
        gather(&serde_json::to_value(config.unwrap()).unwrap(), "", &mut read);
        assert!(read.contains(&(path, value)), "{text}");
    }
    let ondemand = Pool { scaling: Scaling::Ondemand, ..Pool::default() }.headcount();
    for (key, text) in [("idle_timeout", "10s"), ("spawn_rate", "32")] {
        assert_eq!(KEYS.iter().find(|declared| declared.path.ends_with(key)).unwrap().default, text);
    }
    assert_eq!((ondemand.idle_timeout.as_secs(), ondemand.spawn_rate), (10, 32));
}

#[test]
fn every_declaration_says_why() {
    for key in KEYS {
        assert!(!key.why.is_empty() && !key.why.ends_with('.') && !key.why.contains(['|', '\n']), "{}", key.path);
    }
}

#[test]
fn the_manual_has_the_declarations_as_a_table() {
    let rows = KEYS.iter().map(|key| {
        let Key { path, default, effect, why } = key;
        format!("| `{path}` | {default} | {effect} | {why} |\n")
    });
    let table: String = ["| key | default | takes effect | because |\n|---|---|---|---|\n".to_owned()]
        .into_iter()
        .chain(rows)
        .collect();
    assert!(MANUAL.contains(&table), "the table in docs/configuration.md should be:\n{table}");
    assert_eq!(MANUAL.matches("\n| `").count(), KEYS.len(), "docs/configuration.md has more rows");
}
