//! A firewall of a test's own on the loopback interface: packets vanish, and neither side is told.
//!
//! Its rules are in an nftables table that belongs to a process of the harness: gone with it, so with the test. Whoever may
//! not make them cannot run the test.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use super::{SOON, eventually};

/// Where Debian has it.
const NFT: &str = "/usr/sbin/nft";

/// Rules in force until this is dropped.
pub struct Firewall {
    process: Child,
    table: String,
}

impl Firewall {
    /// Whatever goes to this port, or comes from it, vanishes.
    #[track_caller]
    pub fn around(port: u16) -> Firewall {
        Firewall::with(&[format!("tcp dport {port} drop"), format!("tcp sport {port} drop")])
    }

    /// Whatever goes between these ports of a client and of a server vanishes, as if the connection had been forgotten;
    /// other connections to the server are as ever.
    #[track_caller]
    pub fn between(clients: &[u16], server: u16) -> Firewall {
        let rules = clients.iter().flat_map(|client| {
            [
                format!("tcp sport {client} tcp dport {server} drop"),
                format!("tcp sport {server} tcp dport {client} drop"),
            ]
        });
        Firewall::with(&rules.collect::<Vec<_>>())
    }

    #[track_caller]
    fn with(rules: &[String]) -> Firewall {
        let mut command = Command::new(NFT);
        command.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{NFT}: {error}: tests/deps.sh installs it"));
        let table = format!("ratoon_tests_{}", process.id());
        let mut script = format!("add table inet {table} {{ flags owner; }}\n");
        script.push_str(&format!("add chain inet {table} input {{ type filter hook input priority 0; }}\n"));
        for rule in rules {
            script.push_str(&format!("add rule inet {table} input {rule}\n"));
        }
        let _ = process.stdin.as_mut().unwrap().write_all(script.as_bytes());
        let mut firewall = Firewall { process, table };
        eventually("the rules are in force", SOON, || {
            if firewall.process.try_wait().unwrap().is_some() {
                let mut said = String::new();
                let _ = firewall.process.stderr.take().unwrap().read_to_string(&mut said);
                panic!("packets cannot be dropped on this machine, so nothing was tested: {}", said.trim());
            }
            let listed = Command::new(NFT).args(["list", "table", "inet", &firewall.table]).output().unwrap();
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            (listed.matches(" drop").count() == rules.len()).then_some(())
        });
        firewall
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let is_there = || {
            let listed = Command::new(NFT).args(["list", "table", "inet", &self.table]).output();
            listed.is_ok_and(|listed| listed.status.success())
        };
        if std::thread::panicking() {
            return;
        }
        eventually("the rules are gone", SOON, || (!is_there()).then_some(()));
    }
}
