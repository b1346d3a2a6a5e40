//! What systemd says of the unit that a configuration is meant for: whether it waits for as long as a stop may take.
//!
//! Owns the reading of its answer. Only warns: the supervisor asks for more time itself, when it stops. Where there is no
//! systemd, or no such unit, there is nothing to be said.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::config::{Complaint, Config, Pool, written};

/// There where systemd is process 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// How much more than the longest stop is right: what the supervisor asks for beyond it, too.
const MARGIN: Duration = Duration::from_secs(5);

/// systemd's words for the units of a time span (systemd.time(7)), in microseconds.
const UNITS: [(&str, u64); 9] = [
    ("y", 31_557_600_000_000),
    ("month", 2_629_800_000_000),
    ("w", 604_800_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// What is to be said of `unit` if it may be killed before the longest stop of this configuration is over.
pub(super) fn impatience(config: &Config, unit: &str) -> Option<Complaint> {
    if !Path::new(BOOTED).exists() {
        return None;
    }
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["show", "--property=LoadState,TimeoutStopUSec", "--", unit]);
    let said = systemctl.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout);
    let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let patience = value("TimeoutStopUSec").filter(|_| value("LoadState") == Some("loaded"))?;
    judge(config, unit, patience)
}

/// The same, where systemd says that its patience is this.
fn judge(config: &Config, unit: &str, patience: &str) -> Option<Complaint> {
    let stop = |pool: &&Pool| pool.drain_delay + pool.stop_timeout;
    let pool = config.pools.iter().max_by_key(stop)?;
    let longest = stop(&pool);
    if span(patience)? > longest {
        return None;
    }
    let asked = match pool.drain_delay {
        Duration::ZERO => format!("\"{}\" is", written(pool.stop_timeout)),
        delay => format!("\"{}\" and drain_delay, \"{}\", are together", written(pool.stop_timeout), written(delay)),
    };
    Some(config.origin.complaint(
        &format!("{}.stop_timeout", pool.path()),
        format!(
            "warning: {asked} not below TimeoutStopSec={patience} of {unit}: write TimeoutStopSec={} there \
             (systemctl edit {unit}), or lower it",
            written(longest + MARGIN)
        ),
    ))
}

/// How long `text` is, as systemd writes it: `1min 30s`, `infinity`.
fn span(text: &str) -> Option<Duration> {
    if text == "infinity" {
        return Some(Duration::MAX);
    }
    let mut micros: u64 = 0;
    for part in text.split_whitespace() {
        let (number, unit) = part.split_at(part.find(|c: char| c.is_ascii_alphabetic())?);
        let (_, worth) = UNITS.iter().find(|(name, _)| *name == unit)?;
        // "1.5s" is what it makes of a span that it rounds.
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        micros = micros.checked_add(whole.parse::<u64>().ok()?.checked_mul(*worth)?)?;
        let mut tenth = *worth;
        for digit in fraction.chars() {
            tenth /= 10;
            micros = micros.checked_add(u64::from(digit.to_digit(10)?).checked_mul(tenth)?)?;
        }
    }
    (!text.trim().is_empty()).then_some(Duration::from_micros(micros))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn what_systemd_writes_is_read() {
        for (text, micros) in [
            ("40s", 40_000_000),
            ("1min 30s", 90_000_000),
            ("1h 1min 1.500000s", 3_661_500_000),
            ("500ms", 500_000),
            ("1month 2w", 2_629_800_000_000 + 2 * 604_800_000_000),
        ] {
            assert_eq!(span(text), Some(Duration::from_micros(micros)), "{text}");
        }
        assert_eq!(span("infinity"), Some(Duration::MAX));
        for text in ["", "40", "forty s", "40 s", "n/a"] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    #[test]
    fn the_longest_stop_of_all_pools_must_be_shorter_than_systemds_patience() {
        let config = |lines: &str| {
            let text = format!(
                "[pool.quick]\nlisten = [\"127.0.0.1:0\"]\nstop_timeout = \"1s\"\n\
                 [pool.web]\nlisten = [\"127.0.0.1:0\"]\n{lines}\n"
            );
            parse(&text, "config.toml").unwrap()
        };
        let said = |lines: &str, patience: &str| {
            judge(&config(lines), "shop.service", patience).map_or_else(String::new, |warning| warning.to_string())
        };
        assert_eq!(said("", "36s"), "");
        assert_eq!(said("", "infinity"), "");
        assert_eq!(
            said("stop_timeout = \"40s\"", "40s"),
            "config.toml:6: pool.web.stop_timeout: warning: \"40s\" is not below TimeoutStopSec=40s of shop.service: \
             write TimeoutStopSec=45s there (systemctl edit shop.service), or lower it"
        );
        assert_eq!(
            said("stop_timeout = \"80s\"\ndrain_delay = \"20s\"", "1min 30s"),
            "config.toml:6: pool.web.stop_timeout: warning: \"80s\" and drain_delay, \"20s\", are together not below \
             TimeoutStopSec=1min 30s of shop.service: write TimeoutStopSec=105s there (systemctl edit shop.service), or \
             lower it"
        );
    }
}
