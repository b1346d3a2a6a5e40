//! `[pool.NAME]`: one program, its workers, its sockets and its limits.
//!
//! Owns the keys of a pool with their defaults and ranges, and what makes a pool impossible in itself. Never looks at
//! another pool, and never at the world but to count the CPUs for the default of `workers`.

mod contradictions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ratoon_worker::access::Query;
use ratoon_worker::protocol::{Forwarded, Panics, Reset, Trusted};
use serde::{Deserialize, Serialize};

use super::access;
use super::count::{Count, Offset};
use super::database::{self, Database};
use super::document::below;
use super::duration::{Patience, Span, Timeout};
use super::environment;
use super::form::{Form, Given};
use super::listen::{self, Listen};
use super::path;
use super::percent::{Percent, Share};
use super::program;
use super::rlimits::Rlimits;
use super::scaling::Scaling;
use super::size::{Amount, Size};
use super::trusted::Proxies;

/// What the application gets: free of any key of ours, with dates and times as strings.
pub type Settings = serde_json::Map<String, serde_json::Value>;

/// What becomes of the daemon when a pool cannot be brought up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It stays, serves its other pools, and tries this one again slowly.
    #[default]
    Stay,
    /// It stops gracefully and exits with a failure, for whoever started it to decide.
    Exit,
}

/// What a client is that will send no more but may still read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HalfClose {
    /// One that waits for its answer.
    #[default]
    Wait,
    /// One that has gone: its request is not run.
    Gone,
}

/// The keys of one pool. Equal pools behave alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// NAME in `[pool.NAME]`: at most 32 of `a-z`, `0-9`, `_` and `-`, with a letter first.
    #[serde(skip)]
    pub name: String,
    /// The sockets its workers accept from; at least one, so the default (none) has to be replaced.
    #[serde(deserialize_with = "listen::list")]
    pub listen: Vec<Listen>,
    /// Who is believed when it says on whose behalf it connects; default nobody.
    #[serde(with = "Proxies")]
    pub trusted_proxies: Trusted,
    /// In which headers they say it; default in none.
    pub forwarded: Forwarded,
    /// The program and its arguments; `None` is the sample application. Never empty, and no part holds a zero byte. A
    /// name without a slash is looked for in `PATH`.
    #[serde(deserialize_with = "program::program")]
    pub program: Option<Vec<String>>,
    /// A command that is run to success before a generation's template is; in the form of `program`, default none.
    #[serde(deserialize_with = "program::prepare")]
    pub prepare: Option<Vec<String>>,
    /// As whom its processes run, a name or a number; default as the supervisor. Another user needs a supervisor that is
    /// root. See [`Pool::account`].
    #[serde(deserialize_with = "listen::account")]
    pub user: Option<String>,
    /// Their group; default the user's.
    #[serde(deserialize_with = "listen::account")]
    pub group: Option<String>,
    /// Variables of their environment; default none.
    #[serde(deserialize_with = "environment::variables")]
    pub env: BTreeMap<String, String>,
    /// Variables that they have from the supervisor's environment, if they are there; default none.
    #[serde(deserialize_with = "environment::names")]
    pub pass_env: Vec<String>,
    /// What decides the number of workers; default static. [`Pool::headcount`] has the numbers, with their defaults.
    pub scaling: Scaling,
    /// Workers of a static pool, and of a dynamic one at its start, 1 to 1000. By default a static pool has twice the
    /// CPUs this process may use (affinity and cgroup quota counted), at least 4, and a dynamic one starts in the
    /// middle between `min_spare` and `max_spare`.
    #[serde(with = "Given::<Count<1, 1000>>")]
    pub workers: Option<u32>,
    /// The fewest workers of a dynamic pool, 1 to 1000; default 1.
    #[serde(with = "Given::<Count<1, 1000>>")]
    pub min_workers: Option<u32>,
    /// The most workers of a dynamic or ondemand pool, 1 to 1000; default four times what `workers` is or would be of a
    /// static pool.
    #[serde(with = "Given::<Count<1, 1000>>")]
    pub max_workers: Option<u32>,
    /// With fewer idle workers a dynamic pool grows, 1 to 1000; default an eighth of `max_workers`, at least 1.
    #[serde(with = "Given::<Count<1, 1000>>")]
    pub min_spare: Option<u32>,
    /// With more idle workers a dynamic pool shrinks, 1 to 1000; default twice `min_spare`.
    #[serde(with = "Given::<Count<1, 1000>>")]
    pub max_spare: Option<u32>,
    /// How long a worker of an ondemand pool is idle before it goes; default 10 s.
    #[serde(with = "Given::<Timeout>")]
    pub idle_timeout: Option<Duration>,
    /// The most workers a dynamic or ondemand pool starts at once to grow, 1 to 1000; default 32.
    #[serde(with = "Given::<Count<1, 1000>>")]
    pub spawn_rate: Option<u32>,
    /// Requests one worker serves before it is recycled, 1 to 1000000000; default no limit. See
    /// [`Pool::requests_of_a_life`].
    #[serde(with = "Given::<Count<1, 1_000_000_000>>")]
    pub max_requests: Option<u32>,
    /// By up to so much fewer they are, so that not all are recycled at once, up to 100 %; default 10 %.
    #[serde(with = "Share::<0, 100>")]
    pub max_requests_jitter: Percent,
    /// How old a worker may be before it is recycled, at least 1 s; default no limit. See [`Pool::age_of_a_life`].
    #[serde(with = "Given::<Span<1_000>>")]
    pub max_age: Option<Duration>,
    /// By up to so much younger it may be, up to 100 %; default 10 %.
    #[serde(with = "Share::<0, 100>")]
    pub max_age_jitter: Percent,
    /// Memory a worker may have of its own between two requests before it is recycled, in bytes, at least 1 MiB;
    /// default no limit.
    #[serde(with = "Given::<Size<{ 1 << 20 }, { 1 << 50 }>>")]
    pub max_memory: Option<u64>,
    /// Memory a worker may have of its own at any moment before it is killed, in bytes, at least 1 MiB and
    /// `max_memory`; default no limit.
    #[serde(with = "Given::<Size<{ 1 << 20 }, { 1 << 50 }>>")]
    pub max_memory_hard: Option<u64>,
    /// How many workers may be in place beyond the pool's number while others are replaced, as a share of that, 1 % to
    /// 100 %; default 25 %. See [`Pool::surge_of`].
    #[serde(with = "Share::<1, 100>")]
    pub surge: Percent,
    /// How long a new generation must go well before it is settled and the old template goes; default 10 s, zero
    /// believes it at once.
    #[serde(with = "Patience")]
    pub settle: Duration,
    /// What a pool that has spent its budget of failed boots means for the daemon; default stay.
    pub on_failure: OnFailure,
    /// From the fork of a worker until it is ready, and for a program to load; default 60 s.
    #[serde(with = "Timeout")]
    pub boot_timeout: Duration,
    /// From the start of a request's handler to its end; default 30 s.
    #[serde(with = "Timeout")]
    pub request_timeout: Duration,
    /// How much longer than `request_timeout` a worker may live before it is killed; default 5 s, zero kills at once.
    #[serde(with = "Patience")]
    pub kill_grace: Duration,
    /// From a graceful stop until what is left is killed; default 35 s, zero kills at once.
    #[serde(with = "Patience")]
    pub stop_timeout: Duration,
    /// From a stop's beginning until clients are let in no longer; default zero, at once.
    #[serde(with = "Patience")]
    pub drain_delay: Duration,
    /// For a whole head: from the connection's first moment, later from the head's first byte; default 10 s.
    #[serde(with = "Timeout")]
    pub header_timeout: Duration,
    /// The longest pause of a client that sends a body; default 30 s.
    #[serde(with = "Timeout")]
    pub body_timeout: Duration,
    /// The longest pause of a client that reads a response; default 30 s.
    #[serde(with = "Timeout")]
    pub send_timeout: Duration,
    /// How long a connection may be idle between requests; default 75 s.
    #[serde(with = "Timeout")]
    pub keep_alive_timeout: Duration,
    /// A request that has waited longer for a worker is answered 503 and not run; default no limit.
    #[serde(with = "Given::<Timeout>")]
    pub queue_timeout: Option<Duration>,
    /// What a client that has closed its half of the connection is; default one that waits.
    pub half_close: HalfClose,
    /// What becomes of a worker that a request has changed; default it is put back.
    pub reset: Reset,
    /// After so many requests a worker counts what is never put back, up to 1000000; default 100, zero never.
    #[serde(with = "Count::<0, 1_000_000>")]
    pub reset_check: u32,
    /// What a panic means for the worker; default it is recycled.
    pub panics: Panics,
    /// The longest request head, in bytes, 1 KiB to 1 MiB; default 16 KiB.
    #[serde(with = "Size::<{ 1 << 10 }, { 1 << 20 }>")]
    pub max_header: u64,
    /// The longest request body, in bytes; default 8 MiB, zero refuses every body.
    #[serde(with = "Amount")]
    pub max_body: u64,
    /// As much of a body is kept in memory, in bytes, the rest in a file; default 256 KiB. More than `max_body` means
    /// as much as `max_body`.
    #[serde(with = "Amount")]
    pub body_memory: u64,
    /// Where the files for bodies are made, absolute; default `/var/tmp`, which is a disk where `/tmp` may be memory.
    #[serde(deserialize_with = "path::to_a_directory")]
    pub body_dir: PathBuf,
    /// All bodies in files together, in bytes, over all workers of the pool; default 1 GiB.
    #[serde(with = "Amount")]
    pub body_disk: u64,
    /// Connections one worker holds open, 1 to 100000; default 4096.
    #[serde(with = "Count::<1, 100_000>")]
    pub max_connections: u32,
    /// The form of a line of the access log, parsed when it is read; default none.
    #[serde(deserialize_with = "access::form", serialize_with = "access::written")]
    pub access: Option<String>,
    /// The file those lines are appended to, absolute; default where all other lines go.
    #[serde(deserialize_with = "path::to_a_file")]
    pub access_file: Option<PathBuf>,
    /// Paths of which there is no line, or, with `*` at the end, their beginnings; default none.
    #[serde(deserialize_with = "access::paths")]
    pub access_skip: Vec<String>,
    /// From how long on a request is slow; default none is.
    #[serde(with = "Given::<Timeout>")]
    pub slow_log: Option<Duration>,
    /// How much of a query string logs and status show; default all.
    pub log_query: Query,
    /// Whether what template, workers and `prepare` print becomes lines of the log; default yes.
    pub capture: bool,
    /// Niceness of the template and its workers, -20 (first served) to 19; default that of the supervisor.
    #[serde(with = "Given::<Offset<-20, 19>>")]
    pub nice: Option<i32>,
    /// How readily the kernel kills them when memory is short, -1000 (never) to 1000; default as the supervisor.
    #[serde(with = "Given::<Offset<-1000, 1000>>")]
    pub oom_score_adj: Option<i32>,
    /// What the kernel allows the template and each worker; default what it allows the supervisor.
    pub rlimits: Rlimits,
    /// Its database; default none.
    #[serde(deserialize_with = "database::table")]
    pub database: Option<Database>,
    /// Handed to the application as it is; default empty. Last, since a table ends the plain keys before it.
    pub settings: Settings,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool {
            name: String::new(),
            listen: Vec::new(),
            trusted_proxies: Trusted::default(),
            forwarded: Forwarded::Off,
            program: None,
            prepare: None,
            user: None,
            group: None,
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            scaling: Scaling::Static,
            workers: None,
            min_workers: None,
            max_workers: None,
            min_spare: None,
            max_spare: None,
            idle_timeout: None,
            spawn_rate: None,
            max_requests: None,
            max_requests_jitter: Percent(10),
            max_age: None,
            max_age_jitter: Percent(10),
            max_memory: None,
            max_memory_hard: None,
            surge: Percent(25),
            settle: Duration::from_secs(10),
            on_failure: OnFailure::Stay,
            boot_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            kill_grace: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(35),
            drain_delay: Duration::ZERO,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(75),
            queue_timeout: None,
            half_close: HalfClose::Wait,
            reset: Reset::Restore,
            reset_check: 100,
            panics: Panics::Recycle,
            max_header: 16 << 10,
            max_body: 8 << 20,
            body_memory: 256 << 10,
            body_dir: PathBuf::from("/var/tmp"),
            body_disk: 1 << 30,
            max_connections: 4096,
            access: None,
            access_file: None,
            access_skip: Vec::new(),
            slow_log: None,
            log_query: Query::Full,
            capture: true,
            nice: None,
            oom_score_adj: None,
            rlimits: Rlimits::default(),
            database: None,
            settings: Settings::new(),
        }
    }
}

impl Pool {
    /// The path of this pool's table: `pool.web`.
    pub fn path(&self) -> String {
        below("pool", &self.name)
    }

    /// How many requests a new worker may serve, `max_requests` less its jitter; `None` without a limit. `chance` is
    /// random, from 0 to 1.
    pub fn requests_of_a_life(&self, chance: f64) -> Option<u64> {
        self.max_requests.map(|most| self.max_requests_jitter.shorten(u64::from(most), chance))
    }

    /// How old a new worker may become, `max_age` less its jitter; `None` without a limit. `chance` is random, from 0
    /// to 1.
    pub fn age_of_a_life(&self, chance: f64) -> Option<Duration> {
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.max_age.map(|most| Duration::from_millis(self.max_age_jitter.shorten(millis(most), chance)))
    }

    /// How many workers may be in place beyond `workers` while others are replaced; at least 1.
    pub fn surge_of(&self, workers: u32) -> u32 {
        u32::try_from(self.surge.of(u64::from(workers))).unwrap_or(u32::MAX).max(1)
    }
}
