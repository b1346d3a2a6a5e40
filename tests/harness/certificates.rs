//! Certificates of the tests' own: an authority, and servers it vouches for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// An authority that nobody trusts but who is told to.
pub struct Authority {
    directory: TempDir,
}

/// A server's certificate and its key, as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    #[track_caller]
    pub fn new() -> Authority {
        let authority = Authority { directory: tempfile::tempdir().unwrap() };
        openssl(authority.directory.path(), &format!("req -x509 {NEW_KEY} -keyout ca.key -out ca.pem -subj /CN=tests"));
        authority
    }

    /// Its own certificate, as a client wants it for `sslrootcert`.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate for a server of these names, each `DNS:name` or `IP:address`.
    #[track_caller]
    pub fn vouch_for(&self, names: &str) -> Identity {
        let directory = self.directory.path();
        let of = "-keyout server.key -out server.pem -CA ca.pem -CAkey ca.key";
        let extensions = format!("-addext subjectAltName={names} -addext basicConstraints=critical,CA:FALSE");
        openssl(directory, &format!("req -x509 {NEW_KEY} {of} {extensions} -subj /CN=server"));
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
        Identity { certificate: read("server.pem"), key: read("server.key") }
    }
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";

#[track_caller]
fn openssl(directory: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split_whitespace()).current_dir(directory).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
