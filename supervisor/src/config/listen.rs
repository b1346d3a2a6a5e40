//! A place where clients connect: an address, and for a unix socket who may.
//!
//! Owns the forms an entry of `listen` can have, a string or a table. Never binds; owner and group stay the words they
//! are in the file.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::count::Count;
use super::document::Mistake;
use super::error::quoted;
use super::form::Form;

/// The permissions of a unix socket unless `mode` says otherwise: its owner and group may connect. A proxy gets in by
/// `group`, or by a wider mode chosen on purpose.
const DEFAULT_MODE: u32 = 0o660;

/// One listener; in the file a string with its address, or a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// The permissions of a unix socket as written; `None` on TCP. See [`Listen::permissions`].
    #[serde(default, with = "octal")]
    pub mode: Option<u32>,
    /// The user who owns a unix socket, a name or a number; `None`: whoever runs the supervisor. `None` on TCP.
    #[serde(default, deserialize_with = "account")]
    pub owner: Option<String>,
    /// The group of a unix socket, a name or a number; `None`: that of the supervisor. `None` on TCP.
    #[serde(default, deserialize_with = "account")]
    pub group: Option<String>,
    /// Connections the kernel queues until a worker accepts them, 1 to 65535; default 1024. The kernel cuts it to
    /// `net.core.somaxconn`.
    #[serde(default = "default_backlog", with = "Count::<1, 65_535>")]
    pub backlog: u32,
    /// Whether every connection begins with a PROXY header, from one of the pool's `trusted_proxies`; default false.
    #[serde(default)]
    pub proxy_protocol: bool,
}

impl Listen {
    /// A listener at `address`, with every default.
    pub fn new(address: Address) -> Listen {
        Listen { address, mode: None, owner: None, group: None, backlog: default_backlog(), proxy_protocol: false }
    }

    /// What is said of the file of a unix socket where there is none of ours, if this stands at `path`.
    pub(super) fn misplaced(&self, path: &str) -> Vec<Mistake> {
        let address = &self.address;
        let what = match address {
            Address::Unix(_) => return Vec::new(),
            Address::Tcp(_) => format!("belongs to unix sockets, and \"{address}\" is none: remove it"),
            Address::Systemd(_) => {
                format!("belongs to the .socket unit that opens \"{address}\" (Socket…=): say it there")
            }
        };
        let given = [("mode", self.mode.is_some()), ("owner", self.owner.is_some()), ("group", self.group.is_some())];
        let given = given.into_iter().filter(|(_, given)| *given);
        given.map(|(key, _)| Mistake::new(&format!("{path}.{key}"), what.clone())).collect()
    }

    /// The permission bits of a unix socket: `mode`, or 0660.
    pub fn permissions(&self) -> u32 {
        self.mode.unwrap_or(DEFAULT_MODE)
    }
}

fn default_backlog() -> u32 {
    1024
}

/// The value of `listen`: a list of strings and tables.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Listen>, D::Error> {
    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Vec<Listen>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(r#"a list: write for example ["127.0.0.1:8080"]"#)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<Listen>, E> {
            Err(match text.parse::<Address>() {
                Ok(_) => E::custom(format!("found {}, wanted a list: write [{0}]", quoted(text))),
                Err(_) => E::invalid_type(serde::de::Unexpected::Str(text), &self),
            })
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Listen>, A::Error> {
            let mut list = Vec::new();
            while let Some(Entry(listen)) = items.next_element()? {
                list.push(listen);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_any(List)
}

/// The value of a `listen` that is one listener: a string or a table.
pub(super) fn single<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Listen>, D::Error> {
    Entry::deserialize(deserializer).map(|Entry(listen)| Some(listen))
}

/// One element of `listen`.
struct Entry(Listen);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        struct StringOrTable;

        impl<'de> Visitor<'de> for StringOrTable {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"an address such as "127.0.0.1:8080" or "unix:/run/web.sock", or a table with one"#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
                text.parse().map(|address| Entry(Listen::new(address))).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Entry, E> {
                Err(match u16::try_from(number) {
                    Ok(port) => E::custom(format!("{port} is only a port: write \"127.0.0.1:{port}\"")),
                    Err(_) => E::invalid_type(serde::de::Unexpected::Signed(number), &self),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Entry, A::Error> {
                Listen::deserialize(MapAccessDeserializer::new(table)).map(Entry)
            }
        }

        deserializer.deserialize_any(StringOrTable)
    }
}

/// The name or number of a user or group.
pub(super) fn account<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Account;

    impl Visitor<'_> for Account {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(r#"a name such as "www-data""#)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            if text.is_empty() || text.contains('\0') {
                return Err(E::custom(format!("{} names nobody: write for example \"www-data\"", quoted(text))));
            }
            Ok(text.to_owned())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
            Err(E::custom(format!("{number} needs quotes: write \"{number}\"")))
        }
    }

    deserializer.deserialize_any(Account).map(Some)
}

/// For `#[serde(with)]`: permission bits as the octal digits `chmod` takes, in a string.
mod octal {
    use super::*;

    pub(super) fn serialize<S: Serializer>(mode: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
        match mode {
            Some(mode) => serializer.collect_str(&format_args!("{mode:04o}")),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
        deserializer.deserialize_any(Mode).map(Some)
    }

    struct Mode;

    impl Visitor<'_> for Mode {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(r#"octal digits in quotes such as "0660""#)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u32, E> {
            let digits = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
            match u32::from_str_radix(text, 8) {
                Ok(mode) if digits && mode <= 0o777 => Ok(mode),
                _ => Err(E::custom(format!(
                    r#"{} is not a mode: write octal digits from "0000" to "0777", for example "0660""#,
                    quoted(text)
                ))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_lets_its_owner_and_group_in_unless_told_otherwise() {
        let listen = Listen::new(Address::Unix("/run/x".into()));
        assert_eq!(listen.permissions(), 0o660);
        assert_eq!(Listen { mode: Some(0o600), ..listen }.permissions(), 0o600);
    }
}
