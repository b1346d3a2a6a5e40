//! What the keys of a database become, the line for every mistake in them, and that nobody is ever told a password.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ratoon_worker::protocol::{Secret, SessionReset};

use super::complaints;
use crate::config::*;

/// Stands wherever a password may.
const MARKER: &str = "hunter2";

/// A pool with these keys in the table of its database: the first of them stands in line 4.
fn with_database(keys: &str) -> String {
    format!("[pool.web]\nlisten = [\"127.0.0.1:80\"]\n[pool.web.database]\n{keys}\n")
}

fn database(keys: &str) -> Database {
    let config = parse(&with_database(keys), "config.toml").unwrap_or_else(|errors| panic!("{errors}"));
    config.pools[0].database.clone().unwrap()
}

/// The same from a file, with what it keeps elsewhere.
fn loaded(directory: &Path, keys: &str) -> Result<Config, Errors> {
    let path = directory.join("config.toml");
    std::fs::write(&path, with_database(keys)).unwrap();
    load(&path)
}

#[test]
fn every_key_of_a_database_reaches_its_field() {
    let all = r#"
url = "postgresql://shop:hunter2@db/shop"
connections = 7
connect_timeout = "1s"
idle_timeout = "0s"
max_lifetime = "1h"
max_lifetime_jitter = "0%"
validate_after = "0s"
statement_timeout = "24d"
tcp_user_timeout = "1ms"
init_sql = "SET a.b = 'c'"
reset = "discard_all"
prepared = false
"#;
    let expected = Database {
        url: Some(Secret::new("postgresql://shop:hunter2@db/shop")),
        url_file: None,
        url_env: None,
        connections: Some(7),
        connect_timeout: Duration::from_secs(1),
        idle_timeout: Duration::ZERO,
        max_lifetime: Duration::from_secs(3600),
        max_lifetime_jitter: Percent(0),
        validate_after: Duration::ZERO,
        statement_timeout: Some(Duration::from_secs(24 * 86_400)),
        tcp_user_timeout: Duration::from_millis(1),
        init_sql: Some("SET a.b = 'c'".into()),
        reset: SessionReset::DiscardAll,
        prepared: false,
    };
    assert_eq!(database(all), expected);
    assert_eq!(
        database("url_file = \"/run/url\""),
        Database { url_file: Some("/run/url".into()), ..Database::default() }
    );
    assert_eq!(
        database("url_env = \"DATABASE_URL\""),
        Database { url_env: Some("DATABASE_URL".into()), ..Database::default() }
    );
}

#[test]
fn a_pool_has_as_many_connections_as_workers_but_no_more_than_ten_unless_it_says_so() {
    let of = |keys: &str, connections: Option<u32>| {
        let text = format!("[pool.web]\nlisten = [\"127.0.0.1:80\"]\n{keys}\n");
        let pool = parse(&text, "config.toml").unwrap().pools.remove(0);
        Pool { database: Some(Database { connections, ..Database::default() }), ..pool }.connections()
    };
    assert_eq!(of("workers = 3", None), 3);
    assert_eq!(of("workers = 30", None), 10);
    assert_eq!(of("scaling = \"ondemand\"\nmax_workers = 6", None), 6);
    assert_eq!(of("scaling = \"dynamic\"\nworkers = 2\nmax_workers = 60", None), 10);
    assert_eq!(of("workers = 3", Some(50)), 50);
}

#[test]
fn a_mistake_about_a_database_names_what_would_be_right() {
    let url = "url = \"postgres://db\"\n";
    for (keys, line) in [
        (
            "connections = 3".to_owned(),
            "3: pool.web.database.url: a database needs one of url, url_file and url_env: \
             write for example url = \"postgres://shop@db.example/shop\"",
        ),
        (
            format!("{url}url_env = \"URL\""),
            "5: pool.web.database.url_env: url says already where the database is: keep one of the two",
        ),
        (
            "url_file = \"/x\"\nurl_env = \"URL\"".to_owned(),
            "5: pool.web.database.url_env: url_file says already where the database is: keep one of the two",
        ),
        (
            "url = \"\"".to_owned(),
            "4: pool.web.database.url: this URL cannot be used: it is empty; it would be postgresql://USER@HOST/DATABASE",
        ),
        (
            "url = \"mysql://db\"".to_owned(),
            "4: pool.web.database.url: this URL cannot be used: it does not begin with postgresql:// or postgres://",
        ),
        (
            "url = \"postgres://d\\tb\"".to_owned(),
            "4: pool.web.database.url: this URL cannot be used: it has a line break, or another control character, in it",
        ),
        ("url = 5".to_owned(), "4: pool.web.database.url: found 5, wanted a string"),
        (
            "url_file = \"url\"".to_owned(),
            "4: pool.web.database.url_file: is not an absolute path: write for example \"/etc/ratoon/database-url\"",
        ),
        (
            "url_env = \"$URL\"".to_owned(),
            "4: pool.web.database.url_env: is not the name of a variable: write for example \"DATABASE_URL\"",
        ),
        (
            format!("{url}connections = 0"),
            "5: pool.web.database.connections: 0 is out of range: write a whole number from 1 to 1000",
        ),
        (
            format!("{url}connect_timeout = \"0s\""),
            "5: pool.web.database.connect_timeout: \"0s\" is too short: at least \"1ms\"",
        ),
        (
            format!("{url}statement_timeout = \"25d\""),
            "5: pool.web.database.statement_timeout: is too long: at most \"24d\"",
        ),
        (
            format!("{url}tcp_user_timeout = \"25d\""),
            "5: pool.web.database.tcp_user_timeout: is too long: at most \"24d\"",
        ),
        (
            format!("{url}init_sql = \"a\\u0000b\""),
            "5: pool.web.database.init_sql: a statement cannot hold a zero byte: remove it",
        ),
        (
            format!("{url}reset = \"all\""),
            "5: pool.web.database.reset: \"all\" is not one of them: write \"session\", \"discard_all\" or \"off\"",
        ),
        (format!("{url}prepared = \"no\""), "5: pool.web.database.prepared: found \"no\", wanted a boolean"),
        (
            format!("{url}host = \"db\""),
            "5: pool.web.database.host: no such key; the keys of this table are url, url_file, \
          url_env, connections, connect_timeout, idle_timeout, max_lifetime, max_lifetime_jitter, validate_after, \
          statement_timeout, tcp_user_timeout, init_sql, reset, prepared",
        ),
    ] {
        assert_eq!(complaints(&with_database(&keys)), format!("config.toml:{line}"));
    }
}

#[test]
fn a_url_that_stands_elsewhere_is_read_and_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("url");
    std::fs::write(&secret, "\n  postgres://shop:hunter2@db/shop \n").unwrap();
    let config = loaded(directory.path(), &format!("url_file = {secret:?}")).unwrap();
    let url = config.pools[0].database.as_ref().unwrap().url.as_ref().unwrap();
    assert_eq!(url.reveal(), "postgres://shop:hunter2@db/shop");
}

#[test]
fn a_url_that_is_not_where_it_should_be_is_missed_by_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml").display().to_string();
    let secret = directory.path().join("url");
    let shown = secret.display();
    let said = |keys: &str| loaded(directory.path(), keys).unwrap_err().to_string();
    let of_file = || said(&format!("url_file = {secret:?}"));
    let at = |key: &str| format!("{file}:4: pool.web.database.{key}: ");
    assert_eq!(
        of_file(),
        format!(
            "{}{shown} cannot be read: No such file or directory (os error 2): write the URL there, or name another file",
            at("url_file")
        )
    );
    for (content, wrong) in [
        (
            String::new(),
            format!("what {shown} holds cannot be used: it is empty; it would be postgresql://USER@HOST/DATABASE"),
        ),
        (
            MARKER.to_owned(),
            format!(
                "what {shown} holds cannot be used: it is neither a URL (postgresql://USER@HOST/DATABASE) nor key=value pairs"
            ),
        ),
        (
            format!("postgres://a:{MARKER}@b\npostgres://a:{MARKER}@c"),
            format!("what {shown} holds cannot be used: it has a line break, or another control character, in it"),
        ),
        ("x".repeat(20_000), format!("{shown} is larger than 16KiB: it should hold the URL and nothing else")),
    ] {
        std::fs::write(&secret, content).unwrap();
        assert_eq!(of_file(), format!("{}{wrong}", at("url_file")));
    }
    std::fs::write(&secret, [0xff]).unwrap();
    assert_eq!(of_file(), format!("{}{shown} is not UTF-8: it should hold the URL", at("url_file")));
    std::fs::remove_file(&secret).unwrap();
    std::fs::create_dir(&secret).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(of_file(), format!("{}{shown} is not a regular file: name one", at("url_file")));
    assert_eq!(
        said("url_env = \"RATOON_NOBODY_SETS_THIS\""),
        format!(
            "{}there is no RATOON_NOBODY_SETS_THIS in the environment: set it where ratoon is started",
            at("url_env")
        )
    );
}

#[test]
fn a_changed_url_is_a_difference_and_its_value_is_not_told() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("url");
    let keys = format!("url_file = {secret:?}");
    let [old, new] = ["old", "new"].map(|user| {
        std::fs::write(&secret, format!("postgres://{user}:{MARKER}@db")).unwrap();
        loaded(directory.path(), &keys).unwrap()
    });
    let found = old.difference(&new);
    assert_eq!(found.to_string(), "pool.web.database.url changed");
    assert_eq!(found.changes().next().unwrap().effect, Effect::NewGeneration);
    let inline =
        loaded(directory.path(), &format!("url = \"postgres://x:{MARKER}@y\"\ninit_sql = \"{MARKER}\"")).unwrap();
    let told = format!("{} {:?}", old.difference(&inline), inline.difference(&new));
    assert!(told.contains("pool.web.database.init_sql changed") && !told.contains(MARKER), "{told}");
}

#[test]
fn no_mistake_and_no_debug_output_shows_a_password() {
    let url = format!("postgres://shop:{MARKER}@db/shop");
    for keys in [
        format!("url = {url}"),
        format!("url = \"{url}"),
        format!("url = \"postgres://shop:a\"{MARKER}@db\""),
        format!("url = \"postgres://shop:a\" {MARKER}@db\""),
        format!("url = postgres://shop:a#{MARKER}@db"),
        format!("url = \n{url}"),
        format!("url = 'postgres://shop:a'{MARKER}@db'"),
        format!("url = \"postgres://shop:\\{MARKER}@db\""),
        format!("url = \"host=db passwort={MARKER}\""),
        format!("url = [\"{url}\"]"),
        format!("url = {{ a = \"{url}\" }}"),
        format!("url = \"postgres://shop:{MARKER}@d@b\""),
        format!("url = \"mysql://shop:{MARKER}@db\""),
        format!("url_file = \"{url}\""),
        format!("url_env = \"{url}\""),
        format!("url_env = \"{MARKER}\"\nurl_file = \"{MARKER}\""),
        format!("connections = \"{url}\""),
        format!("connect_timeout = \"{url}\""),
        format!("reset = \"{url}\""),
        format!("prepared = \"{url}\""),
        format!("max_lifetime_jitter = \"postgres://db?user=x&password={MARKER}\""),
        format!("uri = \"{url}\""),
        format!("password = {MARKER}"),
    ] {
        let said = complaints(&with_database(&keys));
        assert!(!said.is_empty() && !said.contains(MARKER), "{keys}\n{said}");
    }
    for keys in [format!("database = \"{url}\""), format!("database = [\"{url}\"]"), format!("program = \"{url}\"")] {
        let said = complaints(&format!("[pool.web]\nlisten = [\"127.0.0.1:80\"]\n{keys}\n"));
        assert!(said.contains("config.toml:3: ") && !said.contains(MARKER), "{keys}\n{said}");
    }
    let config = parse(&with_database(&format!("url = \"{url}\"")), "config.toml").unwrap();
    assert!(!format!("{config:?}").contains(MARKER));
    assert_eq!(config.pools[0].database.as_ref().unwrap().url.as_ref().unwrap().reveal(), url);
}
