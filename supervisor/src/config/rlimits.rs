//! `rlimits`: what the kernel allows each worker of a pool.
//!
//! Owns which limits can be set, their units and ranges. Never sets one.

use std::fmt;
use std::time::Duration;

use nix::sys::resource::{RLIM_INFINITY, Resource};
use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::count::Count;
use super::duration::Span;
use super::form::{Form, Given};
use super::size::{Amount, Size};

/// The limits of a process; `None` leaves the one that the supervisor has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rlimits {
    /// Open descriptors, 64 to 1048576.
    #[serde(with = "Given::<Count<64, 1_048_576>>")]
    pub nofile: Option<u32>,
    /// The size of a core dump in bytes; 0 for none, [`RLIM_INFINITY`] for `"unlimited"`.
    #[serde(with = "Given::<Dump>")]
    pub core: Option<u64>,
    /// Address space in bytes, 16 MiB to 1 PiB.
    #[serde(with = "Given::<Size<{ 16 << 20 }, { 1 << 50 }>>")]
    pub r#as: Option<u64>,
    /// Processor time of one life, at least a second.
    #[serde(with = "Given::<Span<1_000>>")]
    pub cpu: Option<Duration>,
}

impl Rlimits {
    /// Those that are given, in the kernel's words and units; part of a second of processor time counts as a whole one.
    pub fn given(&self) -> impl Iterator<Item = (Resource, u64)> {
        let seconds = |time: Duration| u64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(RLIM_INFINITY);
        [
            (Resource::RLIMIT_NOFILE, self.nofile.map(u64::from)),
            (Resource::RLIMIT_CORE, self.core),
            (Resource::RLIMIT_AS, self.r#as),
            (Resource::RLIMIT_CPU, self.cpu.map(seconds)),
        ]
        .into_iter()
        .filter_map(|(resource, value)| Some((resource, value?)))
    }
}

/// For `#[serde(with)]`: the size of a core dump.
struct Dump;

/// As it is written.
const UNLIMITED: &str = "unlimited";

impl Form for Dump {
    type Value = u64;

    fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        match *bytes {
            RLIM_INFINITY => serializer.serialize_str(UNLIMITED),
            _ => Amount::serialize(bytes, serializer),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(Dump)
    }
}

impl Visitor<'_> for Dump {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"a size such as "0B" or "64MiB", or "{UNLIMITED}""#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        if text == UNLIMITED { Ok(RLIM_INFINITY) } else { Amount {}.visit_str(text) }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        Amount {}.visit_i64(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_not_set() {
        assert_eq!(Rlimits::default().given().count(), 0);
        let some = Rlimits { core: Some(RLIM_INFINITY), cpu: Some(Duration::from_millis(1_001)), ..Rlimits::default() };
        let given: Vec<_> = some.given().collect();
        assert_eq!(given, [(Resource::RLIMIT_CORE, RLIM_INFINITY), (Resource::RLIMIT_CPU, 2)]);
    }
}
