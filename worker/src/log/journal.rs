//! The journal's own protocol: a line is a datagram of fields, so that `journalctl POOL=web` finds what is about a pool.
//!
//! Owns the socket, one per process. Never waits for the journal: what it does not take at once is somebody else's care.

use std::io::{IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::RwLock;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket};
use tracing::Level;

use super::event::Said;
use super::form::word;

/// Where the journal listens.
const PLACE: &str = "/run/systemd/journal/socket";
/// The longest name of a field that the journal takes.
const LONGEST_NAME: usize = 64;

/// Not connected: a journal that is restarted is found again where it was.
static SOCKET: RwLock<Option<OwnedFd>> = RwLock::new(None);

/// Whether standard error is the journal's, which says so in the environment by device and inode.
pub(super) fn is_standard_error() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let named = named.as_deref().and_then(|named| named.split_once(':'));
    let actual = std::fs::metadata("/proc/self/fd/2").ok();
    named.zip(actual).is_some_and(|((device, inode), actual)| {
        device.parse() == Ok(actual.dev()) && inode.parse() == Ok(actual.ino())
    })
}

/// A socket of this process's own, if it has one at all: what lies in a shared one's queue would be everybody's limit.
pub fn renew() {
    let made = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    if let Ok(mut present) = SOCKET.write() {
        *present = made.ok();
    }
}

/// Whether the journal has taken it.
pub fn takes(said: &Said) -> bool {
    let Ok(socket) = SOCKET.read() else { return false };
    socket.as_ref().is_some_and(|socket| send_to(PLACE, socket, &fields(said, &said_in_words(said))).is_ok())
}

/// Whether the journal has taken it, with nothing in MESSAGE but the message.
pub(super) fn takes_as_it_is(said: &Said) -> bool {
    let Ok(socket) = SOCKET.read() else { return false };
    socket.as_ref().is_some_and(|socket| send_to(PLACE, socket, &fields(said, &said.message)).is_ok())
}

fn said_in_words(said: &Said) -> String {
    let mut message = String::new();
    // A String takes everything.
    let _ = said.write_words(&mut message);
    message
}

fn send_to(place: &str, socket: &OwnedFd, fields: &[u8]) -> Result<(), Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let place = UnixAddr::new(place)?;
    loop {
        match sendmsg(socket.as_raw_fd(), &[IoSlice::new(fields)], &[], flags, Some(&place)) {
            Err(Errno::EINTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// What is said, as fields: those of `journalctl`'s own first, MESSAGE as a person reads it, and every key in upper case.
fn fields(said: &Said, message: &str) -> Vec<u8> {
    let priority = match said.level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    };
    let mut fields = Vec::with_capacity(512);
    add(&mut fields, "PRIORITY", priority);
    add(&mut fields, "SYSLOG_IDENTIFIER", "ratoon");
    add(&mut fields, "MESSAGE", message);
    for (key, value) in said.identity.iter().chain(&said.rest) {
        add(&mut fields, &name(key), &word(value));
    }
    fields
}

/// A value with a line end in it comes with its length, so that it cannot pretend to be a field.
fn add(fields: &mut Vec<u8>, name: &str, value: &str) {
    if name.is_empty() {
        return;
    }
    fields.extend(name.as_bytes());
    // A Vec takes everything.
    let _ = if value.contains('\n') {
        fields.extend(b"\n");
        fields.extend((value.len() as u64).to_le_bytes());
        writeln!(fields, "{value}")
    } else {
        writeln!(fields, "={value}")
    };
}

/// A key as the journal has it: upper case, letters, digits and underscores, a letter first; those with an underscore are
/// the journal's own, and the first three are ours.
fn name(key: &str) -> String {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() as char } else { '_' };
    let name: String = key.bytes().map(plain).collect();
    let name = name.trim_start_matches(|first: char| !first.is_ascii_uppercase());
    match &name[..name.len().min(LONGEST_NAME)] {
        "GEN" => "GENERATION".into(),
        taken @ ("PRIORITY" | "MESSAGE" | "SYSLOG_IDENTIFIER") => format!("FIELD_{taken}"),
        name => name.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn said() -> Said {
        Said {
            identity: vec![("pool", "web".into()), ("worker", 3.into()), ("gen", 2.into())],
            message: "two\nlines".into(),
            rest: vec![("http.status", 500.into()), ("priority", "0".into()), ("_pid", "x\nPRIORITY=0".into())],
            ..Said::new(Level::WARN)
        }
    }

    #[test]
    fn an_event_is_a_datagram_of_fields_and_no_value_can_forge_one() {
        let mut expected = b"PRIORITY=4\nSYSLOG_IDENTIFIER=ratoon\n".to_vec();
        expected.extend(
            b"MESSAGE=pool=web worker=3 gen=2 two\\nlines http.status=500 priority=0 _pid=\"x\\nPRIORITY=0\"\n",
        );
        expected.extend(b"POOL=web\nWORKER=3\nGENERATION=2\nHTTP_STATUS=500\nFIELD_PRIORITY=0\n");
        expected.extend(b"PID\n\x0c\0\0\0\0\0\0\0x\nPRIORITY=0\n");
        assert_eq!(
            String::from_utf8_lossy(&fields(&said(), &said_in_words(&said()))),
            String::from_utf8_lossy(&expected)
        );
    }

    #[test]
    fn a_journal_that_is_away_or_full_takes_nothing_and_one_that_is_back_does() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("socket");
        let place = place.to_str().unwrap();
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
        assert_eq!(send_to(place, &socket, b"A=1\n"), Err(Errno::ENOENT));
        for _ in 0..2 {
            let journal = UnixDatagram::bind(place).unwrap();
            assert_eq!(send_to(place, &socket, b"A=2\n"), Ok(()));
            let mut taken = [0; 16];
            let length = journal.recv(&mut taken).unwrap();
            assert_eq!(&taken[..length], b"A=2\n");
            let full = std::iter::repeat_with(|| send_to(place, &socket, &[b'A'; 1000])).find_map(Result::err);
            assert_eq!(full, Some(Errno::EAGAIN));
            drop(journal);
            assert_eq!(send_to(place, &socket, b"A=3\n"), Err(Errno::ECONNREFUSED));
            std::fs::remove_file(place).unwrap();
        }
    }
}
