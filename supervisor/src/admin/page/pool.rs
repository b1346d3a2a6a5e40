//! One pool: its figures, its workers, its deaths, its database.

use maud::{Markup, html};

use super::chart::{self, Line};
use super::{board, words};
use crate::admin::history::{Course, Courses};
use crate::control::Status;
use crate::control::status::{Database, Death, Health, Pool};

pub(super) fn of(pool: &Pool, courses: &Courses, status: &Status) -> Markup {
    let id = format!("pool-{}", pool.pool);
    html! {
        section.pool aria-labelledby=(id) data-pool=(pool.pool) {
            (heading(pool, &id, status))
            div.tiles { (busy(pool, courses)) (rate(pool, courses)) (latency(courses)) (queue(pool, courses)) }
            (board::of(pool))
            (deaths(pool))
            @if let Some(database) = &pool.database { (database_of(database)) }
        }
    }
}

fn heading(pool: &Pool, id: &str, status: &Status) -> Markup {
    let generations: Vec<String> = pool.generations.iter().map(u32::to_string).collect();
    html! {
        div.heading {
            h2 id=(id) { (pool.pool) }
            p.about {
                (pool.process_manager)
                @if !generations.is_empty() { " · generation " span data-field="generations" { (generations.join(" → ")) } }
                @if pool.stopping { " · " strong { "stopping" } }
                @if let (Some(renewed), Some(_)) = (pool.renewed_processes, status.reload_stage) {
                    " · " (words::number("renewed_processes", renewed.into())) " renewed"
                }
            }
            @if let Health::Failed { retry_in_ms } = pool.health {
                p.failed role="status" {
                    strong { "failed" } ": too many boots failed; "
                    @match retry_in_ms {
                        Some(retry) => { "tried again in " (words::millis(retry)) }
                        None => { "an attempt is under way" }
                    }
                }
            }
            ul.listeners aria-label="Listeners" {
                @for listener in &pool.listeners { li { code { (words::foreign(&listener.address)) } } }
            }
        }
    }
}

fn tile(name: &str, value: &Markup, of: &Markup, drawing: &Markup, peak: &str) -> Markup {
    html! {
        div.tile {
            h3 { (name) }
            p.figure { (value) " " small { (of) } }
            (drawing)
            p.peak { (peak) }
        }
    }
}

fn busy(pool: &Pool, courses: &Courses) -> Markup {
    let most = chart::most(&[&courses.active], f64::from(pool.wanted_processes.max(1)));
    let label = format!("Busy workers over three minutes: now {} of {}", pool.active_processes, pool.wanted_processes);
    let drawing = chart::of(&[Line { class: "area busy", course: &courses.active }], most, &label);
    let of = html! {
        "of " (words::number("wanted_processes", pool.wanted_processes.into()))
        @if pool.max_processes != pool.wanted_processes {
            ", at most " (words::number("max_processes", pool.max_processes.into()))
        }
    };
    let peak = match pool.max_children_reached {
        0 => String::new(),
        times => format!("max children reached {}×", words::grouped(times)),
    };
    tile("Busy", &words::number("active_processes", pool.active_processes.into()), &of, &drawing, &peak)
}

fn rate(pool: &Pool, courses: &Courses) -> Markup {
    let most = chart::most(&[&courses.rate], 1.0);
    let now = last(&courses.rate).map_or_else(|| "–".into(), words::rate);
    let label = format!("Requests per second over three minutes: now {now}, most {}", words::rate(most));
    let drawing = chart::of(&[Line { class: "area rate", course: &courses.rate }], most, &label);
    let of = html! { "/s" };
    let total = format!("{} in all", words::grouped(pool.traffic.requests));
    let total = match courses.rate.is_empty() {
        true => total,
        false => format!("most {}/s · {total}", words::rate(chart::most(&[&courses.rate], 0.0))),
    };
    tile("Requests", &html! { (now) }, &of, &drawing, &total)
}

fn latency(courses: &Courses) -> Markup {
    let most = chart::most(&[&courses.slowest, &courses.median], 0.0);
    let said = |course: &Course| last(course).map_or_else(|| "–".into(), words::seconds);
    let (median, slowest) = (said(&courses.median), said(&courses.slowest));
    let label = format!("Time a request takes, over three minutes: now half within {median}, 99 % within {slowest}");
    let lines = [
        Line { class: "line slowest", course: &courses.slowest },
        Line { class: "line median", course: &courses.median },
    ];
    let of = html! { abbr title="half of the requests take no longer, as estimated from a histogram" { "p50" } };
    let value = html! { (median) };
    let both = html! {
        (value) " " small { (of) } " " span.second { (slowest) } " "
        small { abbr title="99 of 100 requests take no longer, as estimated from a histogram" { "p99" } }
    };
    let peak = if most > 0.0 { format!("highest p99 {}", words::seconds(most)) } else { "no requests lately".into() };
    tile("Latency", &both, &html! {}, &chart::of(&lines, most, &label), &peak)
}

fn queue(pool: &Pool, courses: &Courses) -> Markup {
    let waiting: u32 = pool.listeners.iter().filter_map(|listener| listener.listen_queue).sum();
    let room: u32 = pool.listeners.iter().map(|listener| listener.listen_queue_len).sum();
    let is_known = pool.listeners.iter().any(|listener| listener.listen_queue.is_some());
    let most = chart::most(&[&courses.waiting], 4.0);
    let label = format!("Connections that wait for a worker, over three minutes: now {waiting} of at most {room}");
    let drawing = chart::of(&[Line { class: "area waiting", course: &courses.waiting }], most, &label);
    let value = html! { @if is_known { (words::number("listen_queue", waiting.into())) } @else { "–" } };
    let of = html! { "of " (words::number("listen_queue_len", room.into())) };
    let peak = chart::most(&[&courses.waiting], 0.0);
    let peak = if peak > 0.0 { format!("most {}", words::grouped(peak as u64)) } else { String::new() };
    tile("Waiting", &value, &of, &drawing, &peak)
}

fn last(course: &Course) -> Option<f64> {
    course.last().map(|(_, value)| *value)
}

fn deaths(pool: &Pool) -> Markup {
    html! {
        @if !pool.last_deaths.is_empty() {
            h3 { "Last unexpected deaths" }
            div.scroll {
                table.deaths {
                    thead { tr {
                        th scope="col" { "ago" } th scope="col" { "slot" } th.wide scope="col" { "pid" }
                        th.wide scope="col" { "gen" } th scope="col" { "cause" } th.wide scope="col" { "lived" }
                        th scope="col" { "request" }
                    } }
                    tbody { @for death in &pool.last_deaths { (row(death)) } }
                }
            }
        }
        @if !pool.deaths.is_empty() {
            p.causes {
                "Deaths by cause: "
                @for (place, (cause, count)) in pool.deaths.iter().enumerate() {
                    @if place > 0 { ", " }
                    span { (words::foreign(cause)) " " (words::number("deaths", *count)) }
                }
            }
        }
    }
}

fn row(death: &Death) -> Markup {
    html! {
        tr {
            td { (words::millis(death.died_since_ms)) }
            td { (death.slot) }
            td.wide { @if let Some(pid) = death.pid { (pid) } }
            td.wide { (death.generation) }
            td.cause { (words::foreign(&death.cause)) }
            td.wide { (words::millis(death.lived_ms)) }
            td.request {
                @if let Some(line) = &death.request_line { code { (words::foreign(line)) } }
                @if let Some(ran) = death.request_duration_ms { " " small { "after " (words::millis(ran)) } }
            }
        }
    }
}

fn database_of(database: &Database) -> Markup {
    html! {
        h3 { "Database" }
        dl.facts.database {
            div {
                dt { "connections" }
                dd { (words::number("open", database.open)) " open of " (words::number("connections", database.connections.into())) }
            }
            div { dt { "connects" } dd { (words::number("connects", database.connects)) } }
            div {
                dt { "reconnects" }
                dd {
                    (words::number("reconnects", database.reconnects.values().copied().fold(0, u64::saturating_add)))
                    @for (cause, times) in &database.reconnects { small { " " (cause) " " (words::grouped(*times)) } }
                }
            }
            div { dt { "leases" } dd { (words::number("leases", database.leases)) } }
            div {
                dt { "waits" }
                dd {
                    (words::number("waits", database.waits))
                    @if database.waits > 0 { small { " longest " (words::millis(database.waited_longest_ms)) } }
                }
            }
            div.failed[database.exhausted > 0] { dt { "in vain" } dd { (words::number("exhausted", database.exhausted)) } }
            div.failed[database.failures > 0] { dt { "failures" } dd { (words::number("failures", database.failures)) } }
        }
    }
}
