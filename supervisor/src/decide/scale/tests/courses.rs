//! Courses of censuses, and the sizes they lead to.

use super::*;

/// When which census is followed by which size.
type Course = &'static [(f64, Census, u32)];

/// What it shows, how the pool is scaled, and its course.
const TABLE: &[(&str, Scaling, Course)] = &[
    (
        "a static pool is what it is",
        Scaling::Static { workers: 4 },
        &[(0.0, seen(0, 4, 99), 4), (90.0, seen(4, 0, 0), 4)],
    ),
    (
        "busy workers are no reason to grow",
        dynamic(0, 4, 8),
        &[(0.0, seen(0, 4, 0), 4), (0.1, seen(0, 4, 0), 4), (50.0, seen(0, 4, 0), 4)],
    ),
    ("somebody who waits with nobody free is", dynamic(0, 4, 8), &[(0.0, seen(0, 4, 1), 5)]),
    ("whom the free ones can take is not", dynamic(0, 4, 8), &[(0.0, seen(2, 2, 2), 4), (0.1, seen(2, 2, 3), 5)]),
    (
        "growth doubles up to max",
        dynamic(0, 4, 8),
        &[
            (0.0, seen(0, 4, 99), 5),
            (0.1, seen(0, 5, 99), 7),
            (0.2, seen(0, 7, 99), 11),
            (0.3, seen(0, 11, 99), 16),
            (0.4, seen(0, 16, 99), 16),
        ],
    ),
    (
        "growth doubles up to spawn_rate",
        dynamic(0, 4, 3),
        &[(0.0, seen(0, 4, 99), 5), (0.1, seen(0, 5, 99), 7), (0.2, seen(0, 7, 99), 10), (0.3, seen(0, 10, 99), 13)],
    ),
    (
        "growth that stopped begins with one again",
        dynamic(0, 4, 8),
        &[(0.0, seen(0, 4, 99), 5), (0.1, seen(0, 5, 99), 7), (0.2, seen(1, 6, 0), 7), (0.3, seen(0, 7, 99), 8)],
    ),
    (
        "no more than those who wait",
        dynamic(0, 4, 8),
        &[(0.0, seen(0, 4, 9), 5), (0.1, seen(0, 5, 1), 6), (0.2, seen(0, 6, 3), 9)],
    ),
    (
        "workers on their way count as idle, however long they take",
        dynamic(0, 4, 8),
        &[(0.0, seen(0, 4, 1), 5), (0.1, seen(0, 4, 1), 5), (29.0, seen(0, 4, 1), 5), (29.1, seen(0, 4, 2), 6)],
    ),
    ("workers that died are on their way", dynamic(0, 4, 8), &[(0.0, seen(0, 0, 4), 4), (5.0, seen(0, 0, 4), 4)]),
    (
        "those who had to wait between two censuses count too",
        dynamic(0, 4, 8),
        &[
            (0.0, waited(0, 4, 19), 4),
            (0.1, waited(0, 4, 20), 5),
            (0.2, waited(0, 4, 30), 5),
            (0.3, waited(2, 3, 500), 6),
        ],
    ),
    (
        "but not beside more idle workers than need be",
        dynamic(0, 2, 8),
        &[(0.0, waited(2, 2, 900), 4), (0.1, waited(1, 3, 900), 5)],
    ),
    (
        "where nobody need be idle, those who had to wait count if nobody is",
        dynamic(0, 0, 8),
        &[(0.0, waited(1, 3, 900), 4), (0.1, waited(0, 4, 900), 5)],
    ),
    (
        "the reserve is filled up when it was short for a second",
        dynamic(2, 4, 8),
        &[
            (0.0, seen(1, 3, 0), 4),
            (0.9, seen(0, 4, 0), 4),
            (1.0, seen(0, 4, 0), 5),
            (1.1, seen(1, 4, 0), 6),
            (2.0, seen(2, 4, 0), 6),
        ],
    ),
    (
        "a reserve that is touched now and then is long enough",
        dynamic(2, 4, 8),
        &[
            (0.0, seen(0, 4, 0), 4),
            (0.9, seen(2, 2, 0), 4),
            (1.0, seen(0, 4, 0), 4),
            (1.9, seen(0, 4, 0), 4),
            (2.0, seen(0, 4, 0), 5),
        ],
    ),
    (
        "who was idle for a whole minute beyond max_spare goes",
        dynamic(0, 1, 8),
        &[(0.0, seen(4, 0, 0), 4), (59.9, seen(4, 0, 0), 4), (60.0, seen(4, 0, 0), 2)],
    ),
    (
        "the busiest moment of the minute counts",
        dynamic(0, 1, 8),
        &[
            (0.0, seen(4, 0, 0), 4),
            (30.0, seen(2, 2, 0), 4),
            (60.0, seen(4, 0, 0), 3),
            (119.9, seen(3, 0, 0), 3),
            (120.0, seen(3, 0, 0), 2),
        ],
    ),
    (
        "a moment with no more than max_spare idle begins the minute anew",
        dynamic(0, 1, 8),
        &[(0.0, seen(4, 0, 0), 4), (30.0, seen(1, 3, 0), 4), (89.9, seen(4, 0, 0), 4), (90.0, seen(4, 0, 0), 2)],
    ),
    (
        "half of a cut that was too deep is undone at once, and the next takes twice as long",
        dynamic(0, 0, 8),
        &[
            (60.0, seen(4, 0, 0), 2),
            (70.0, seen(0, 2, 0), 2),
            (70.1, seen(0, 2, 1), 3),
            (70.2, seen(0, 3, 1), 4),
            (190.1, seen(1, 3, 0), 4),
            (190.2, seen(1, 3, 0), 3),
        ],
    ),
    ("on demand, the first who knocks starts one", on_demand(10), &[(50.0, seen(0, 0, 1), 1)]),
    (
        "on demand, all go when nobody was served for idle_timeout",
        on_demand(10),
        &[
            (0.0, seen(0, 0, 3), 1),
            (0.1, seen(0, 1, 2), 3),
            (0.2, seen(2, 1, 0), 3),
            (10.1, seen(3, 0, 0), 3),
            (10.2, seen(3, 0, 0), 0),
            (50.0, seen(0, 0, 1), 1),
        ],
    ),
    (
        "on demand, a request that came and went between two censuses is one",
        on_demand(10),
        &[
            (0.0, seen(0, 0, 1), 1),
            (9.0, Census { requests: 1, ..seen(1, 0, 0) }, 1),
            (18.9, seen(1, 0, 0), 1),
            (19.0, seen(1, 0, 0), 0),
        ],
    ),
    (
        "on demand, a connection that is kept keeps somebody for its next request",
        on_demand(10),
        &[
            (0.0, seen(0, 0, 1), 1),
            (30.0, Census { held: 1, ..seen(1, 0, 0) }, 1),
            (39.9, seen(1, 0, 0), 1),
            (40.0, seen(1, 0, 0), 0),
        ],
    ),
    (
        "on demand, the busy keep one spare",
        on_demand(10),
        &[
            (0.0, seen(0, 0, 9), 1),
            (0.1, seen(0, 1, 9), 3),
            (0.2, seen(2, 1, 0), 3),
            (30.0, seen(2, 1, 0), 3),
            (60.1, seen(2, 1, 0), 2),
        ],
    ),
];

#[test]
fn every_course_of_censuses_leads_to_the_wanted_sizes() {
    for (what, scaling, course) in TABLE {
        let mut scaler = Scaler::new(scaling.clone(), at(0.0));
        for &(seconds, census, wanted) in *course {
            let _ = scaler.observe(census, at(seconds));
            assert_eq!(scaler.wanted(), wanted, "{what}: {seconds} s");
        }
    }
}
