//! Debian's nginx or HAProxy in front of a supervisor, with a configuration of the test's, on ports of its own.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use super::{SOON, eventually, free_address, process};

/// A running proxy, killed with its workers when dropped.
pub struct Front {
    directory: TempDir,
    addresses: [SocketAddr; 2],
    process: Child,
}

/// What a configuration becomes when it is told where to listen.
pub trait Wording: Fn([SocketAddr; 2]) -> String {}
impl<F: Fn([SocketAddr; 2]) -> String> Wording for F {}

impl Front {
    /// nginx with this in its `http`, listening on the first address.
    #[track_caller]
    pub fn nginx(http: impl Wording) -> Front {
        Front::start(|addresses, directory| {
            let place = directory.display();
            // Its workers are another user's, as Debian has it.
            let user = if geteuid().is_root() { "user www-data;" } else { "" };
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
                .concat();
            let config = format!(
                "{user} daemon off; worker_processes 1; pid {place}/pid; error_log stderr error;\n\
                 events {{ worker_connections 256; }}\n\
                 http {{ access_log off; {temporary} {}\n}}\n",
                http(addresses)
            );
            let path = directory.join("nginx.conf");
            fs::write(&path, config).unwrap();
            let mut command = Command::new("/usr/sbin/nginx");
            command.arg("-p").arg(directory).arg("-c").arg(path).args(["-e", "stderr"]);
            command
        })
    }

    /// HAProxy with this configuration, listening on both addresses.
    #[track_caller]
    pub fn haproxy(config: impl Wording) -> Front {
        Front::start(|addresses, directory| {
            let path = directory.join("haproxy.cfg");
            fs::write(&path, config(addresses)).unwrap();
            let mut command = Command::new("/usr/sbin/haproxy");
            command.arg("-db").arg("-f").arg(path);
            command
        })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where they find what else it listens on.
    pub fn other_address(&self) -> SocketAddr {
        self.addresses[1]
    }

    fn start(command: impl Fn([SocketAddr; 2], &Path) -> Command) -> Front {
        // Nobody can reserve a port: somebody else may have it by the time the proxy wants it.
        let mut attempts = (0..10).filter_map(|_| Front::try_start(&command));
        attempts.next().expect("the proxy starts")
    }

    fn try_start(command: &impl Fn([SocketAddr; 2], &Path) -> Command) -> Option<Front> {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let addresses = [(); 2].map(|()| free_address());
        let log = File::create(directory.path().join("log")).unwrap();
        let mut command = command(addresses, directory.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let mut front = Front { process: command.spawn().unwrap(), directory, addresses };
        let is_up = eventually("the proxy listens", SOON, || match front.process.try_wait().unwrap() {
            Some(_) => Some(false),
            None => TcpStream::connect(addresses[0]).is_ok().then_some(true),
        });
        if !is_up {
            eprintln!("the proxy did not start:\n{}", front.log());
        }
        is_up.then_some(front)
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.process.id() as i32);
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the proxy's log:\n{}", self.log());
        } else {
            eventually("the proxy is gone", SOON, || process::group(group).is_empty().then_some(()));
        }
    }
}
