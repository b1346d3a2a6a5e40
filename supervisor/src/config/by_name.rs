//! The pools as the table of tables they are in the file, in the file's order.
//!
//! For `#[serde(with)]`. Owns that the name of a pool is the key of its table, and never looks at the name.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;

use super::Pool;

pub(super) fn serialize<S: Serializer>(pools: &[Pool], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pools.iter().map(|pool| (&pool.name, pool)))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pool>, D::Error> {
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
