//! `env` and `pass_env`: what a pool's program and its workers find in their environment beside the few names that everybody is
//! given.
//!
//! Owns which names can be asked for. Never reads a variable.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::error::quoted;

/// What is passed on without being asked for, from our own environment: where programs are, how people here write and what
/// time it is, where temporary files go. `HOME`, `USER` and `LOGNAME` are those of the user.
pub const ALWAYS: [&str; 6] = ["PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "RUST_BACKTRACE"];

/// And whatever begins so.
pub const ALWAYS_BELOW: &str = "LC_";

/// What is between systemd, the supervisor and its templates.
const OURS: [&str; 3] = ["NOTIFY_SOCKET", "RATOON_TEMPLATE", "RATOON_ESTATE"];
const OURS_BELOW: [&str; 2] = ["LISTEN_", "WATCHDOG_"];

/// What is wrong with a name.
fn objection(name: &str) -> Option<String> {
    let shown = quoted(name);
    if name.is_empty() || name.contains(['=', '\0']) {
        return Some(format!("{shown} cannot name a variable: write for example \"DATABASE_HOST\""));
    }
    let is_ours = OURS.contains(&name) || OURS_BELOW.iter().any(|start| name.starts_with(start));
    is_ours.then(|| format!("{shown} is between systemd and the supervisor: no program is given it"))
}

/// The value of `pass_env`.
pub(super) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Names;

    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(r#"a list of names: write for example ["SSL_CERT_FILE"]"#)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while let Some(name) = items.next_element::<String>()? {
                match objection(&name) {
                    Some(wrong) => return Err(A::Error::custom(wrong)),
                    None => names.push(name),
                }
            }
            Ok(names)
        }
    }

    deserializer.deserialize_any(Names)
}

/// The value of `env`.
pub(super) fn variables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Variables;

    impl<'de> Visitor<'de> for Variables {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(r#"a table of texts: write for example { RUST_LOG = "debug" }"#)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<BTreeMap<String, String>, A::Error> {
            let mut variables = BTreeMap::new();
            while let Some((name, value)) = entries.next_entry::<String, String>()? {
                if let Some(wrong) = objection(&name) {
                    return Err(A::Error::custom(wrong));
                }
                if value.contains('\0') {
                    return Err(A::Error::custom(format!(
                        "the value of {} holds a zero byte: remove it",
                        quoted(&name)
                    )));
                }
                variables.insert(name, value);
            }
            Ok(variables)
        }
    }

    deserializer.deserialize_any(Variables)
}
