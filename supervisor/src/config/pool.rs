//! `[pool.NAME]`: one program, its workers, its sockets and its limits.
//!
//! Owns the keys of a pool with their defaults and ranges, and what makes a pool impossible in itself. Never looks at
//! another pool, and never at the world but to count the CPUs for the default of `workers`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ratoon_worker::protocol::HalfClose;
use ratoon_worker::scoreboard::LISTENERS;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::count::Count;
use super::document::{Mistake, below};
use super::duration::{Patience, Timeout};
use super::error::quoted;
use super::listen::{self, Listen};
use super::size::{Amount, Size};

/// The longest name a pool can have, in characters: it must fit into a process title and a column of `status`.
const LONGEST_NAME: usize = 32;

/// What the application gets: free of any key of ours, with dates and times as strings.
pub type Settings = serde_json::Map<String, serde_json::Value>;

/// The keys of one pool. Equal pools behave alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// NAME in `[pool.NAME]`: at most 32 of `a-z`, `0-9`, `_` and `-`, with a letter first.
    #[serde(skip)]
    pub name: String,
    /// The sockets its workers accept from; at least one, so the default (none) has to be replaced.
    #[serde(deserialize_with = "listen::list")]
    pub listen: Vec<Listen>,
    /// The program and its arguments; `None` is the sample application. Never empty, and no part holds a zero byte. A
    /// name without a slash is looked for in `PATH`.
    #[serde(deserialize_with = "program")]
    pub program: Option<Vec<String>>,
    /// Workers, 1 to 1000; default twice the CPUs this process may use (affinity and cgroup quota counted), at least 4.
    #[serde(with = "Count::<1, 1000>")]
    pub workers: u32,
    /// From the fork of a worker until it is ready, and for a program to load; default 60 s.
    #[serde(with = "Timeout")]
    pub boot_timeout: Duration,
    /// From the start of a request's handler to its end; default 30 s.
    #[serde(with = "Timeout")]
    pub request_timeout: Duration,
    /// How much longer than `request_timeout` a worker may live before it is killed; default 5 s, zero kills at once.
    #[serde(with = "Patience")]
    pub kill_grace: Duration,
    /// From a graceful stop until what is left is killed; default 35 s, zero kills at once.
    #[serde(with = "Patience")]
    pub stop_timeout: Duration,
    /// For a whole head: from the connection's first moment, later from the head's first byte; default 10 s.
    #[serde(with = "Timeout")]
    pub header_timeout: Duration,
    /// The longest pause of a client that sends a body; default 30 s.
    #[serde(with = "Timeout")]
    pub body_timeout: Duration,
    /// The longest pause of a client that reads a response; default 30 s.
    #[serde(with = "Timeout")]
    pub send_timeout: Duration,
    /// How long a connection may be idle between requests; default 75 s.
    #[serde(with = "Timeout")]
    pub keep_alive_timeout: Duration,
    /// How many requests a worker serves before another takes its place, 0 to 1000000000; default 0: any number.
    #[serde(with = "Count::<0, 1_000_000_000>")]
    pub max_requests: u32,
    /// How long a request may have waited for a worker and still be run; default 0 s: for ever.
    #[serde(with = "Patience")]
    pub queue_timeout: Duration,
    /// Whether a client that has closed its half of the connection waits for its answer; default "wait".
    pub half_close: HalfClose,
    /// The longest request head, in bytes, 1 KiB to 1 MiB; default 16 KiB.
    #[serde(with = "Size::<{ 1 << 10 }, { 1 << 20 }>")]
    pub max_header: u64,
    /// The longest request body, in bytes; default 8 MiB, zero refuses every body.
    #[serde(with = "Amount")]
    pub max_body: u64,
    /// As much of a body is kept in memory, in bytes, the rest in a file; default 256 KiB. More than `max_body` means
    /// as much as `max_body`.
    #[serde(with = "Amount")]
    pub body_memory: u64,
    /// Where the files for bodies are made, absolute; default `/var/tmp`, which is a disk where `/tmp` may be memory.
    #[serde(deserialize_with = "directory")]
    pub body_dir: PathBuf,
    /// All bodies in files together, in bytes, over all workers of the pool; default 1 GiB.
    #[serde(with = "Amount")]
    pub body_disk: u64,
    /// Connections one worker holds open, 1 to 100000; default 4096.
    #[serde(with = "Count::<1, 100_000>")]
    pub max_connections: u32,
    /// Handed to the application as it is; default empty. Last, since a table ends the plain keys before it.
    pub settings: Settings,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool {
            name: String::new(),
            listen: Vec::new(),
            program: None,
            workers: default_workers(),
            boot_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            kill_grace: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(35),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(75),
            max_requests: 0,
            queue_timeout: Duration::ZERO,
            half_close: HalfClose::Wait,
            max_header: 16 << 10,
            max_body: 8 << 20,
            body_memory: 256 << 10,
            body_dir: PathBuf::from("/var/tmp"),
            body_disk: 1 << 30,
            max_connections: 4096,
            settings: Settings::new(),
        }
    }
}

/// Blocking workers wait more than they compute: two per CPU, and a few where there is only one.
fn default_workers() -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    u32::try_from(2 * cpus).unwrap_or(u32::MAX).clamp(4, 1000)
}

impl Pool {
    /// The path of this pool's table: `pool.web`.
    pub fn path(&self) -> String {
        below("pool", &self.name)
    }

    /// How many requests a worker may serve, if that is bounded.
    pub fn max_requests(&self) -> Option<u64> {
        Some(self.max_requests.into()).filter(|most| *most > 0)
    }

    /// What is wrong with this pool although each of its keys is right.
    pub(super) fn contradictions(&self) -> Vec<Mistake> {
        let path = self.path();
        let mut found = Vec::new();
        if !is_name(&self.name) {
            let name = quoted(&self.name);
            found.push(Mistake::new(
                &path,
                format!("{name} cannot name a pool: use 1 to {LONGEST_NAME} of a-z, 0-9, _ and -, a letter first"),
            ));
        }
        if self.listen.is_empty() {
            found.push(Mistake::new(
                &format!("{path}.listen"),
                r#"a pool needs a socket: write for example listen = ["127.0.0.1:8080"]"#,
            ));
        }
        if self.listen.len() > LISTENERS {
            let given = self.listen.len();
            found.push(Mistake::new(
                &format!("{path}.listen"),
                format!("{given} sockets are more than a pool can have: write at most {LISTENERS}, or another pool"),
            ));
        }
        for (index, listen) in self.listen.iter().enumerate() {
            if let Address::Tcp(address) = listen.address {
                let given = [
                    ("mode", listen.mode.is_some()),
                    ("owner", listen.owner.is_some()),
                    ("group", listen.group.is_some()),
                ];
                for (key, _) in given.into_iter().filter(|(_, given)| *given) {
                    found.push(Mistake::new(
                        &format!("{path}.listen[{index}].{key}"),
                        format!("belongs to unix sockets, and \"{address}\" is none: remove it"),
                    ));
                }
            }
        }
        found
    }
}

/// Whether `name` can stand in process titles, log lines, metrics and file names without quotes.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    name.len() <= LONGEST_NAME && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(allowed)
}

/// A program as a list of arguments.
fn program<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Arguments;

    impl<'de> Visitor<'de> for Arguments {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(r#"a list: write for example ["/srv/shop/bin/shop", "--verbose"]"#)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
            let words: Vec<&str> = text.split_whitespace().collect();
            Err(E::custom(format!("found {}, wanted a list: write {words:?}", quoted(text))))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
            let mut arguments = Vec::new();
            while let Some(argument) = items.next_element::<String>()? {
                if argument.contains('\0') {
                    return Err(A::Error::custom("an argument cannot hold a zero byte: remove it"));
                }
                arguments.push(argument);
            }
            if arguments.first().is_none_or(String::is_empty) {
                return Err(A::Error::custom(
                    "names no program: write one first in the list, or no list at all for the sample application",
                ));
            }
            Ok(arguments)
        }
    }

    deserializer.deserialize_any(Arguments).map(Some)
}

/// A directory by its absolute path.
fn directory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    if !Path::new(&text).is_absolute() || text.contains('\0') {
        return Err(D::Error::custom(format!(
            "{} is not an absolute path: write for example \"/var/tmp\"",
            quoted(&text)
        )));
    }
    Ok(PathBuf::from(text))
}

/// For `#[serde(with)]`: a list of pools as the table of tables it is in the file, in the file's order.
pub(super) mod by_name {
    use serde::de::MapAccess;
    use serde::ser::Serializer;

    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(pools: &[Pool], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pools.iter().map(|pool| (&pool.name, pool)))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pool>, D::Error> {
        struct Pools;

        impl<'de> Visitor<'de> for Pools {
            type Value = Vec<Pool>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one table per pool, such as [pool.web]")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut tables: A) -> Result<Vec<Pool>, A::Error> {
                let mut pools = Vec::new();
                while let Some((name, pool)) = tables.next_entry::<String, Pool>()? {
                    pools.push(Pool { name, ..pool });
                }
                Ok(pools)
            }
        }

        deserializer.deserialize_map(Pools)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_name_is_short_lowercase_and_starts_with_a_letter() {
        for name in ["web", "a", "jobs-2", "x_y", &"n".repeat(32)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "Web", "2web", "-web", "_web", "wéb", "we b", "web/1", &"n".repeat(33)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn the_default_number_of_workers_is_at_least_four() {
        assert!((4..=1000).contains(&default_workers()));
    }
}
