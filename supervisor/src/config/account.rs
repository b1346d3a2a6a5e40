//! What is in force, key by key, and where each value comes from: for whoever wonders what a file means.
//!
//! Owns the form: TOML with dotted keys, one a line, and behind each where it stands. What may be secret is not told:
//! `settings`, and what the database is told. Never reads a file, and never decides a value.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::difference::gather;
use super::document::below;
use super::{Config, Pool, Scaling};

/// In the place of a value that is not told.
const HIDDEN: &str = "\"(hidden)\"";

impl Config {
    /// What is in force. `control` is where the control socket will be, whatever says so.
    pub fn account(&self, control: Option<&Path>) -> String {
        let mut lines = Vec::new();
        for (path, table) in [
            ("log", serde_json::to_value(&self.log)),
            ("control", serde_json::to_value(&self.control)),
            ("admin", serde_json::to_value(&self.admin)),
        ] {
            let mut values = BTreeMap::new();
            gather(&table.unwrap_or_default(), path, &mut values);
            lines.extend(values.iter().filter(|(key, _)| *key != path).map(|(key, value)| self.line(key, value)));
        }
        if let Some(socket) = control.filter(|_| self.control.socket.is_none()) {
            lines.push(line("control.socket", &written(&Value::String(socket.display().to_string())), "computed"));
        }
        for pool in &self.pools {
            lines.push(String::new());
            lines.extend(self.pool_account(pool));
        }
        lines.join("\n")
    }

    fn pool_account(&self, pool: &Pool) -> Vec<String> {
        let path = pool.path();
        let mut values = BTreeMap::new();
        gather(&serde_json::to_value(pool).unwrap_or_default(), &path, &mut values);
        let computed = computed(pool);
        values.retain(|key, _| {
            !computed.iter().any(|(name, _)| below(&path, name) == *key && self.origin.line(key).is_none())
        });
        let mut lines: Vec<(String, String)> =
            values.iter().map(|(key, value)| (key.clone(), self.line(key, value))).collect();
        for (name, value) in computed {
            let key = below(&path, name);
            if self.origin.line(&key).is_none() {
                let text = line(&key, &written(&value), "computed");
                lines.push((key, text));
            }
        }
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn line(&self, key: &str, value: &Value) -> String {
        let is_empty = value.as_object().is_some_and(serde_json::Map::is_empty);
        let shown = if is_secret(key) && !is_empty { HIDDEN.to_owned() } else { written(value) };
        // A listener may be written as nothing but its address.
        let shorthand = || key.strip_suffix(".address").and_then(|listener| self.origin.line(listener));
        match self.origin.line(key).or_else(shorthand) {
            Some(number) => line(key, &shown, &format!("{}:{number}", self.origin.file())),
            None => line(key, &shown, "default"),
        }
    }
}

fn line(key: &str, value: &str, origin: &str) -> String {
    format!("{:<55} # {origin}", format!("{key} = {value}"))
}

/// Whether the value at this key is not told. Pools' names have no dot.
pub(super) fn is_secret(key: &str) -> bool {
    let of_a_pool = key.strip_prefix("pool.").and_then(|rest| rest.split_once('.'));
    let is =
        |key: &str, table: &str| key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    of_a_pool.is_some_and(|(_, key)| {
        is(key, "settings")
            || is(key, "env")
            || ["database.url", "database.init_sql"].iter().any(|it| key.starts_with(it))
    })
}

/// The numbers that follow from others where the file says nothing.
fn computed(pool: &Pool) -> Vec<(&'static str, Value)> {
    let count = pool.headcount();
    let mut values = vec![("workers", count.workers.into())];
    match count.scaling {
        Scaling::Static => {}
        Scaling::Dynamic => values.extend([
            ("min_workers", count.min_workers.into()),
            ("max_workers", count.max_workers.into()),
            ("min_spare", count.min_spare.into()),
            ("max_spare", count.max_spare.into()),
        ]),
        Scaling::Ondemand => values = vec![("max_workers", count.max_workers.into())],
    }
    values
}

/// A value in the way TOML has it.
fn written(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Object(table) => {
            let told = table.iter().filter(|(_, value)| !value.is_null());
            format!("{{ {} }}", list(told.map(|(key, value)| format!("{key} = {}", written(value))).collect()))
        }
        Value::Array(items) => format!("[{}]", list(items.iter().map(written).collect())),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::config::parse;

    #[test]
    fn every_value_has_its_origin_and_secrets_are_not_told() {
        let text = "[pool.web]\nlisten = [\"127.0.0.1:80\"]\nmax_age = \"1h\"\n\
                    settings = { key = \"s3cret\", deep = { er = \"s3cret\" } }\n\
                    [pool.web.database]\nurl = \"postgres://u:s3cret@db/x\"\ninit_sql = \"set x = 's3cret'\"\n";
        let told = parse(text, "c.toml").unwrap().account(Some("/run/x/control.sock".as_ref()));
        for (line, origin) in [
            ("pool.web.max_age = \"1h\"", "c.toml:3"),
            ("pool.web.request_timeout = \"30s\"", "default"),
            ("control.socket = \"/run/x/control.sock\"", "computed"),
            ("pool.web.settings.deep.er = \"(hidden)\"", "c.toml:4"),
            ("pool.web.database.url = \"(hidden)\"", "c.toml:6"),
        ] {
            assert!(told.contains(&format!("{line:<55} # {origin}\n")), "no {line} # {origin} in:\n{told}");
        }
        assert!(told.lines().any(|line| line.starts_with("pool.web.workers = ") && line.ends_with("# computed")));
        assert!(!told.contains("s3cret"), "{told}");
    }

    #[test]
    fn a_listener_comes_from_its_line_in_either_form() {
        let pool = "[pool.web]\nlisten = [\"127.0.0.1:80\"]\n";
        for listen in ["\"127.0.0.1:1\"", "{ address = \"127.0.0.1:1\" }"] {
            let text = format!("{pool}[admin]\nlisten = {listen}\n");
            let told = parse(&text, "c.toml").unwrap().account(None);
            let of =
                |key: &str| told.lines().find(|line| line.starts_with(key)).and_then(|line| line.split("# ").nth(1));
            assert_eq!(of("admin.listen.address = "), Some("c.toml:4"), "{told}");
            assert_eq!(of("admin.listen.backlog = "), Some("default"), "{told}");
        }
    }

    #[test]
    fn what_is_told_is_toml_that_means_the_same() {
        let text = "[pool.web]\nlisten = [\"127.0.0.1:80\", { address = \"unix:/run/x\", mode = \"0600\" }]\n\
                    scaling = \"dynamic\"\n[pool.jobs]\nlisten = [\"127.0.0.1:81\"]\nprogram = [\"/bin/x\", \"a \\\"b\"]\n";
        let config = parse(text, "c.toml").unwrap();
        let again = parse(&config.account(None), "again.toml").unwrap();
        for pool in &again.pools {
            assert_eq!(pool.headcount(), config.pool(&pool.name).unwrap().headcount());
        }
        assert_eq!(again.account(None).matches("again.toml").count(), again.account(None).matches(" # ").count());
    }
}
