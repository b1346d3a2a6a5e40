//! Promised: "a service that systemd can be told the truth by". With a real systemd, in a box of each test's own.

mod journal;
mod life;
mod newer;
mod reload;
mod sandbox;
mod sockets;
mod start;

/// A pool of two workers that run the fixture, with these further lines.
fn pool(name: &str, port: u16, lines: &str) -> String {
    format!(
        "[pool.{name}]\nlisten = [\"127.0.0.1:{port}\"]\nprogram = [\"/usr/local/bin/fixture\"]\nworkers = 2\n{lines}\n"
    )
}

/// Where the pool "web" is.
const WEB: &str = "127.0.0.1:8080";
