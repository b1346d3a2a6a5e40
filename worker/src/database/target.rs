//! Where a pool's database is and how it is to be reached: its URL, understood.
//!
//! A URL or key=value pairs as libpq has them, with its defaults, but for the environment (`PGHOST` and the like), service
//! files and password files, which are not looked at. What belongs to the session goes to the engine; hosts, TLS and what
//! a server must be for us are ours, for the engine without its runtime knows nothing of them. An error never contains
//! any of the text.

mod text;

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use tokio_postgres::Config;
use tokio_postgres::config::ChannelBinding;

use self::text::Parameters;
use super::tls::{Mode, Tls};
use crate::protocol::DatabaseRules;

/// Where a server listens that nobody says anything of, as the distributions have it.
const DIRECTORY: &str = "/var/run/postgresql";
const PORT: u16 = 5432;
/// Until the configuration says otherwise, in milliseconds.
const TCP_USER_TIMEOUT: u64 = 15_000;
/// The longest path of a socket, in bytes, its ending zero included: `sun_path`.
const LONGEST_PATH: usize = 108;

/// A database, and all that is needed to log in to it.
#[derive(Debug)]
pub(crate) struct Target {
    /// As whom, to which database, with which session.
    pub(crate) engine: Config,
    /// Where to try, in this order; at least one.
    pub(crate) places: Vec<Place>,
    pub(crate) tls: Tls,
    pub(crate) role: Role,
    /// In milliseconds: [`DatabaseRules::tcp_user_timeout`](crate::protocol::DatabaseRules::tcp_user_timeout).
    pub(crate) tcp_user_timeout: u64,
}

/// Where a server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A socket in the file system; TLS is never used there.
    Unix(PathBuf),
    Tcp {
        /// A name or an address; what a certificate is held against.
        host: String,
        /// Where it is said to be, so that nobody need be asked: `hostaddr`.
        address: Option<IpAddr>,
        port: u16,
    },
}

/// What a server must be for a session to stay there: `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
}

impl Role {
    /// What is asked of the server after logging in, and the one answer that suits; `None` if any server does.
    pub(crate) fn test(self) -> Option<(&'static str, &'static str)> {
        const READ_ONLY: &str = "SHOW transaction_read_only";
        const RECOVERY: &str = "SELECT pg_catalog.pg_is_in_recovery()";
        match self {
            Role::Any => None,
            Role::ReadWrite => Some((READ_ONLY, "off")),
            Role::ReadOnly => Some((READ_ONLY, "on")),
            Role::Primary => Some((RECOVERY, "f")),
            Role::Standby => Some((RECOVERY, "t")),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Any => "any",
            Role::ReadWrite => "read-write",
            Role::ReadOnly => "read-only",
            Role::Primary => "primary",
            Role::Standby => "standby",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Unix(path) => path.display().fmt(f),
            Place::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

impl Target {
    /// Understands a connection string. Who names no user is whoever this process runs as.
    ///
    /// # Errors
    /// What is wrong with it and what would be right, without a word of it.
    pub(crate) fn of(database: &DatabaseRules) -> Result<Target, String> {
        let mut target = Target::understand(database.url.reveal())?;
        target.tcp_user_timeout = database.tcp_user_timeout;
        if target.engine.get_user().is_none() {
            let user = User::from_uid(geteuid()).ok().flatten();
            let user = user.ok_or("it names no user, and the one this process runs as has no name")?;
            target.engine.user(user.name);
        }
        Ok(target)
    }

    /// The same, but nobody is asked who we are.
    pub(super) fn understand(url: &str) -> Result<Target, String> {
        let mut said = text::read(url)?;
        // As in libpq, nothing is as good as not a word.
        said.retain(|_, value| !value.is_empty());
        let places = places(&said)?;
        let tls = tls(&said)?;
        Ok(Target { engine: engine(&said)?, places, tls, role: role(&said)?, tcp_user_timeout: TCP_USER_TIMEOUT })
    }
}

/// Whether a connection string can be understood; what is wrong with it is said without a word of it.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn check_url(url: &str) -> Result<(), String> {
    Target::understand(url).map(drop)
}

fn engine(said: &Parameters) -> Result<Config, String> {
    let mut engine = Config::new();
    if let Some(user) = word(said, "user")? {
        engine.user(user);
    }
    if let Some(password) = said.get("password") {
        engine.password(password);
    }
    if let Some(name) = word(said, "dbname")? {
        engine.dbname(name);
    }
    if let Some(options) = word(said, "options")? {
        engine.options(options);
    }
    let name = word(said, "application_name")?.or(word(said, "fallback_application_name")?);
    engine.application_name(name.unwrap_or("ratoon"));
    engine.channel_binding(match word(said, "channel_binding")? {
        None | Some("prefer") => ChannelBinding::Prefer,
        Some("disable") => ChannelBinding::Disable,
        Some("require") => ChannelBinding::Require,
        Some(_) => return Err("channel_binding is one of disable, prefer and require".into()),
    });
    Ok(engine)
}

fn tls(said: &Parameters) -> Result<Tls, String> {
    let system = said.get("sslrootcert").is_some_and(|roots| roots == b"system");
    let roots =
        said.get("sslrootcert").filter(|_| !system).cloned().map(|path| PathBuf::from(OsString::from_vec(path)));
    if roots.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err("sslrootcert is the absolute path of a PEM file, or system".into());
    }
    let mode = match word(said, "sslmode")? {
        None if system => Mode::VerifyFull,
        None | Some("prefer") => Mode::Prefer,
        Some("disable") => Mode::Disable,
        Some("require") => Mode::Require,
        Some("verify-ca") => Mode::VerifyCa,
        Some("verify-full") => Mode::VerifyFull,
        Some("allow") => return Err("sslmode=allow is not supported: prefer asks for TLS first, disable never".into()),
        Some(_) => return Err("sslmode is one of disable, prefer, require, verify-ca and verify-full".into()),
    };
    if system && mode != Mode::VerifyFull {
        return Err("sslrootcert=system wants sslmode=verify-full: those authorities certify anybody".into());
    }
    match word(said, "sslnegotiation")? {
        None | Some("postgres") => Ok(Tls::new(mode, roots)),
        Some(_) => Err("sslnegotiation=postgres is the only one supported, and the default".into()),
    }
}

fn role(said: &Parameters) -> Result<Role, String> {
    if word(said, "load_balance_hosts")?.is_some_and(|order| order != "disable") {
        return Err("load_balance_hosts is not supported: hosts are tried in the order they are named".into());
    }
    match word(said, "target_session_attrs")? {
        None | Some("any") => Ok(Role::Any),
        Some("read-write") => Ok(Role::ReadWrite),
        Some("read-only") => Ok(Role::ReadOnly),
        Some("primary") => Ok(Role::Primary),
        Some("standby") => Ok(Role::Standby),
        Some(_) => Err("target_session_attrs is one of any, read-write, read-only, primary and standby".into()),
    }
}

fn places(said: &Parameters) -> Result<Vec<Place>, String> {
    let (hosts, addresses, ports) = (list(said, "host"), list(said, "hostaddr"), list(said, "port"));
    let count = hosts.len().max(addresses.len()).max(1);
    for (name, named) in [("host", hosts.len()), ("hostaddr", addresses.len())] {
        if named != 0 && named != count {
            return Err(format!("{named} of {name}, and {count} of the other: host and hostaddr name equally many"));
        }
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(format!("{} ports for {count} hosts: it is one for all, or one for each", ports.len()));
    }
    (0..count)
        .map(|index| {
            let (host, address) = (hosts.get(index), addresses.get(index));
            let port = ports.get(index).or(ports.first().filter(|_| ports.len() == 1));
            place(host.map_or(&[], Vec::as_slice), address.map_or(&[], Vec::as_slice), port.map_or(&[], Vec::as_slice))
                .map_err(|what| if count == 1 { what } else { format!("host {}: {what}", index + 1) })
        })
        .collect()
}

fn place(host: &[u8], address: &[u8], port: &[u8]) -> Result<Place, String> {
    let port = match port {
        [] => PORT,
        digits => {
            std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).filter(|&port| port != 0).ok_or(
                "the port is not a number from 1 to 65535; a : or / in a user name or password is written %3A or %2F",
            )?
        }
    };
    let address = match address {
        [] => None,
        text => {
            let address = std::str::from_utf8(text).ok().and_then(|text| text.parse::<IpAddr>().ok());
            Some(address.ok_or("hostaddr is not an IP address")?)
        }
    };
    match (host, address) {
        (b"", None) => socket(Path::new(DIRECTORY), port),
        ([b'/', ..], None) => socket(&PathBuf::from(OsString::from_vec(host.to_vec())), port),
        (b"", Some(known)) => Ok(Place::Tcp { host: known.to_string(), address, port }),
        (name, address) => {
            let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
            let host =
                name.ok_or("the host is neither a name, nor an address, nor the absolute path of a directory")?;
            Ok(Place::Tcp { host: host.to_owned(), address, port })
        }
    }
}

/// Whether it may be a host's name or address; whether there is such a host is another question. A link-local address
/// names its interface behind a `%`.
fn is_name(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<IpAddr>().is_ok()
        || (text.len() < 256 && text.chars().all(|each| each.is_alphanumeric() || "-._".contains(each)))
}

fn socket(directory: &Path, port: u16) -> Result<Place, String> {
    let path = directory.join(format!(".s.PGSQL.{port}"));
    match path.as_os_str().len() < LONGEST_PATH {
        true => Ok(Place::Unix(path)),
        false => Err(format!("the path of the Unix socket is longer than {} bytes", LONGEST_PATH - 1)),
    }
}

/// What stands between the commas.
fn list(said: &Parameters, key: &str) -> Vec<Vec<u8>> {
    said.get(key).map_or_else(Vec::new, |value| value.split(|&byte| byte == b',').map(<[u8]>::to_vec).collect())
}

fn word<'a>(said: &'a Parameters, key: &str) -> Result<Option<&'a str>, String> {
    let text = said.get(key).map(|value| std::str::from_utf8(value)).transpose();
    text.map_err(|_| format!("{key} is not UTF-8"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
