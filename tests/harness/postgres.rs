//! A PostgreSQL server of a test's own: Debian's, in a directory in memory, on a Unix socket and a port of its own.
//!
//! Gone with the test, however that ends: the server is told to by the kernel (see `unprivileged`), and its backends
//! notice that it has gone.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::certificates::Identity;
use super::{SOON, eventually, free_address, process, unprivileged};

/// What the harness itself is called in `pg_stat_activity`: not counted.
const OURSELVES: &str = "ratoon-tests";

/// The superuser, who needs no password.
const OWNER: &str = "ratoon";

/// Before each configuration: what is not worth its time here, and what the harness reads in the log.
const USUAL: &str = "\
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 16MB
log_connections = on
log_line_prefix = '%m [%p] '
listen_addresses = '127.0.0.1'
";

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its clients are told goodbye.
    Fast,
    /// At once, as by a crash.
    Immediate,
}

/// A server; killed when dropped.
pub struct Postgres {
    directory: TempDir,
    port: u16,
    process: Option<Child>,
}

/// Where the newest server's programs are.
static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    let newest = newest.expect("PostgreSQL is installed: tests/deps.sh does it");
    PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
});

/// A cluster that nobody has used, to be copied: to make one takes a second. Kept from one run to the next.
static PRISTINE: LazyLock<PathBuf> = LazyLock::new(|| {
    let version = PROGRAMS.parent().and_then(Path::file_name).unwrap().display();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-{version}-{}", unprivileged::uid()));
    if kept.exists() {
        return kept;
    }
    let directory = unprivileged::directory_in_memory();
    let mut initdb = unprivileged::command(&PROGRAMS.join("initdb"), directory.path(), "KILL");
    initdb.args(["-D", "data", "-U", OWNER, "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8"]);
    let output = initdb.args(["--wal-segsize=1", "--no-instructions"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Whole or not there: another run may look for it at this moment.
    let copied = kept.with_extension(std::process::id().to_string());
    copy(&directory.path().join("data"), &copied);
    if fs::rename(&copied, &kept).is_err() {
        fs::remove_dir_all(&copied).unwrap();
    }
    kept
});

/// Copies a directory with whose everything in it is.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success(), "{copied}");
}

impl Postgres {
    /// A server that takes connections.
    #[track_caller]
    pub fn start() -> Postgres {
        Postgres::with(&[])
    }

    /// The same with these settings, as in postgresql.conf.
    #[track_caller]
    pub fn with(settings: &[(&str, &str)]) -> Postgres {
        let directory = unprivileged::directory_in_memory();
        copy(&PRISTINE, &directory.path().join("data"));
        let mut postgres = Postgres { directory, port: 0, process: None };
        for (key, value) in settings {
            postgres.set(key, value);
        }
        // Nobody can reserve a port: somebody else may have it by the time the server wants it.
        for _ in 0..10 {
            postgres.port = free_address().port();
            if postgres.try_start() {
                return postgres;
            }
        }
        panic!("the server does not start; its log:\n{}", postgres.log());
    }

    /// For `psql` and for an application: as the superuser, over the Unix socket.
    pub fn url(&self) -> String {
        format!("postgres://{OWNER}@/postgres?host={}&port={}", self.directory.path().display(), self.port)
    }

    /// The same over TCP.
    pub fn tcp_url(&self) -> String {
        self.tcp_url_at(self.address())
    }

    /// The same by way of whatever is at this address.
    pub fn tcp_url_at(&self, address: SocketAddr) -> String {
        format!("postgres://{OWNER}@{address}/postgres")
    }

    /// As somebody else, with a password, over TCP.
    pub fn tcp_url_as(&self, role: &str, password: &str) -> String {
        format!("postgres://{role}:{password}@{}/postgres", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The server's process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.as_ref().expect("the server runs").id() as i32)
    }

    /// What this statement answers: rows as lines, columns separated by `|`.
    #[track_caller]
    pub fn query(&self, sql: &str) -> String {
        self.try_query(&self.url(), sql).unwrap_or_else(|said| panic!("{sql}: {said}\n{}", self.log()))
    }

    /// The same by another URL.
    ///
    /// # Errors
    /// What `psql` complains of.
    pub fn try_query(&self, url: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(PROGRAMS.join("psql"));
        psql.args(["-X", "-w", "-At", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
            psql.env_remove(name);
        }
        let output = psql.env("PGAPPNAME", OURSELVES).current_dir("/").output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()),
        }
    }

    /// The pids of the backends that serve anybody but the harness.
    #[track_caller]
    pub fn backend_pids(&self) -> Vec<i32> {
        let found = self.query(&format!("select pid from pg_stat_activity where {OTHERS} order by backend_start"));
        found.lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// How many they are.
    #[track_caller]
    pub fn backends(&self) -> usize {
        self.backend_pids().len()
    }

    /// Terminates all of them; back, with their number, when they have gone.
    #[track_caller]
    pub fn terminate_all(&self) -> usize {
        // The server can wait for them itself, for a tenth of a second each.
        let told = self.query(&format!("select pid, pg_terminate_backend(pid) from pg_stat_activity where {OTHERS}"));
        let pids = told.lines().filter_map(|line| line.split('|').next());
        let told: Vec<Pid> = pids.map(|pid| Pid::from_raw(pid.parse().unwrap())).collect();
        eventually("they have gone", SOON, || (!told.iter().any(|pid| process::is_alive(*pid))).then_some(()));
        told.len()
    }

    /// How often anybody but the harness has connected so far, in vain or not; what came while nobody listened is in
    /// nobody's log.
    pub fn attempts(&self) -> usize {
        let log = self.log();
        let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        lines("LOG:  connection received: ") - lines(&format!("application_name={OURSELVES}"))
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        let mut log = Vec::new();
        if let Ok(mut file) = File::open(self.log_path()) {
            file.read_to_end(&mut log).unwrap();
        }
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Where it logs.
    pub fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Adds a line to postgresql.conf; [`Postgres::reload`] makes it count.
    pub fn set(&self, key: &str, value: &str) {
        let path = self.data().join("postgresql.auto.conf");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        writeln!(file, "{key} = '{}'", value.replace('\'', "''")).unwrap();
    }

    /// Whoever connects from now on is served by the configuration as it stands now.
    #[track_caller]
    pub fn reload(&self) {
        let seen = || self.log().matches("received SIGHUP, reloading configuration files").count();
        let before = seen();
        kill(self.pid(), Signal::SIGHUP).unwrap();
        eventually("the server reads its configuration", SOON, || (seen() > before).then_some(()));
    }

    /// Creates a role that may log in only with this password.
    #[track_caller]
    pub fn add_role(&self, role: &str, password: &str) {
        self.query(&format!("create role {role} login password '{password}'"));
        self.admit(&format!("local all {role} scram-sha-256\nhost all {role} 127.0.0.1/32 scram-sha-256"));
    }

    /// Puts these lines in front of pg_hba.conf.
    #[track_caller]
    pub fn admit(&self, lines: &str) {
        let path = self.data().join("pg_hba.conf");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{lines}\n{before}")).unwrap();
        self.reload();
    }

    /// From now on the server speaks TLS to whoever wants it, with this certificate.
    #[track_caller]
    pub fn speak_tls(&self, identity: &Identity) {
        for (name, text) in [("server.crt", &identity.certificate), ("server.key", &identity.key)] {
            let path = self.data().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            unprivileged::own(&path);
        }
        self.set("ssl", "on");
        self.reload();
    }

    /// Stops the server, and waits until it has gone.
    #[track_caller]
    pub fn stop(&mut self, how: Stop) {
        let signal = match how {
            Stop::Fast => Signal::SIGINT,
            Stop::Immediate => Signal::SIGQUIT,
        };
        kill(self.pid(), signal).unwrap();
        let mut process = self.process.take().unwrap();
        eventually("the server has stopped", SOON, || process.try_wait().unwrap());
    }

    /// Starts it again where it was; back when it takes connections.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "the server does not start again; its log:\n{}", self.log());
    }

    /// Starts it; whether it came up.
    fn try_start(&mut self) -> bool {
        let config =
            format!("{USUAL}port = {}\nunix_socket_directories = '{}'\n", self.port, self.directory.path().display());
        fs::write(self.data().join("postgresql.conf"), config).unwrap();
        let is_up = |log: &str| log.matches("database system is ready to accept connections").count();
        let before = is_up(&self.log());
        let log = || OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = unprivileged::command(&PROGRAMS.join("postgres"), self.directory.path(), "QUIT");
        command.args(["-D", "data"]).stdout(log()).stderr(log());
        let mut process = command.spawn().unwrap();
        let came_up = eventually(&format!("the server starts: {:?}", self.log_path()), SOON, || {
            if is_up(&self.log()) > before {
                return Some(true);
            }
            process.try_wait().unwrap().map(|_| false)
        });
        self.process = came_up.then_some(process);
        came_up
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

/// In `pg_stat_activity`: who is served, but for the harness.
const OTHERS: &str = "backend_type = 'client backend' and application_name <> 'ratoon-tests'";

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = Pid::from_raw(process.id() as i32);
            let own = process::children(pid, "");
            // It ends its backends itself. Those that are stopped, or of one that is stopped itself, do not listen.
            for each in own.iter().chain([&pid]) {
                let _ = kill(*each, Signal::SIGCONT);
            }
            let _ = kill(pid, Signal::SIGQUIT);
            let begun = std::time::Instant::now();
            while process.try_wait().is_ok_and(|ended| ended.is_none()) && begun.elapsed() < SOON {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("the database server's log:\n{}", self.log());
        }
    }
}
