//! Places for servers that are to be found where somebody was told beforehand, or found again where they were.
//!
//! Owns which ports this process has given away. They are below those that the kernel gives to whoever asks for any, be it
//! a client: of those, one that was free a moment ago may be anybody's.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below this are services that machines have.
const FIRST: u16 = 10_000;

/// As many as there are at least, also where the kernel gives away everything from a lower one on.
const SOME: u16 = 10_000;

/// A place where nobody listens, and that nobody else is given.
#[track_caller]
pub fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let end: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let places = u32::from(end.max(FIRST + SOME) - FIRST);
    // Another run of the tests begins elsewhere.
    let begin = std::process::id().wrapping_mul(997) % places;
    let given = (0..places).map(|_| (begin + GIVEN.fetch_add(1, Ordering::SeqCst)) % places);
    let mut addresses = given.map(|place| SocketAddr::from(([127, 0, 0, 1], FIRST + place as u16)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}
