//! What is wrong with a pool although each of its keys is right.
//!
//! Owns the sentences that say so, with a way out. Never looks at another pool.

use ratoon_worker::protocol::Forwarded;
use ratoon_worker::scoreboard::LISTENERS;

use super::Pool;
use crate::config::address::Address;
use crate::config::document::Mistake;
use crate::config::error::quoted;
use crate::config::size;

/// The longest name a pool can have, in characters: it must fit into a process title and a column of `status`.
const LONGEST_NAME: usize = 32;

impl Pool {
    /// What nobody would be believed to say.
    fn proxy_contradictions(&self) -> Vec<Mistake> {
        let announced = self.listen.iter().enumerate().filter(|(_, listen)| listen.proxy_protocol);
        let unheard = announced.filter_map(|(index, listen)| {
            let wanted = match &listen.address {
                Address::Unix(_) if !self.trusted_proxies.unix => "unix",
                _ if self.trusted_proxies.is_empty() => "127.0.0.1",
                _ => return None,
            };
            Some(Mistake::new(
                &format!("{}.listen[{index}].proxy_protocol", self.path()),
                format!(
                    "needs trusted_proxies, or nobody could connect: write for example trusted_proxies = [\"{wanted}\"]"
                ),
            ))
        });
        let unread = (self.forwarded != Forwarded::Off && self.trusted_proxies.is_empty()).then(|| {
            Mistake::new(
                &format!("{}.forwarded", self.path()),
                r#"needs trusted_proxies, or nobody would be believed: write for example trusted_proxies = ["127.0.0.1"]"#,
            )
        });
        unheard.chain(unread).collect()
    }

    /// What would be written nowhere.
    fn access_contradictions(&self) -> Vec<Mistake> {
        let keys = [("access_file", self.access_file.is_some()), ("access_skip", !self.access_skip.is_empty())];
        let idle = keys.into_iter().filter(|(_, is_given)| *is_given && self.access.is_none());
        let what = r#"needs access, or there is no line: write for example access = "combined", or remove it"#;
        idle.map(|(key, _)| Mistake::new(&format!("{}.{key}", self.path()), what)).collect()
    }

    /// What is wrong with this pool although each of its keys is right.
    pub(in crate::config) fn contradictions(&self) -> Vec<Mistake> {
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
            found.extend(listen.misplaced(&format!("{path}.listen[{index}]")));
        }
        found.extend(self.proxy_contradictions());
        if let (Some(soft), Some(hard)) = (self.max_memory, self.max_memory_hard)
            && hard < soft
        {
            let [soft, hard] = [soft, hard].map(size::written);
            found.push(Mistake::new(
                &format!("{path}.max_memory_hard"),
                format!("\"{hard}\" is below max_memory, which is \"{soft}\": raise it, or lower max_memory"),
            ));
        }
        found.extend(self.access_contradictions());
        found.extend(self.scaling_contradictions());
        found.extend(self.database_contradictions());
        found
    }
}

/// Whether `name` can stand in process titles, log lines, metrics and file names without quotes.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    name.len() <= LONGEST_NAME && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(allowed)
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
}
