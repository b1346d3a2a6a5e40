//! The head of the page: who this is, how it is, how far a reload is.

use maud::{Markup, html};

use super::words;
use crate::control::Status;
use crate::control::status::{Outcome, Phase, Stage};

/// The stages of a reload, in their order, and what people call them.
const STAGES: [(Stage, &str); 4] = [
    (Stage::Reading, "reading the configuration"),
    (Stage::Trying, "trying the new generation"),
    (Stage::Rolling, "replacing workers"),
    (Stage::Settling, "watching it settle"),
];

pub(super) fn of(status: &Status) -> Markup {
    let (class, word) = match status.state {
        Phase::Starting => ("starting", "starting"),
        Phase::Serving => ("serving", "serving"),
        Phase::Reloading => ("reloading", "reloading"),
        Phase::Stopping => ("stopping", "stopping"),
    };
    html! {
        header {
            (wordmark())
            p.state.(class) role="status" { (word) }
            dl.facts {
                div { dt { "version" } dd { (status.version) } }
                div { dt { "pid" } dd data-field="pid" { (status.pid) } }
                div { dt { "up" } dd { (words::millis(status.start_since_ms)) } }
                @if status.log_lines_lost > 0 {
                    div.failed { dt { "log lines lost" } dd { (words::number("log_lines_lost", status.log_lines_lost)) } }
                }
                div { dt { "as of" } dd { time datetime=(words::moment(status.time_ms)) { (clock(status.time_ms)) " UTC" } } }
            }
        }
        @if let Some(stage) = status.reload_stage { (reload(status, stage)) }
        @else if let Some(last) = &status.last_reload {
            @let failed = last.outcome == Outcome::Failed;
            p.verdict.failed[failed] {
                @if failed { strong { "Last reload failed" } } @else { "Last reload succeeded" }
                " " (words::millis(last.ended_since_ms)) " ago"
                @if failed { ": " (words::foreign(&last.reason)) }
            }
        }
    }
}

pub(super) fn wordmark() -> Markup {
    html! {
        h1 {
            svg.shoot viewBox="0 0 16 16" aria-hidden="true" {
                path d="M5 15V9M3 9h4M10 15V5M10 8c0-4 1.500-6 4.500-6.500C14.500 5 13 7.500 10 8" {}
            }
            "Ratoon"
        }
    }
}

fn reload(status: &Status, now: Stage) -> Markup {
    let renewed: u32 = status.pools.iter().filter_map(|pool| pool.renewed_processes).sum();
    let concerned = status.pools.iter().filter(|pool| pool.renewed_processes.is_some());
    let wanted: u32 = concerned.map(|pool| pool.wanted_processes).sum();
    let place = STAGES.iter().position(|(stage, _)| *stage == now).unwrap_or_default();
    html! {
        section.reload aria-label="Reload" {
            ol.stages {
                @for (number, (_, words)) in STAGES.iter().enumerate() {
                    li.done[number < place] aria-current=[(number == place).then_some("step")] { (words) }
                }
            }
            @if wanted > 0 {
                p {
                    progress max=(wanted) value=(renewed.min(wanted)) aria-label="Workers of the new generation" {}
                    span { (renewed) " of " (wanted) " workers are of the new generation" }
                }
            }
        }
    }
}

/// The time of day.
fn clock(millis: u64) -> String {
    let moment = words::moment(millis);
    moment.get(11..19).unwrap_or_default().to_owned()
}
