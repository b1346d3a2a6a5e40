//! For every kind of mistake the exact line: file, line, key, and what would be right.

use super::complaints;
use crate::config::parse;

/// Reads `keys` as those of a pool that has a listener: the first of them stands in line 3.
fn pool_complaints(keys: &str) -> String {
    complaints(&format!("[pool.web]\nlisten = [\"127.0.0.1:80\"]\n{keys}\n"))
}

#[test]
fn a_mistake_in_a_value_names_file_line_key_and_what_would_be_right() {
    for (keys, line) in [
        (
            r#"request_timeout = "30 parsecs""#,
            r#"request_timeout: "30 parsecs" is not a duration: write for example "500ms", "30s" or "2m""#,
        ),
        (r#"request_timeout = "30 sec""#, r#"request_timeout: "30 sec" is not a duration: write "30s""#),
        ("request_timeout = 30", r#"request_timeout: 30 has no unit: write "30s""#),
        ("request_timeout = -30", r#"request_timeout: found -30, wanted a duration such as "500ms", "30s" or "2m""#),
        ("request_timeout = true", r#"request_timeout: found true, wanted a duration such as "500ms", "30s" or "2m""#),
        (r#"request_timeout = "0s""#, r#"request_timeout: "0s" is too short: at least "1ms""#),
        (r#"request_timeout = "366d""#, r#"request_timeout: "366d" is too long: at most "365d""#),
        (r#"max_body = "64MB""#, r#"max_body: "64MB" is not a size: write "64MiB""#),
        ("max_body = 65536", r#"max_body: 65536 has no unit: write "64KiB""#),
        (r#"max_body = "huge""#, r#"max_body: "huge" is not a size: write for example "512B", "16KiB" or "64MiB""#),
        ("max_body = 1.5", r#"max_body: found 1.5, wanted a size such as "512B", "16KiB" or "64MiB""#),
        (r#"max_header = "512B""#, r#"max_header: "512B" is too small: at least "1KiB""#),
        (r#"max_header = "2MiB""#, r#"max_header: "2MiB" is too large: at most "1MiB""#),
        ("workers = 0", "workers: 0 is out of range: write a whole number from 1 to 1000"),
        ("workers = -1", "workers: -1 is out of range: write a whole number from 1 to 1000"),
        ("workers = 5_000_000_000", "workers: 5000000000 is out of range: write a whole number from 1 to 1000"),
        ("workers = 99999999999999999999", "workers: 99999999999999999999 does not fit into 64 bits"),
        (r#"workers = "8""#, r#"workers: found "8", wanted a whole number from 1 to 1000"#),
        ("workers = [8]", "workers: found a list, wanted a whole number from 1 to 1000"),
        ("max_connections = 0", "max_connections: 0 is out of range: write a whole number from 1 to 100000"),
        (r#"body_dir = "tmp""#, r#"body_dir: "tmp" is not an absolute path: write for example "/var/tmp""#),
        ("body_dir = 1", "body_dir: found 1, wanted a string"),
        (r#"program = "app -v""#, r#"program: found "app -v", wanted a list: write ["app", "-v"]"#),
        (
            "program = []",
            "program: names no program: write one first in the list, or no list at all for the sample application",
        ),
        (r#"program = ["app", 1]"#, "program[1]: found 1, wanted a string"),
        (r#"program = ["a\u0000b"]"#, "program: an argument cannot hold a zero byte: remove it"),
        ("settings = 1", "settings: found 1, wanted a table"),
        (r#"settings = "s3cret""#, "settings: found a text, wanted a table"),
        (
            r#"env = "s3cret""#,
            r#"env: found a text, wanted a table of texts: write for example { RUST_LOG = "debug" }"#,
        ),
        ("settings.rate = nan", "settings.rate: nan is not a finite number"),
        (r#"worker = 2"#, r#"worker: no such key; did you mean "workers"?"#),
        (r#"Request-Timeout = "1s""#, r#"Request-Timeout: no such key; did you mean "request_timeout"?"#),
    ] {
        assert_eq!(pool_complaints(keys), format!("config.toml:3: pool.web.{line}"));
    }
}

#[test]
fn the_status_pages_socket_has_no_keys_without_a_meaning() {
    for (listen, line) in [
        (
            r#"{ address = "127.0.0.1:1", mode = "0600" }"#,
            r#"mode: belongs to unix sockets, and "127.0.0.1:1" is none: remove it"#,
        ),
        (
            r#"{ address = "unix:/x", proxy_protocol = true }"#,
            "proxy_protocol: is for the clients of a pool, and operators come without a PROXY header: remove it",
        ),
    ] {
        let text = format!("[pool.web]\nlisten = [\"127.0.0.1:80\"]\n[admin]\nlisten = {listen}\n");
        assert_eq!(complaints(&text), format!("config.toml:4: admin.listen.{line}"));
    }
}

#[test]
fn a_mistake_in_a_listener_names_the_listener() {
    for (listen, line) in [
        (r#""127.0.0.1:80""#, r#": found "127.0.0.1:80", wanted a list: write ["127.0.0.1:80"]"#),
        ("8080", r#": found 8080, wanted a list: write for example ["127.0.0.1:8080"]"#),
        ("[]", r#": a pool needs a socket: write for example listen = ["127.0.0.1:8080"]"#),
        ("[8080]", r#"[0]: 8080 is only a port: write "127.0.0.1:8080""#),
        (
            "[true]",
            r#"[0]: found true, wanted an address such as "127.0.0.1:8080" or "unix:/run/web.sock", or a table with one"#,
        ),
        (
            r#"["localhost:80"]"#,
            r#"[0]: "localhost:80" names a host, and an IP address is wanted: write "127.0.0.1:80""#,
        ),
        (r#"[{ mode = "0660" }]"#, r#"[0]: "address" is missing from this table: add it"#),
        (r#"[{ address = "0.0.0.0" }]"#, r#"[0].address: "0.0.0.0" has no port: write "0.0.0.0:8080""#),
        (
            r#"[{ address = 80 }]"#,
            r#"[0].address: found 80, wanted an address such as "127.0.0.1:8080" or "unix:/run/web.sock""#,
        ),
        (r#"[{ address = "unix:/x", mod = "0660" }]"#, r#"[0].mod: no such key; did you mean "mode"?"#),
        (
            r#"[{ address = "unix:/x", port = 1 }]"#,
            "[0].port: no such key; the keys of this table are address, mode, owner, group, backlog, \
             proxy_protocol",
        ),
        (
            r#"[{ address = "unix:/x", mode = 660 }]"#,
            r#"[0].mode: found 660, wanted octal digits in quotes such as "0660""#,
        ),
        (
            r#"[{ address = "unix:/x", mode = 0o660 }]"#,
            r#"[0].mode: found 432, wanted octal digits in quotes such as "0660""#,
        ),
        (
            r#"[{ address = "unix:/x", mode = "rw-rw----" }]"#,
            r#"[0].mode: "rw-rw----" is not a mode: write octal digits from "0000" to "0777", for example "0660""#,
        ),
        (
            r#"[{ address = "unix:/x", mode = "4755" }]"#,
            r#"[0].mode: "4755" is not a mode: write octal digits from "0000" to "0777", for example "0660""#,
        ),
        (r#"[{ address = "unix:/x", owner = 33 }]"#, r#"[0].owner: 33 needs quotes: write "33""#),
        (r#"[{ address = "unix:/x", group = "" }]"#, r#"[0].group: "" names nobody: write for example "www-data""#),
        (
            r#"[{ address = "unix:/x", backlog = 0 }]"#,
            "[0].backlog: 0 is out of range: write a whole number from 1 to 65535",
        ),
        (
            r#"[{ address = "127.0.0.1:80", mode = "0660" }]"#,
            r#"[0].mode: belongs to unix sockets, and "127.0.0.1:80" is none: remove it"#,
        ),
    ] {
        assert_eq!(
            complaints(&format!("[pool.web]\nlisten = {listen}\n")),
            format!("config.toml:2: pool.web.listen{line}")
        );
    }
}

#[test]
fn a_mistake_above_the_pools_is_named_too() {
    let web = "\n[pool.web]\nlisten = [\"127.0.0.1:80\"]\n";
    for (text, line) in [
        (
            r#"log.level = "loud""#,
            r#"log.level: "loud" is not one of them: write "error", "warn", "info", "debug" or "trace""#,
        ),
        ("log.level = 3", r#"log.level: found 3, wanted "error", "warn", "info", "debug" or "trace""#),
        (r#"log.colour = true"#, "log.colour: no such key; the keys of this table are level, format, file"),
        ("log = 1", "log: found 1, wanted a table"),
        ("workers = 3", "workers: no such key; the keys of this table are log, control, admin, pool"),
        ("[pools.x]", r#"pools: no such key; did you mean "pool"?"#),
    ] {
        assert_eq!(complaints(&format!("{text}{web}")), format!("config.toml:1: {line}"));
    }
    for (text, line) in [
        ("", r#"config.toml: pool: no pool is configured: add a table [pool.web] with listen = ["127.0.0.1:8080"]"#),
        (
            "\n[pool]\n",
            r#"config.toml:2: pool: no pool is configured: add a table [pool.web] with listen = ["127.0.0.1:8080"]"#,
        ),
        ("pool = 1", "config.toml:1: pool: found 1, wanted one table per pool, such as [pool.web]"),
        ("pool.web = 1", "config.toml:1: pool.web: found 1, wanted a table"),
        (
            "[pool.web]\nworkers = 2",
            r#"config.toml:1: pool.web.listen: a pool needs a socket: write for example listen = ["127.0.0.1:8080"]"#,
        ),
        (
            "[pool.\"Web Shop\"]\nlisten = [\"127.0.0.1:80\"]",
            "config.toml:1: pool.\"Web Shop\": \"Web Shop\" cannot name a pool: \
             use 1 to 32 of a-z, 0-9, _ and -, a letter first",
        ),
    ] {
        assert_eq!(complaints(text), line);
    }
}

#[test]
fn a_syntax_error_is_one_line_with_its_column() {
    for (keys, line) in [
        ("request_timeout = 30s", r#"3:19: text needs quotes: write "30s""#),
        ("listen2 = localhost", r#"3:11: text needs quotes: write "localhost""#),
        ("workers =", r#"3:10: a value is missing after "=""#),
        ("mode = 0660", r#"3:8: not a number; text, also a mode or an address, needs quotes: write "0660""#),
        (
            "address = 127.0.0.1:80",
            r#"3:16: not a number; text, also a mode or an address, needs quotes: write "127.0.0.1:80""#,
        ),
        ("workers = 1\nworkers = 2", r#"4:1: "workers" is already set above: keep one of the two"#),
        ("workers 1", "3:9: key with no value, expected `=`"),
        ("[pool.web", "3:10: unclosed table, expected `]`"),
        ("body_dir = \"ä\" x", "3:16: unexpected key or value, expected newline, `#`"),
    ] {
        assert_eq!(pool_complaints(keys), format!("config.toml:{line}"));
    }
}

#[test]
fn several_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = r#"
[pool.web]
listen = [
    "127.0.0.1:80",
    { address = "127.0.0.1:81", backlog = "many" },
    { address = "unix:/run/x", mode = 660, user = "x" },
]
worker = 3
max_body = "64MB"

[pool.jobs]
listen = ["127.0.0.1:80"]
stop_timeout = 3

[log]
level = "loud"
"#;
    assert_eq!(
        complaints(text),
        r#"config.toml:5: pool.web.listen[1].backlog: found "many", wanted a whole number from 1 to 65535
config.toml:6: pool.web.listen[2].mode: found 660, wanted octal digits in quotes such as "0660"
config.toml:6: pool.web.listen[2].user: no such key; the keys of this table are address, mode, owner, group, backlog, proxy_protocol
config.toml:8: pool.web.worker: no such key; did you mean "workers"?
config.toml:9: pool.web.max_body: "64MB" is not a size: write "64MiB"
config.toml:12: pool.jobs.listen[0]: "127.0.0.1:80" is already listened on by pool.web.listen[0] (line 4): give each its own address
config.toml:13: pool.jobs.stop_timeout: 3 has no unit: write "3s"
config.toml:16: log.level: "loud" is not one of them: write "error", "warn", "info", "debug" or "trace""#
    );
}

#[test]
fn a_refused_element_does_not_shift_the_blame_to_its_neighbour() {
    assert_eq!(
        complaints("[pool.web]\nlisten = [\n\":81\",\n\"127.0.0.1:80\",\n\"127.0.0.1:80\"]\n"),
        "config.toml:3: pool.web.listen[0]: \":81\" has no IP address: \
         write \"127.0.0.1:81\", or \"0.0.0.0:81\" for all of IPv4"
    );
}

#[test]
fn an_address_is_listened_on_once_and_port_zero_as_often_as_one_likes() {
    assert_eq!(
        complaints("[pool.web]\nlisten = [\"unix:/run/x\",\n\"unix:/run//x\"]\n"),
        "config.toml:3: pool.web.listen[1]: \"unix:/run//x\" is already listened on by pool.web.listen[0] (line 2): \
         give each its own address"
    );
    assert_eq!(complaints("[pool.web]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n"), "");
}

#[test]
fn a_header_is_expected_only_from_somebody_who_is_believed() {
    let announced = |address: &str, trusted: &str| {
        let listen = format!("listen = [{{ address = \"{address}\", proxy_protocol = true }}]");
        complaints(&format!("[pool.web]\n{trusted}\n{listen}\n"))
    };
    let line = |example: &str| {
        format!(
            "config.toml:3: pool.web.listen[0].proxy_protocol: needs trusted_proxies, or nobody could connect: \
             write for example trusted_proxies = [\"{example}\"]"
        )
    };
    assert_eq!(announced("127.0.0.1:80", ""), line("127.0.0.1"));
    assert_eq!(announced("127.0.0.1:80", "trusted_proxies = []"), line("127.0.0.1"));
    assert_eq!(announced("unix:/run/x", "trusted_proxies = [\"127.0.0.1\"]"), line("unix"));
    assert_eq!(announced("127.0.0.1:80", "trusted_proxies = [\"127.0.0.1\"]"), "");
    assert_eq!(announced("unix:/run/x", "trusted_proxies = [\"unix\"]"), "");
    assert_eq!(
        complaints("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nforwarded = \"forwarded\"\n"),
        "config.toml:3: pool.web.forwarded: needs trusted_proxies, or nobody would be believed: \
         write for example trusted_proxies = [\"127.0.0.1\"]"
    );
    for (wrong, said) in [
        ("\"127.0.0.1\"", "found \"127.0.0.1\", wanted a list: write [\"127.0.0.1\"]"),
        ("true", "found true, wanted a list such as [\"127.0.0.1\", \"10.0.0.0/8\", \"unix\"]"),
        ("[\"10.0.0.1/8\"]", "\"10.0.0.1/8\" has bits beyond its prefix: write \"10.0.0.0/8\""),
    ] {
        let text = format!("[pool.web]\ntrusted_proxies = {wrong}\nlisten = [\"127.0.0.1:0\"]\n");
        assert_eq!(complaints(&text), format!("config.toml:2: pool.web.trusted_proxies: {said}"));
    }
}

#[test]
fn a_file_of_another_kind_is_not_complained_about_without_end() {
    let text: String = (0..10_000).map(|index| format!("key{index} = 1\n")).collect();
    assert_eq!(complaints(&text).lines().count(), 50);
}

#[test]
fn a_message_stays_on_one_line_whatever_the_file_says() {
    let long = "x".repeat(5_000);
    for text in [
        r#""a\nb" = 1"#,
        "pool.\"x\\ny\" = 1",
        r#"log.level = "a\nb""#,
        &format!("log.level = \"{long}\""),
        "\"\\u001b\" = 1",
    ] {
        let said = parse(text, "config.toml").unwrap_err();
        for complaint in said.iter() {
            let line = complaint.to_string();
            assert!(line.chars().all(|c| !c.is_control()) && line.len() < 400, "{line}");
        }
    }
}
