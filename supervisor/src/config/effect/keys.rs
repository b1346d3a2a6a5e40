//! The declarations: every key, its default, when a change takes effect, and why then.
//!
//! In the order of config.toml, which says what each key is for.

use super::Effect::{self, Live, NewGeneration, Restart};
use super::Key;

const fn key(path: &'static str, default: &'static str, effect: Effect, why: &'static str) -> Key {
    Key { path, default, effect, why }
}

/// Every key there is.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("log.level", "info", NewGeneration, "templates and workers are told it when they begin; the supervisor's own stays until a restart"),
    key("log.format", "auto", Restart, "one log has one form from its first line to its last"),
    key("log.file", "standard error", Restart, "one log has one place from its first line to its last"),
    key("control.socket", "control.sock in the RuntimeDirectory of systemd, else none", Restart, "whoever asks must find it where it was when the reload was asked for"),

    key("admin.listen", "none", Restart, "its socket is opened at the start and kept, also through an upgrade"),
    key("admin.user", "nobody, if the supervisor is root, else the supervisor's", Restart, "it goes with the socket"),

    key("pool.NAME.listen[].address", "none: a pool needs at least one", NewGeneration, "opened before the new generation, closed after the old one; the same address stays open throughout"),
    key("pool.NAME.listen[].mode", "0660", Live, "of the file of a socket that stays open"),
    key("pool.NAME.listen[].owner", "the supervisor's", Live, "of the file of a socket that stays open"),
    key("pool.NAME.listen[].group", "the supervisor's", Live, "of the file of a socket that stays open"),
    key("pool.NAME.listen[].backlog", "1024", Live, "the kernel takes a new one for a socket that stays open"),
    key("pool.NAME.listen[].proxy_protocol", "false", NewGeneration, "a worker reads what comes first; while both generations serve, each does as it was told"),
    key("pool.NAME.trusted_proxies", "none: nobody is believed", NewGeneration, "a worker believes, or does not"),
    key("pool.NAME.forwarded", "off", NewGeneration, "a worker believes, or does not"),
    key("pool.NAME.program", "the sample application", NewGeneration, "it is what a generation is"),
    key("pool.NAME.prepare", "none", Live, "the supervisor runs it, before this very reload's templates"),

    key("pool.NAME.user", "the supervisor's", NewGeneration, "a process becomes it before its program begins"),
    key("pool.NAME.group", "the user's", NewGeneration, "a process becomes it before its program begins"),
    key("pool.NAME.env", "empty", NewGeneration, "a program finds it when it begins"),
    key("pool.NAME.pass_env", "[]", NewGeneration, "a program finds it when it begins, as the supervisor found it when it was started"),

    key("pool.NAME.scaling", "static", Live, "the supervisor counts workers"),
    key("pool.NAME.workers", "static: twice the CPUs, at least 4; dynamic: between min_spare and max_spare", Live, "the supervisor counts workers"),
    key("pool.NAME.min_workers", "dynamic: 1", Live, "the supervisor counts workers"),
    key("pool.NAME.max_workers", "four times workers, or what a static pool would have", Live, "the supervisor counts workers"),
    key("pool.NAME.min_spare", "an eighth of max_workers, at least 1", Live, "the supervisor counts idle workers"),
    key("pool.NAME.max_spare", "twice min_spare", Live, "the supervisor counts idle workers"),
    key("pool.NAME.idle_timeout", "10s", Live, "the supervisor retires idle workers"),
    key("pool.NAME.spawn_rate", "32", Live, "the supervisor orders the forks"),

    key("pool.NAME.max_requests", "none", NewGeneration, "a worker counts for itself, to the number it was forked with"),
    key("pool.NAME.max_requests_jitter", "10%", NewGeneration, "a worker's number is drawn when it is forked"),
    key("pool.NAME.max_age", "none", Live, "the supervisor draws it for every worker that becomes ready from then on"),
    key("pool.NAME.max_age_jitter", "10%", Live, "the supervisor draws it for every worker that becomes ready from then on"),
    key("pool.NAME.max_memory", "none", Live, "the supervisor samples the memory, also of workers that serve"),
    key("pool.NAME.max_memory_hard", "none", Live, "the supervisor samples the memory, also of workers that serve"),
    key("pool.NAME.surge", "25%", Live, "this very reload is rolled out by it"),
    key("pool.NAME.settle", "10s", Live, "this very reload is watched for so long"),
    key("pool.NAME.on_failure", "stay", Live, "the supervisor decides it when a pool fails"),

    key("pool.NAME.boot_timeout", "60s", Live, "the supervisor kills what boots too long"),
    key("pool.NAME.request_timeout", "30s", NewGeneration, "a worker writes down its own deadline"),
    key("pool.NAME.kill_grace", "5s", Live, "the supervisor adds it to the deadline a worker wrote"),
    key("pool.NAME.stop_timeout", "35s", Live, "the supervisor waits and kills"),
    key("pool.NAME.drain_delay", "0s", Live, "the supervisor waits, and has the pool accept until then"),
    key("pool.NAME.header_timeout", "10s", NewGeneration, "a worker reads the heads"),
    key("pool.NAME.body_timeout", "30s", NewGeneration, "a worker reads the bodies"),
    key("pool.NAME.send_timeout", "30s", NewGeneration, "a worker sends the responses"),
    key("pool.NAME.keep_alive_timeout", "75s", NewGeneration, "a worker keeps the connections"),
    key("pool.NAME.queue_timeout", "none", NewGeneration, "a worker asks how long a request has waited"),
    key("pool.NAME.half_close", "wait", NewGeneration, "a worker looks after its clients"),

    key("pool.NAME.reset", "restore", NewGeneration, "a worker puts itself back"),
    key("pool.NAME.reset_check", "100", NewGeneration, "a worker counts what it holds"),
    key("pool.NAME.panics", "recycle", NewGeneration, "a worker catches its own panics"),

    key("pool.NAME.max_header", "16KiB", NewGeneration, "a worker reads the heads"),
    key("pool.NAME.max_body", "8MiB", NewGeneration, "a worker reads the bodies"),
    key("pool.NAME.body_memory", "256KiB", NewGeneration, "a worker stores the bodies"),
    key("pool.NAME.body_dir", "/var/tmp", NewGeneration, "a worker stores the bodies"),
    key("pool.NAME.body_disk", "1GiB", NewGeneration, "a worker stores the bodies"),
    key("pool.NAME.max_connections", "4096", NewGeneration, "a worker keeps the connections"),

    key("pool.NAME.access", "off", NewGeneration, "a worker writes its own lines"),
    key("pool.NAME.access_file", "where all other lines go", NewGeneration, "a worker writes its own lines"),
    key("pool.NAME.access_skip", "none", NewGeneration, "a worker writes its own lines"),
    key("pool.NAME.slow_log", "none", NewGeneration, "a worker measures its own requests"),
    key("pool.NAME.log_query", "full", NewGeneration, "a worker says what its own requests are"),
    key("pool.NAME.capture", "true", NewGeneration, "a program prints where it was started to print"),

    key("pool.NAME.nice", "the supervisor's", NewGeneration, "a process is given it before its program begins"),
    key("pool.NAME.oom_score_adj", "the supervisor's", NewGeneration, "a process is given it before its program begins"),
    key("pool.NAME.rlimits.nofile", "the supervisor's", NewGeneration, "a process is given it before its program begins"),
    key("pool.NAME.rlimits.core", "the supervisor's", NewGeneration, "a process is given it before its program begins"),
    key("pool.NAME.rlimits.as", "the supervisor's", NewGeneration, "a process is given it before its program begins"),
    key("pool.NAME.rlimits.cpu", "the supervisor's", NewGeneration, "a process is given it before its program begins"),

    key("pool.NAME.database.url", "none: one of url, url_file and url_env", NewGeneration, "a worker connects"),
    key("pool.NAME.database.url_file", "none", NewGeneration, "read with the configuration: what has changed in it counts from then on"),
    key("pool.NAME.database.url_env", "none", NewGeneration, "read with the configuration, from the environment that the supervisor was started with"),
    key("pool.NAME.database.connections", "one for each worker there can be, at most 10", NewGeneration, "a worker keeps its own connections"),
    key("pool.NAME.database.connect_timeout", "5s", NewGeneration, "a worker keeps its own connections"),
    key("pool.NAME.database.idle_timeout", "10m", NewGeneration, "a worker keeps its own connections"),
    key("pool.NAME.database.max_lifetime", "30m", NewGeneration, "a worker keeps its own connections"),
    key("pool.NAME.database.max_lifetime_jitter", "10%", NewGeneration, "a worker keeps its own connections"),
    key("pool.NAME.database.validate_after", "30s", NewGeneration, "a worker keeps its own connections"),
    key("pool.NAME.database.statement_timeout", "none", NewGeneration, "a worker keeps its own connections"),
    key("pool.NAME.database.tcp_user_timeout", "15s", NewGeneration, "a worker keeps its own connections"),
    key("pool.NAME.database.init_sql", "none", NewGeneration, "a worker sets up its connections"),
    key("pool.NAME.database.reset", "session", NewGeneration, "a worker puts its session back"),
    key("pool.NAME.database.prepared", "true", NewGeneration, "a worker prepares its statements"),

    key("pool.NAME.settings", "empty", NewGeneration, "the program reads them when it loads"),
];
