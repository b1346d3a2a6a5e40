//! Births and deaths: what was started, and how it ended.
//!
//! Three counters for three things that are easily taken for one: a worker that died of something, one that had reached a
//! limit, one that somebody wanted to leave.

use super::page::{Kind, Page};
use crate::control::status::{Pool, Starts};

/// Causes that are told from the beginning, at 0, so that the first such death is seen as a rise.
const DEATHS: [&str; 10] = [
    "boot failed",
    "boot timeout",
    "its template died",
    "killed by the kernel for memory",
    "killed from outside",
    "memory",
    "not started",
    "request timeout",
    "stop timeout",
    "stopped now",
];
const LIMITS: [&str; 5] = ["age", "change", "memory", "panic", "requests"];
const WISHES: [&str; 4] = ["operator", "reload", "scaling", "stop"];

/// What a cause of death means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending<'a> {
    Death(&'a str),
    Recycled(&'a str),
    Retired(&'a str),
}

impl Ending<'_> {
    fn of(cause: &str) -> Ending<'_> {
        let recycled = cause.strip_prefix("recycled by ").or_else(|| cause.strip_prefix("recycled after a "));
        match (recycled, cause.strip_prefix("retired by ")) {
            (Some(limit), _) => Ending::Recycled(limit),
            (None, Some(wish)) => Ending::Retired(wish),
            (None, None) => Ending::Death(cause),
        }
    }
}

pub(super) fn write(page: &mut Page, pools: &[&Pool]) {
    let death = |ending| if let Ending::Death(cause) = ending { Some(cause) } else { None };
    by_cause(
        page,
        pools,
        "ratoon_worker_deaths_total",
        "Workers that died, not having been meant to, by cause.",
        &DEATHS,
        death,
    );
    let limit = |ending| if let Ending::Recycled(limit) = ending { Some(limit) } else { None };
    let help = "Workers that were replaced since they had reached a limit, by which.";
    by_cause(page, pools, "ratoon_worker_recycles_total", help, &LIMITS, limit);
    let wish = |ending| if let Ending::Retired(wish) = ending { Some(wish) } else { None };
    let help = "Workers that left since somebody wanted it, by what for.";
    by_cause(page, pools, "ratoon_worker_retirements_total", help, &WISHES, wish);

    counter(page, pools, "ratoon_worker_starts_total", "Workers that were to be forked.", |starts| starts.forked);
    counter(page, pools, "ratoon_worker_boots_total", "Workers that became ready.", |starts| starts.ready);
    counter(
        page,
        pools,
        "ratoon_pool_failures_total",
        "Times that a pool had spent its budget of failed boots.",
        |starts| starts.failures,
    );
    counter(page, pools, "ratoon_template_starts_total", "Templates that were to be executed.", |starts| {
        starts.templates
    });
    page.family("ratoon_template_deaths_total", Kind::Counter, "Templates that are no more, by cause.", |samples| {
        for pool in pools {
            for (cause, count) in &pool.starts.template_deaths {
                samples.add(&[("pool", &pool.pool), ("cause", cause)], *count);
            }
        }
    });
    let help = "Times that more workers were wanted than there may be.";
    page.family("ratoon_max_children_reached_total", Kind::Counter, help, |samples| {
        pools.iter().for_each(|pool| samples.add(&[("pool", &pool.pool)], pool.max_children_reached));
    });
    let help = "Lines of the pool's workers, of what they printed, and of an access log's file that is the pool's alone, that were lost.";
    page.family("ratoon_log_lines_lost_total", Kind::Counter, help, |samples| {
        pools.iter().for_each(|pool| samples.add(&[("pool", &pool.pool)], pool.log_lines_lost));
    });
    let help = "Requests that ran beyond request_timeout and were interrupted.";
    counter(page, pools, "ratoon_requests_interrupted_total", help, |starts| starts.interrupted);
}

fn counter(page: &mut Page, pools: &[&Pool], name: &str, help: &str, value: impl Fn(&Starts) -> u64) {
    page.family(name, Kind::Counter, help, |samples| {
        pools.iter().for_each(|pool| samples.add(&[("pool", &pool.pool)], value(&pool.starts)));
    });
}

fn by_cause<'a>(
    page: &mut Page,
    pools: &[&'a Pool],
    name: &str,
    help: &str,
    known: &[&str],
    wanted: impl Fn(Ending<'a>) -> Option<&'a str>,
) {
    page.family(name, Kind::Counter, help, |samples| {
        for pool in pools {
            let counted: Vec<(&str, u64)> =
                pool.deaths.iter().filter_map(|(cause, count)| Some((wanted(Ending::of(cause))?, *count))).collect();
            let never =
                known.iter().filter(|cause| counted.iter().all(|(its, _)| its != *cause)).map(|cause| (*cause, 0));
            for (cause, count) in counted.iter().copied().chain(never) {
                samples.add(&[("pool", &pool.pool), ("cause", cause)], count);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::cause::{Cause, Limit, Wish};

    #[test]
    fn every_cause_is_one_of_three_things() {
        let limits = [Limit::Age, Limit::Change, Limit::Memory, Limit::Panic, Limit::Requests];
        for (limit, name) in limits.into_iter().zip(LIMITS) {
            assert_eq!(Ending::of(&Cause::Recycled(limit).to_string()), Ending::Recycled(name));
        }
        let wishes = [Wish::Operator, Wish::Reload, Wish::Scaling, Wish::Stop];
        for (wish, name) in wishes.into_iter().zip(WISHES) {
            assert_eq!(Ending::of(&Cause::Retired(wish).to_string()), Ending::Retired(name));
        }
        let deaths = [
            Cause::BootTimeout,
            Cause::TemplateLost,
            Cause::KilledForMemory,
            Cause::KilledFromOutside,
            Cause::Memory,
            Cause::RequestTimeout,
            Cause::StopTimeout,
            Cause::StoppedNow,
        ];
        for cause in deaths {
            assert!(DEATHS.contains(&cause.to_string().as_str()), "{cause}");
        }
        assert_eq!(Ending::of(&Cause::Exited(3).to_string()), Ending::Death("exited 3"));
    }
}
