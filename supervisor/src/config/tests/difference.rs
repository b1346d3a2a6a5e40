//! What a changed file means, key by key, and how it is told.

use crate::config::*;

const WEB: &str = "[pool.web]\nlisten = [\"127.0.0.1:80\"]\n";

fn config(text: &str) -> Config {
    parse(text, "config.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn difference(old: &str, new: &str) -> Difference {
    config(old).difference(&config(new))
}

#[test]
fn the_same_configuration_in_another_order_is_no_difference() {
    let jobs = "[pool.jobs]\nlisten = [\"unix:/run/jobs\"]\nmax_header = \"16KiB\"\n";
    let same = difference(
        &format!("{WEB}settings = {{ a = 1, b = 2 }}\n{jobs}"),
        &format!("[log]\nlevel = \"info\"\n{jobs}{WEB}settings = {{ b = 2, a = 1 }}\n"),
    );
    assert!(same.is_empty(), "{same}");
    assert_eq!(same.to_string(), "nothing changed");
}

#[test]
fn what_needs_a_restart_is_not_in_force_before() {
    let changed = format!(
        "[log]\nlevel = \"warn\"\nformat = \"json\"\nfile = \"/x\"\n[control]\nsocket = \"/y\"\n\
         [admin]\nlisten = \"127.0.0.1:1\"\nuser = \"nobody\"\n{WEB}workers = 4\n"
    );
    let in_force = config(&changed).without_restart(&config(WEB));
    assert_eq!(config(WEB).difference(&in_force).needing_restart().count(), 0);
    let rest: Vec<&str> = KEYS.iter().filter(|key| key.effect == Effect::Restart).map(|key| key.path).collect();
    let found = in_force.difference(&config(&changed));
    assert!(found.changes().all(|change| change.effect == Effect::Restart), "{found}");
    for key in rest {
        assert!(found.changes().any(|change| change.key.starts_with(key)), "{key} in {found}");
    }
}

#[test]
fn a_changed_key_is_told_with_both_values_and_its_effect() {
    let found = difference(
        &format!("{WEB}workers = 4\n"),
        &format!(
            "{WEB}max_age = \"1d\"\nrequest_timeout = \"10s\"\nprogram = [\"/srv/app\", \"-v\"]\nrlimits.cpu = \"60s\"\n"
        ),
    );
    assert_eq!(
        found.to_string(),
        "pool.web.max_age: unset → \"1d\"; \
         pool.web.program: unset → [\"/srv/app\", \"-v\"]; \
         pool.web.request_timeout: \"30s\" → \"10s\"; \
         pool.web.rlimits.cpu: unset → \"1m\"; \
         pool.web.workers: 4 → unset"
    );
    let effects: Vec<_> = found.changes().map(|change| (change.key.as_str(), change.effect)).collect();
    assert_eq!(
        effects,
        [
            ("pool.web.max_age", Effect::Live),
            ("pool.web.program", Effect::NewGeneration),
            ("pool.web.request_timeout", Effect::NewGeneration),
            ("pool.web.rlimits.cpu", Effect::NewGeneration),
            ("pool.web.workers", Effect::Live),
        ]
    );
    assert_eq!(found.needing_restart().count(), 0);
}

#[test]
fn what_needs_a_restart_is_named() {
    let found =
        difference(WEB, &format!("log.format = \"json\"\nlog.level = \"debug\"\ncontrol.socket = \"/run/x\"\n{WEB}"));
    let keys: Vec<_> = found.needing_restart().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["log.format", "control.socket"]);
    assert_eq!(
        found.to_string(),
        "log.format: \"auto\" → \"json\" (after a restart); \
         log.level: \"info\" → \"debug\"; \
         control.socket: unset → \"/run/x\" (after a restart)"
    );
}

#[test]
fn a_setting_is_told_by_its_key_and_never_by_its_value() {
    let found = difference(
        &format!(
            "{WEB}settings = {{ database.password = \"hunter2\", \"a b\" = 1, same = \"hunter3\", list = [\"hunter4\"] }}\n"
        ),
        &format!(
            "{WEB}settings = {{ database.password = \"hunter5\", same = \"hunter3\", list = [], empty = {{}} }}\n"
        ),
    );
    assert_eq!(
        found.to_string(),
        "pool.web.settings.\"a b\" changed; pool.web.settings.database.password changed; \
         pool.web.settings.empty changed; pool.web.settings.list changed"
    );
    assert!(!format!("{found:?}").contains("hunter"));
    assert!(found.changes().all(|change| change.effect == Effect::NewGeneration));
    let first = difference(WEB, &format!("{WEB}settings.token = \"hunter2\"\n"));
    assert_eq!(first.to_string(), "pool.web.settings.token changed");
}

#[test]
fn pools_that_come_and_go_are_named_with_their_sockets() {
    let found = difference(
        &format!("{WEB}[pool.old]\nlisten = [\"127.0.0.1:81\"]\n"),
        &format!("{WEB}[pool.new]\nlisten = [\"127.0.0.1:82\"]\nworkers = 3\n"),
    );
    assert_eq!((found.added.as_slice(), found.removed.as_slice()), (&["new".to_owned()][..], &["old".to_owned()][..]));
    assert!(found.pools.is_empty());
    assert_eq!(
        found.to_string(),
        "pool.new added; pool.old removed; new listens on 127.0.0.1:82; old leaves 127.0.0.1:81"
    );
}

#[test]
fn a_listener_is_kept_by_its_address_wherever_it_stands() {
    let found = difference(
        "[pool.web]\nlisten = [\"127.0.0.1:80\", \"127.0.0.1:81\", \"127.0.0.1:82\"]\n[pool.a]\nlisten = [\"unix:/run/a\"]\n",
        "[pool.web]\nlisten = [\"127.0.0.1:83\", \"127.0.0.1:80\"]\n[pool.b]\nlisten = [\"127.0.0.1:82\", \"unix:/run//a\"]\n",
    );
    let place =
        |pool: &str, index, address: &str| Place { pool: pool.into(), index, address: address.parse().unwrap() };
    let kept = |old, new| Kept { old, new, changes: Vec::new() };
    assert_eq!(
        found.listeners,
        Listeners {
            kept: vec![
                kept(place("web", 0, "127.0.0.1:80"), place("web", 1, "127.0.0.1:80")),
                kept(place("web", 2, "127.0.0.1:82"), place("b", 0, "127.0.0.1:82")),
                kept(place("a", 0, "unix:/run/a"), place("b", 1, "unix:/run//a")),
            ],
            added: vec![place("web", 0, "127.0.0.1:83")],
            removed: vec![place("web", 1, "127.0.0.1:81")],
        }
    );
    assert_eq!(
        found.to_string(),
        "pool.b added; pool.a removed; listener 127.0.0.1:82 moves from web to b; \
         listener unix:/run//a moves from a to b; web listens on 127.0.0.1:83; web leaves 127.0.0.1:81"
    );
}

#[test]
fn what_changes_of_a_socket_that_stays_open_is_named() {
    let found = difference(
        "[pool.web]\nlisten = [{ address = \"unix:/run/x\", owner = \"www\" }, \"127.0.0.1:80\"]\n",
        "[pool.web]\nlisten = [{ address = \"127.0.0.1:80\", backlog = 5 }, { address = \"unix:/run/x\", mode = \"0666\" }]\n",
    );
    assert_eq!(
        found.to_string(),
        "pool.web.listen[1].mode: \"0660\" → \"0666\"; pool.web.listen[1].owner: \"www\" → unset; \
         pool.web.listen[0].backlog: 1024 → 5"
    );
    assert!(found.changes().all(|change| change.effect == Effect::Live));
    // What is written out but means the same is no change.
    let same = "[pool.web]\nlisten = [{ address = \"unix:/run/x\", mode = \"0660\" }]\n";
    assert!(difference("[pool.web]\nlisten = [\"unix:/run/x\"]\n", same).is_empty());
}

#[test]
fn a_port_that_the_kernel_chose_stays_with_its_pool() {
    let old = "[pool.web]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n";
    let found = difference(old, "[pool.web]\nlisten = [\"127.0.0.1:0\"]\n[pool.b]\nlisten = [\"127.0.0.1:0\"]\n");
    let [kept, added, removed] =
        [found.listeners.kept.len(), found.listeners.added.len(), found.listeners.removed.len()];
    assert_eq!([kept, added, removed], [1, 1, 1]);
    assert!(difference(old, old).is_empty());
}

#[test]
fn a_long_story_is_cut() {
    let long = format!("{WEB}program = [{}]\n", "\"argument\", ".repeat(100));
    assert!(difference(WEB, &long).to_string().len() < 200);
    let settings: String = (0..100).map(|key| format!("key{key} = {key}\n")).collect();
    let many = difference(WEB, &format!("{WEB}[pool.web.settings]\n{settings}"));
    assert_eq!(many.changes().count(), 100);
    assert!(many.to_string().ends_with("; and 88 more"), "{many}");
}
