//! The URLs of databases that stand in a file or in our environment, read into the configuration.
//!
//! Owns what is said when one is not there. No message holds what was read. Never writes, and never blocks: a pipe is
//! refused before it is opened.

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use ratoon_worker::protocol::Secret;

use super::database::check;
use super::error::{Complaint, Errors};
use super::{Config, Database, Pool};

/// A URL is not longer, in bytes, with what surrounds it in a file.
const LONGEST: u64 = 16 * 1024;

impl Config {
    /// Reads every URL that stands elsewhere, so that from here on each database has its own in `url`.
    ///
    /// # Errors
    ///
    /// Every one that cannot be had, with its line and what would be right.
    pub(super) fn read_secrets(&mut self) -> Result<(), Errors> {
        let mut complaints: Vec<Complaint> = Vec::new();
        for pool in &mut self.pools {
            let path = format!("{}.database", pool.path());
            let Some(database) = &mut pool.database else {
                continue;
            };
            match elsewhere(database) {
                None => {}
                Some((_, Ok(url))) => database.url = Some(url),
                Some((key, Err(wrong))) => complaints.push(self.origin.complaint(&format!("{path}.{key}"), wrong)),
            }
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints.into_iter().collect()) }
    }

    /// The variables of our environment in which secrets stand: no template is given them.
    pub fn secret_variables(&self) -> impl Iterator<Item = &str> {
        self.pools.iter().filter_map(Pool::url_variable)
    }
}

impl Pool {
    /// The variable that holds its database's URL, if one does.
    pub fn url_variable(&self) -> Option<&str> {
        self.database.as_ref()?.url_env.as_deref()
    }
}

/// What stands in the file or in the variable that the database names, and at which key; `None` if it names none.
fn elsewhere(database: &Database) -> Option<(&'static str, Result<Secret, String>)> {
    let (key, read) = match (&database.url_file, &database.url_env) {
        (Some(path), _) => ("url_file", of_file(path)),
        (None, Some(name)) => ("url_env", of_variable(name)),
        (None, None) => return None,
    };
    Some((key, read))
}

fn of_file(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{shown} cannot be read: {error}: let the user that starts ratoon read it")
        }
        _ => format!("{shown} cannot be read: {error}: write the URL there, or name another file"),
    };
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("{shown} is not a regular file: name one"));
    }
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text)).map_err(failed)?;
    if text.len() as u64 > LONGEST {
        return Err(format!("{shown} is larger than 16KiB: it should hold the URL and nothing else"));
    }
    let text = String::from_utf8(text).map_err(|_| format!("{shown} is not UTF-8: it should hold the URL"))?;
    let url = text.trim();
    check(url).map_err(|wrong| format!("what {shown} holds {wrong}"))?;
    Ok(Secret::new(url))
}

fn of_variable(name: &str) -> Result<Secret, String> {
    let value = env::var_os(name)
        .ok_or_else(|| format!("there is no {name} in the environment: set it where ratoon is started"))?;
    let value = value.into_string().map_err(|_| format!("{name} is not UTF-8: it should hold the URL"))?;
    let url = value.trim();
    check(url).map_err(|wrong| format!("what {name} holds {wrong}"))?;
    Ok(Secret::new(url))
}
