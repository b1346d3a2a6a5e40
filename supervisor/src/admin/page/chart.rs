//! A number over the last three minutes, as a small drawing without an axis: its highest point is said in words.

use std::fmt::Write;

use maud::{Markup, html};

use crate::admin::history::{Course, SPAN};

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 44.0;

/// How far below the top the highest point lies, so that its line is whole.
const MARGIN: f64 = 3.0;

/// One line of a chart.
pub(super) struct Line<'a> {
    /// What it is drawn as: `area` or `line`, and a second word for its colour.
    pub(super) class: &'static str,
    pub(super) course: &'a Course,
}

/// The highest point of all lines; at least `least`.
pub(super) fn most(courses: &[&Course], least: f64) -> f64 {
    courses.iter().flat_map(|course| course.iter()).map(|(_, value)| *value).fold(least, f64::max)
}

/// The drawing; `label` says in words what is to be seen.
pub(super) fn of(lines: &[Line<'_>], most: f64, label: &str) -> Markup {
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(label) {
            line.base x1="0" x2=(WIDTH) y1=(HEIGHT - 0.5) y2=(HEIGHT - 0.5) {}
            @for line in lines {
                @if line.class.starts_with("area") {
                    path class=(format!("fill {}", line.class)) d=(closed(line.course, most)) {}
                }
                path class=(line.class) d=(open(line.course, most)) {}
            }
        }
    }
}

fn open(course: &Course, most: f64) -> String {
    let mut path = String::new();
    for (place, (ago, value)) in course.iter().enumerate() {
        let (x, y) = point(*ago, *value, most);
        let _ = write!(path, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
    }
    path
}

fn closed(course: &Course, most: f64) -> String {
    let (Some((first, _)), Some((last, _))) = (course.first(), course.last()) else {
        return String::new();
    };
    let (from, to) = (point(*first, 0.0, most).0, point(*last, 0.0, most).0);
    format!("{}L{to:.1} {HEIGHT}L{from:.1} {HEIGHT}Z", open(course, most))
}

fn point(ago: u64, value: f64, most: f64) -> (f64, f64) {
    let x = WIDTH * (1.0 - ago.min(SPAN) as f64 / SPAN as f64);
    let part = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
    (x, HEIGHT - 1.0 - (HEIGHT - 1.0 - MARGIN) * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_at_the_right_and_the_highest_point_at_the_top() {
        let course = vec![(SPAN, 0.0), (SPAN / 2, 10.0), (0, 5.0)];
        assert_eq!(open(&course, 10.0), "M0.0 43.0L120.0 3.0L240.0 23.0");
        assert_eq!(closed(&course, 10.0), "M0.0 43.0L120.0 3.0L240.0 23.0L240.0 44L0.0 44Z");
        assert_eq!((open(&Vec::new(), 0.0), closed(&Vec::new(), 0.0)), (String::new(), String::new()));
    }
}
