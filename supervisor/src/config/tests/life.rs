//! For every kind of mistake about how workers live, end and are replaced the exact line.

use super::complaints;

/// Reads `keys` as those of a pool that has a listener: the first of them stands in line 3.
fn pool_complaints(keys: &str) -> String {
    complaints(&format!("[pool.web]\nlisten = [\"127.0.0.1:80\"]\n{keys}\n"))
}

#[test]
fn a_mistake_in_a_value_names_what_would_be_right() {
    for (keys, line) in [
        (r#"scaling = "auto""#, r#"scaling: "auto" is not one of them: write "static", "dynamic" or "ondemand""#),
        ("scaling = true", r#"scaling: found true, wanted "static", "dynamic" or "ondemand""#),
        (r#"on_failure = "retry""#, r#"on_failure: "retry" is not one of them: write "stay" or "exit""#),
        (r#"half_close = "close""#, r#"half_close: "close" is not one of them: write "wait" or "gone""#),
        (r#"reset = "always""#, r#"reset: "always" is not one of them: write "restore", "recycle" or "off""#),
        ("reset = false", r#"reset: found false, wanted "restore", "recycle" or "off""#),
        ("reset_check = -1", "reset_check: -1 is out of range: write a whole number from 0 to 1000000"),
        (r#"panics = "abort""#, r#"panics: "abort" is not one of them: write "recycle" or "continue""#),
        ("spawn_rate = 0", "spawn_rate: 0 is out of range: write a whole number from 1 to 1000"),
        ("max_requests = 0", "max_requests: 0 is out of range: write a whole number from 1 to 1000000000"),
        (r#"max_requests = "off""#, r#"max_requests: found "off", wanted a whole number from 1 to 1000000000"#),
        ("max_requests_jitter = 10", r#"max_requests_jitter: 10 has no sign: write "10%""#),
        (r#"max_age_jitter = "10""#, r#"max_age_jitter: "10" is not a percentage: write "10%""#),
        (r#"max_age_jitter = "10 %""#, r#"max_age_jitter: "10 %" is not a percentage: write "10%""#),
        (r#"max_age_jitter = "much""#, r#"max_age_jitter: "much" is not a percentage: write for example "25%""#),
        (r#"max_age_jitter = "101%""#, r#"max_age_jitter: "101%" is too large: at most "100%""#),
        (r#"surge = "0%""#, r#"surge: "0%" is too small: at least "1%""#),
        ("surge = 0.25", r#"surge: found 0.25, wanted a percentage such as "25%""#),
        ("surge = -1", r#"surge: found -1, wanted a percentage such as "25%""#),
        (r#"max_age = "500ms""#, r#"max_age: "500ms" is too short: at least "1s""#),
        (r#"max_memory = "64KiB""#, r#"max_memory: "64KiB" is too small: at least "1MiB""#),
        ("max_memory_hard = 100", r#"max_memory_hard: 100 has no unit: write "100B""#),
        (r#"queue_timeout = "0s""#, r#"queue_timeout: "0s" is too short: at least "1ms""#),
        (r#"prepare = "app migrate""#, r#"prepare: found "app migrate", wanted a list: write ["app", "migrate"]"#),
        ("prepare = []", "prepare: names no program: write one first in the list, or no list at all to run nothing"),
        ("prepare = 1", r#"prepare: found 1, wanted a list: write for example ["/srv/shop/bin/shop", "migrate"]"#),
        ("nice = 20", "nice: 20 is out of range: write a whole number from -20 to 19"),
        ("oom_score_adj = -1001", "oom_score_adj: -1001 is out of range: write a whole number from -1000 to 1000"),
        ("oom_score_adj = 0.5", "oom_score_adj: found 0.5, wanted a whole number from -1000 to 1000"),
        ("rlimits = 1", "rlimits: found 1, wanted a table"),
        ("rlimits.nofiles = 1", r#"rlimits.nofiles: no such key; did you mean "nofile"?"#),
        ("rlimits.stack = 1", "rlimits.stack: no such key; the keys of this table are nofile, core, as, cpu"),
        ("rlimits.nofile = 3", "rlimits.nofile: 3 is out of range: write a whole number from 64 to 1048576"),
        ("rlimits.core = true", r#"rlimits.core: found true, wanted a size such as "0B" or "64MiB", or "unlimited""#),
        ("rlimits.core = 0", r#"rlimits.core: 0 has no unit: write "0B""#),
        (
            r#"rlimits.as = "unlimited""#,
            r#"rlimits.as: "unlimited" is not a size: write for example "512B", "16KiB" or "64MiB""#,
        ),
        (r#"rlimits.as = "1MiB""#, r#"rlimits.as: "1MiB" is too small: at least "16MiB""#),
        (r#"rlimits.cpu = "10ms""#, r#"rlimits.cpu: "10ms" is too short: at least "1s""#),
    ] {
        assert_eq!(pool_complaints(keys), format!("config.toml:3: pool.web.{line}"));
    }
}

#[test]
fn a_key_of_another_scaling_is_told_where_it_belongs() {
    for (scaling, key, line) in [
        (
            "static",
            "max_workers = 9",
            r#"max_workers: belongs to scaling "dynamic" or "ondemand", and this pool's is "static": remove it, or write scaling = "dynamic" or "ondemand""#,
        ),
        (
            "static",
            "min_spare = 1",
            r#"min_spare: belongs to scaling "dynamic", and this pool's is "static": remove it, or write scaling = "dynamic""#,
        ),
        (
            "dynamic",
            r#"idle_timeout = "1s""#,
            r#"idle_timeout: belongs to scaling "ondemand", and this pool's is "dynamic": remove it, or write scaling = "ondemand""#,
        ),
        (
            "ondemand",
            "max_spare = 3",
            r#"max_spare: belongs to scaling "dynamic", and this pool's is "ondemand": remove it, or write scaling = "dynamic""#,
        ),
        (
            "ondemand",
            "workers = 3",
            r#"workers: belongs to scaling "static" or "dynamic", and this pool's is "ondemand": write max_workers instead"#,
        ),
    ] {
        assert_eq!(
            pool_complaints(&format!("scaling = \"{scaling}\"\n{key}")),
            format!("config.toml:4: pool.web.{line}")
        );
    }
}

#[test]
fn a_mistaken_scaling_is_not_held_against_the_other_keys() {
    assert_eq!(
        pool_complaints("scaling = \"dinamic\"\nmax_workers = 9"),
        r#"config.toml:3: pool.web.scaling: "dinamic" is not one of them: write "static", "dynamic" or "ondemand""#
    );
}

#[test]
fn numbers_of_workers_that_contradict_each_other_are_named() {
    for (keys, line) in [
        (
            "min_workers = 8\nmax_workers = 4",
            "4: pool.web.min_workers: 8 is above max_workers, which is 4: lower it, or raise max_workers",
        ),
        (
            "workers = 2\nmin_workers = 4",
            "5: pool.web.min_workers: 4 is above workers, which is 2: lower it, or raise workers",
        ),
        (
            "workers = 9\nmax_workers = 4",
            "4: pool.web.workers: 9 is above max_workers, which is 4: lower it, or raise max_workers",
        ),
        (
            "min_spare = 5\nmax_spare = 4",
            "4: pool.web.min_spare: 5 is above max_spare, which is 4: lower it, or raise max_spare",
        ),
        (
            "max_workers = 4\nmin_spare = 5",
            "5: pool.web.min_spare: 5 is above max_workers, which is 4: lower it, or raise max_workers",
        ),
        (
            "max_workers = 4\nmax_spare = 5",
            "5: pool.web.max_spare: 5 is above max_workers, which is 4: lower it, or raise max_workers",
        ),
    ] {
        assert_eq!(pool_complaints(&format!("scaling = \"dynamic\"\n{keys}")), format!("config.toml:{line}"));
    }
    assert_eq!(pool_complaints("scaling = \"dynamic\"\nmin_workers = 4\nworkers = 4\nmax_workers = 4"), "");
    assert_eq!(pool_complaints("scaling = \"ondemand\"\nidle_timeout = \"1s\""), "");
}

#[test]
fn a_hard_limit_on_memory_is_not_below_the_soft_one() {
    assert_eq!(
        pool_complaints("max_memory = \"128MiB\"\nmax_memory_hard = \"64MiB\""),
        r#"config.toml:4: pool.web.max_memory_hard: "64MiB" is below max_memory, which is "128MiB": raise it, or lower max_memory"#
    );
}

#[test]
fn a_mistake_about_the_control_socket_names_what_would_be_right() {
    let long = format!("/{}", "x".repeat(107));
    let too_long = format!("\"/{}\"… has 108 bytes, and the kernel takes 107: choose a shorter path", "x".repeat(99));
    for (value, line) in [
        (
            r#""control.sock""#,
            r#""control.sock" is not the absolute path of a socket: write for example "/run/ratoon/control.sock""#,
        ),
        (r#""/run/""#, r#""/run/" is not the absolute path of a socket: write for example "/run/ratoon/control.sock""#),
        (r#""unix:/run/x""#, r#""unix:/run/x" is an address, and a path is wanted: write "/run/x""#),
        ("1", "found 1, wanted a string"),
        (&format!("{long:?}"), &too_long),
    ] {
        let text = format!("control.socket = {value}\n[pool.web]\nlisten = [\"unix:/run/web\"]\n");
        assert_eq!(complaints(&text), format!("config.toml:1: control.socket: {line}"));
    }
    assert_eq!(
        complaints("control.socket = \"/run/web\"\n[pool.web]\nlisten = [\"unix:/run/web\"]\n"),
        "config.toml:1: control.socket: pool.web.listen[0] listens on \"unix:/run/web\" already: give each its own path"
    );
    assert_eq!(
        complaints("control.sock = \"/run/x\"\n[pool.web]\nlisten = [\"unix:/run/web\"]\n"),
        "config.toml:1: control.sock: no such key; did you mean \"socket\"?"
    );
}
