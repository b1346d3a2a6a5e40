//! The daemon as a whole.

use super::page::{Kind, Page};
use crate::control::Status;
use crate::control::status::{Outcome, Phase};

/// What the daemon can be at, and its names.
const PHASES: [(Phase, &str); 4] = [
    (Phase::Starting, "starting"),
    (Phase::Serving, "serving"),
    (Phase::Reloading, "reloading"),
    (Phase::Stopping, "stopping"),
];

pub(super) fn write(page: &mut Page, status: &Status) {
    page.family("ratoon_build_info", Kind::Info, "The version of the supervisor that runs.", |samples| {
        samples.add(&[("version", &status.version)], true);
    });
    page.family(
        "ratoon_start_time_seconds",
        Kind::Gauge,
        "When the supervisor started, in seconds since 1970; an upgrade is no start.",
        |samples| samples.add(&[], status.start_time),
    );
    page.family("ratoon_state", Kind::Gauge, "1 for what the daemon is at, 0 for what it is not.", |samples| {
        PHASES.iter().for_each(|(phase, name)| samples.add(&[("state", name)], *phase == status.state));
    });
    page.family("ratoon_reloads_total", Kind::Counter, "Reloads that ended, by outcome.", |samples| {
        samples.add(&[("outcome", "done")], status.reloads.done);
        samples.add(&[("outcome", "failed")], status.reloads.failed);
    });
    page.family(
        "ratoon_last_reload_successful",
        Kind::Gauge,
        "1 if the last reload succeeded, 0 if it failed and the old generation serves on; absent before the first.",
        |samples| {
            if let Some(last) = &status.last_reload {
                samples.add(&[], last.outcome == Outcome::Done);
            }
        },
    );
    page.family("ratoon_upgrades_total", Kind::Counter, "Upgrades of the supervisor in place.", |samples| {
        samples.add(&[], status.upgrades);
    });
    let help = "Lines of the log, of access logs and of what was printed, of all pools and of the daemon itself, that were lost.";
    page.family("ratoon_daemon_log_lines_lost_total", Kind::Counter, help, |samples| {
        samples.add(&[], status.log_lines_lost);
    });
    page.family("ratoon_admin_deaths_total", Kind::Counter, "Deaths of the admin process.", |samples| {
        samples.add(&[], status.admin_deaths);
    });
}
