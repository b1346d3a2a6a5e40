//! Addresses into names, by somebody with the same layout as the worker that left them: a fork of its template, which is
//! there for this alone and leaves one line in the log.
//!
//! What the worker loaded after its own fork is not known here: then the address stands for itself.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use backtrace::Symbol;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::alarm;

use crate::scoreboard::{INNERMOST, LastWords};

/// How many seconds the naming may take, in all and on the CPU: debug information is large, and can be broken.
const LONGEST: u32 = 20;
/// The most functions that are named of the innermost and of the outermost; inlined ones count.
const SHOWN: (usize, usize) = (20, 10);
/// What begins the names of those who called the application: of no interest below it.
const MACHINERY: [&str; 8] =
    ["ratoon_worker::", "<ratoon_worker::", "std::", "core::", "<core::", "<alloc::", "__rust", "_start"];

/// How many namings there may be in how long: each takes up to a second of a CPU, and crashes can come with every
/// request.
const BUDGET: (usize, Duration) = (10, Duration::from_secs(10));

/// The namings of late, as the template remembers them.
#[derive(Debug, Default)]
pub(crate) struct Budget(VecDeque<Instant>);

/// What is to be done about addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Say what is there.
    Sought,
    /// Print them: there have been too many.
    Spared,
}

impl Budget {
    /// What is to be done about the next ones.
    pub(crate) fn spend(&mut self, now: Instant) -> Names {
        let (most, within) = BUDGET;
        while self.0.front().is_some_and(|earlier| now.duration_since(*earlier) >= within) {
            self.0.pop_front();
        }
        if self.0.len() >= most {
            return Names::Spared;
        }
        self.0.push_back(now);
        Names::Sought
    }
}

/// Sees to it that this process ends, whatever it meets.
pub(crate) fn limit() {
    alarm::set(LONGEST);
    let _ = setrlimit(Resource::RLIMIT_CPU, u64::from(LONGEST), u64::from(LONGEST));
}

/// Writes the line.
pub(crate) fn log(words: &LastWords, names: Names) {
    let running = words.request.as_ref().map(|_| format!("{:.3}s", words.running as f64 / 1000.0));
    let request = words.request.as_deref();
    let (why, fault, backtrace) = (words.why.to_string(), words.why.detail(), backtrace(words, names));
    let doing = words.deferred.then_some("deferred");
    tracing::error!(request, running, doing, why, fault, backtrace, "last words");
}

/// `0: innermost (file.rs:12) < 1: its caller (file.rs:34) < …`
fn backtrace(words: &LastWords, sought: Names) -> String {
    let mut names: Vec<String> = Vec::new();
    for (place, address) in words.addresses.iter().enumerate() {
        // All but the first are places to return to, one beyond the call: `resolve` takes that into account.
        let address = if place == 0 { address.saturating_add(1) } else { *address };
        let before = names.len();
        if sought == Names::Sought {
            backtrace::resolve(std::ptr::without_provenance_mut(address as usize), |symbol| names.push(name(symbol)));
        }
        if names.len() == before {
            names.push(format!("{:#x}", words.addresses[place]));
        }
        if place + 1 == INNERMOST && words.omitted > 0 {
            names.push(format!("({} more)", words.omitted));
        }
    }
    while names.len() > 1 && names.last().is_some_and(|name| MACHINERY.iter().any(|begin| name.starts_with(begin))) {
        names.pop();
    }
    list(names)
}

/// `function (file.rs:12)`; of the file's path the last two names, for what is before them is where it was compiled.
fn name(symbol: &Symbol) -> String {
    let function = symbol.name().map_or_else(|| "?".into(), |name| format!("{name:#}"));
    let names = symbol.filename().map(|file| file.iter().collect::<Vec<_>>());
    match names.zip(symbol.lineno()) {
        Some((names, line)) => {
            let file: PathBuf = names[names.len().saturating_sub(2)..].iter().collect();
            format!("{function} ({}:{line})", file.display())
        }
        None => function,
    }
}

/// Numbered and on one line; what calls itself stands once, and of too many those in the middle are left out.
fn list(names: Vec<String>) -> String {
    let mut steps: Vec<(String, usize)> = Vec::new();
    for name in names {
        match steps.last_mut() {
            Some((last, times)) if *last == name => *times += 1,
            _ => steps.push((name, 1)),
        }
    }
    let (inner, outer) = SHOWN;
    let count = steps.len();
    let mut shown = Vec::new();
    for (place, (name, times)) in steps.into_iter().enumerate() {
        if place < inner || place + outer >= count {
            shown.push(if times > 1 { format!("{place}: {name} × {times}") } else { format!("{place}: {name}") });
        } else if place == inner {
            shown.push("…".into());
        }
    }
    shown.join(" < ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sought_for_a_burst_and_again_when_time_has_passed() {
        let (mut budget, begin) = (Budget::default(), Instant::now());
        let (most, within) = BUDGET;
        assert!((0..most).all(|_| budget.spend(begin) == Names::Sought));
        assert_eq!(budget.spend(begin + within / 2), Names::Spared);
        assert_eq!(budget.spend(begin + within), Names::Sought);
    }

    #[test]
    fn a_list_says_once_what_calls_itself_and_leaves_out_the_middle_of_what_is_too_long() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(list(names(&["a", "b", "b", "b", "c"])), "0: a < 1: b × 3 < 2: c");
        let long = list((0..100).map(|number| format!("f{number}")).collect());
        assert!(long.contains("19: f19 < … < 90: f90 <") && long.ends_with("99: f99"), "{long}");
    }
}
