//! The configuration file: one TOML text into one [`Config`], or every mistake in it, each as a line a person can
//! act on.
//!
//! Owns the meaning of every key, its default and its range; a key is written down once, as the field of a struct.
//! [`parse`] is pure but for counting the CPUs; what needs a look at the world waits: secrets that stand elsewhere for
//! [`load`], programs, directories and users for [`Config::examine`]. Nothing here opens a socket, starts a program, logs, or remembers an earlier file.

mod access;
mod account;
mod address;
mod admin;
mod by_name;
mod control;
mod count;
mod database;
mod difference;
mod document;
mod duration;
mod effect;
mod environment;
mod error;
mod examine;
mod file;
mod form;
mod identity;
mod listen;
mod log;
mod origin;
mod path;
mod percent;
mod pool;
mod program;
mod rlimits;
mod scaling;
mod secrets;
mod size;
#[cfg(test)]
mod tests;
mod trusted;

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

pub use address::Address;
pub use admin::Admin;
pub use control::Control;
pub use database::Database;
pub use difference::{Change, Difference, Kept, Listeners, Place};
pub use duration::written;
pub use effect::{Effect, KEYS, Key};
pub use environment::{ALWAYS, ALWAYS_BELOW};
pub use error::{Complaint, Errors};
pub use file::find;
pub use identity::Account;
pub use listen::Listen;
pub use log::{Format, Level, Log};
pub use origin::Origin;
pub use percent::Percent;
pub use pool::{HalfClose, OnFailure, Pool, Settings};
pub use ratoon_worker::protocol::{Forwarded, Panics, Reset};
pub use rlimits::Rlimits;
pub use scaling::{Headcount, Scaling};

use document::Mistake;

/// A whole configuration, valid in itself: ranges are kept, at least one pool, every pool with a listener, no
/// address twice.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is logged, and how.
    pub log: Log,
    /// Where the supervisor can be asked.
    pub control: Control,
    /// Where operators find the status page.
    pub admin: Admin,
    /// The pools, in the order of the file.
    #[serde(rename = "pool", with = "by_name")]
    pub pools: Vec<Pool>,
    /// Where each key was written, for messages that come later than the parsing.
    #[serde(skip)]
    pub origin: Origin,
}

/// Reads the configuration at `path`, with the secrets that it keeps elsewhere.
///
/// # Errors
///
/// The file cannot be read, what [`parse`] says about its text, or a secret cannot be read.
pub fn load(path: &Path) -> Result<Config, Errors> {
    let mut config = parse(&file::read(path)?, &path.display().to_string())?;
    config.read_secrets()?;
    Ok(config)
}

/// Reads only `[control]` of the configuration at `path`, whatever else may be wrong in it.
///
/// # Errors
///
/// The file cannot be read, its syntax is wrong, or `[control]` is.
pub fn control_of(path: &Path) -> Result<Control, Errors> {
    let (text, file) = (file::read(path)?, path.display().to_string());
    let table = DeTable::parse(&text).map_err(|wrong| error::syntax(&wrong, &text, &file))?.into_inner();
    let only = table.into_iter().filter(|(key, _)| key.get_ref() == "control").collect();
    let document = DeValue::Table(only);
    let origin = Origin::new(&file, &text, &document);
    let (config, mistakes) = document::read::<Config>(&document);
    match config {
        Some(config) if mistakes.is_empty() => Ok(config.control),
        _ => Err(mistakes.into_iter().map(|mistake| origin.complaint(&mistake.path, mistake.message)).collect()),
    }
}

/// Reads a configuration from its text; `file` is what messages call it.
///
/// # Errors
///
/// Every mistake found, in the order of the file: the first of syntax, or else all unknown keys, wrong types and wrong
/// values.
pub fn parse(text: &str, file: &str) -> Result<Config, Errors> {
    let document = DeTable::parse(text)
        .map(|table| DeValue::Table(table.into_inner()))
        .map_err(|wrong| error::syntax(&wrong, text, file))?;
    let origin = Origin::new(file, text, &document);

    let (config, mut mistakes) = document::read::<Config>(&document);
    if let Some(config) = &config {
        for found in config.contradictions(&origin) {
            found.join(&mut mistakes);
        }
    }
    match config {
        Some(config) if mistakes.is_empty() => Ok(Config { origin, ..config }),
        _ => Err(mistakes.into_iter().map(|mistake| origin.complaint(&mistake.path, mistake.message)).collect()),
    }
}

impl Config {
    /// What no single key can be blamed for.
    fn contradictions(&self, origin: &Origin) -> Vec<Mistake> {
        let mut found = Vec::new();
        if self.pools.is_empty() {
            found.push(Mistake::new(
                "pool",
                r#"no pool is configured: add a table [pool.web] with listen = ["127.0.0.1:8080"]"#,
            ));
        }
        let mut taken: Vec<(String, &Address)> = Vec::new();
        for pool in &self.pools {
            found.extend(pool.contradictions());
            for (index, listen) in pool.listen.iter().enumerate() {
                let path = format!("{}.listen[{index}]", pool.path());
                let address = &listen.address;
                if let Some((first, _)) = taken.iter().find(|(_, other)| address.collides(other)) {
                    let line = origin.line(first).map(|line| format!(" (line {line})"));
                    let twin = format!("{first}{}", line.unwrap_or_default());
                    found.push(Mistake::new(
                        &path,
                        format!("\"{address}\" is already listened on by {twin}: give each its own address"),
                    ));
                }
                taken.push((path, address));
            }
        }
        if let Some(listen) = &self.admin.listen {
            found.extend(listen.misplaced("admin.listen"));
            found.extend(listen.proxy_protocol.then(|| {
                Mistake::new(
                    "admin.listen.proxy_protocol",
                    "is for the clients of a pool, and operators come without a PROXY header: remove it",
                )
            }));
        }
        if let Some(Listen { address: address @ Address::Systemd(_), .. }) = &self.admin.listen {
            found.push(Mistake::new(
                "admin.listen",
                format!(
                    "\"{address}\" is systemd's, and only a pool can have that: write for example \"127.0.0.1:9180\""
                ),
            ));
        }
        for pool in &self.pools {
            for (index, name) in pool.pass_env.iter().enumerate() {
                if let Some(owner) = self.pools.iter().find(|other| other.url_variable() == Some(name)) {
                    let owner = owner.path();
                    found.push(Mistake::new(
                        &format!("{}.pass_env[{index}]", pool.path()),
                        format!("\"{name}\" holds the URL of {owner}.database, which no worker is given: remove it"),
                    ));
                }
            }
        }
        let control = self.control.socket.clone().map(Address::Unix);
        if let Some((path, address)) = taken.iter().find(|(_, address)| control.as_ref() == Some(*address)) {
            found.push(Mistake::new(
                "control.socket",
                format!("{path} listens on \"{address}\" already: give each its own path"),
            ));
        }
        if let Some(admin) = self.admin.listen.as_ref().map(|listen| &listen.address) {
            let taken = taken.iter().map(|(path, address)| (path.as_str(), *address));
            let mut taken = taken.chain(control.as_ref().map(|address| ("control.socket", address)));
            if let Some((path, _)) = taken.find(|(_, address)| admin.collides(address)) {
                let what = format!("{path} has \"{admin}\" already: give each its own address");
                found.push(Mistake::new("admin.listen", what));
            }
        }
        found
    }
}
