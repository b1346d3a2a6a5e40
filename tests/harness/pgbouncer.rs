//! Debian's PgBouncer of a test's own, in front of a PostgreSQL of a test's own.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;

use tempfile::TempDir;

use super::{Postgres, SOON, eventually, free_address, unprivileged};

/// A proxy that gives each transaction a connection; killed when dropped.
pub struct PgBouncer {
    directory: TempDir,
    address: SocketAddr,
    process: Child,
}

impl PgBouncer {
    /// A proxy that opens so many connections to the server, at most.
    #[track_caller]
    pub fn before(postgres: &Postgres, connections: usize) -> PgBouncer {
        // Nobody can reserve a port: somebody else may have it by the time the proxy wants it.
        let mut attempts = (0..10).filter_map(|_| PgBouncer::try_start(postgres, connections));
        attempts.next().expect("PgBouncer starts")
    }

    fn try_start(postgres: &Postgres, connections: usize) -> Option<PgBouncer> {
        let directory = unprivileged::directory();
        let address = free_address();
        let path = directory.path().join("pgbouncer.ini");
        let server = postgres.address();
        let config = format!(
            "[databases]\n* = host={} port={} user=ratoon\n\
             [pgbouncer]\nlisten_addr = {}\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 1000\n\
             ignore_startup_parameters = extra_float_digits\n",
            server.ip(),
            server.port(),
            address.ip(),
            address.port(),
        );
        fs::write(&path, config).unwrap();
        unprivileged::own(&path);
        let mut command = unprivileged::command(Path::new("/usr/sbin/pgbouncer"), directory.path(), "KILL");
        let log = || File::options().create(true).append(true).open(directory.path().join("log")).unwrap();
        let mut process = command.arg("pgbouncer.ini").stdout(log()).stderr(log()).spawn().unwrap();
        let is_up = eventually("PgBouncer takes connections", SOON, || match process.try_wait().unwrap() {
            Some(_) => Some(false),
            None => TcpStream::connect(address).is_ok().then_some(true),
        });
        is_up.then_some(PgBouncer { directory, address, process })
    }

    /// As [`Postgres::tcp_url`], by way of the proxy.
    pub fn url(&self) -> String {
        format!("postgres://ratoon@{}/postgres", self.address)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("PgBouncer's log:\n{}", self.log());
        }
    }
}
