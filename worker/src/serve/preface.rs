//! The PROXY header that a connection begins with: from whom it really comes, in the words of the proxy in between.
//!
//! Versions 1 and 2 of HAProxy's proxy-protocol.txt, without leniency: whatever it does not allow is refused, and as soon
//! as that is certain, however slowly the rest comes. Owns no socket and no buffer, and never asks who has sent it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its line end included.
const LONGEST_LINE: usize = 107;
/// The longest header of version 2 that is taken: addresses take 216 bytes at the most, and what is said beside them
/// (of TLS, of the proxy's own network) some hundreds.
const LONGEST: usize = 4096;
/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// What version 2 begins with: no request does, and no line of text.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What stands before the addresses in version 2.
const FIXED: usize = 16;
/// Two paths of Unix sockets.
const PATHS: usize = 216;

/// From whom a connection comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From whom the socket says: the proxy itself, which looks whether we are well, or does not know.
    Socket,
    /// From this address.
    Address(SocketAddr),
    /// From somebody who has reached the proxy over a Unix socket.
    Unix,
}

/// What the bytes say, and how many of them are the header. `None`: more is needed.
///
/// # Errors
/// Why they are none, or cannot become one.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Origin, usize)>, &'static str> {
    if begins_like(bytes, WORD) {
        return read_line(bytes);
    }
    match begins_like(bytes, SIGNATURE) {
        true => read_block(bytes),
        false => Err("it does not begin with a PROXY header"),
    }
}

/// Whether these bytes have this beginning, as far as they have come.
fn begins_like(bytes: &[u8], beginning: &[u8]) -> bool {
    bytes.iter().zip(beginning).all(|(byte, wanted)| byte == wanted)
}

/// Version 1, a line.
fn read_line(bytes: &[u8]) -> Result<Option<(Origin, usize)>, &'static str> {
    let within = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if within.len() < LONGEST_LINE { Ok(None) } else { Err("a PROXY header of more than 107 bytes") };
    };
    match within[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if within.len() < LONGEST_LINE => return Ok(None),
        _ => return Err("a PROXY header does not end with a carriage return and a line feed"),
    }
    let line = std::str::from_utf8(&within[..end]).map_err(|_| "a PROXY header that is no text")?;
    let words: Vec<&str> = line.split(' ').collect();
    let origin = match words[1..] {
        // What else it says is not to be looked at.
        ["UNKNOWN", ..] => Origin::Socket,
        ["TCP4", from, to, from_port, to_port] => ends::<Ipv4Addr>([from, to], [from_port, to_port])?,
        ["TCP6", from, to, from_port, to_port] => ends::<Ipv6Addr>([from, to], [from_port, to_port])?,
        _ => return Err("a PROXY header is a protocol, two addresses and two ports, one space between them"),
    };
    Ok(Some((origin, end + 2)))
}

/// The first of two addresses with its port, both being judged.
fn ends<A: std::str::FromStr + Into<IpAddr>>(addresses: [&str; 2], ports: [&str; 2]) -> Result<Origin, &'static str> {
    let address = |text: &str| text.parse::<A>().map_err(|_| "a malformed address in a PROXY header");
    let [from, _] = [address(addresses[0])?, address(addresses[1])?];
    let [port, _] = [decimal(ports[0])?, decimal(ports[1])?];
    Ok(told(from.into(), port))
}

/// Digits only, and none in vain in front.
fn decimal(text: &str) -> Result<u16, &'static str> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or("a malformed port in a PROXY header")
}

/// Version 2, a block: each part is judged when it has come.
fn read_block(bytes: &[u8]) -> Result<Option<(Origin, usize)>, &'static str> {
    let is_local = match bytes.get(SIGNATURE.len()) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err("a PROXY header of an unknown version or command"),
    };
    let (kind, addresses) = match bytes.get(SIGNATURE.len() + 1) {
        None => return Ok(None),
        // What the proxy says of itself is not to be looked at, not even of which kind it is.
        Some(_) if is_local => (0x00, 0),
        Some(0x00) => (0x00, 0),
        Some(kind @ (0x11 | 0x12)) => (*kind, 12),
        Some(kind @ (0x21 | 0x22)) => (*kind, 36),
        Some(kind @ (0x31 | 0x32)) => (*kind, PATHS),
        Some(_) => return Err("a PROXY header with addresses of an unknown kind"),
    };
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([fixed[FIXED - 2], fixed[FIXED - 1]]));
    if length < addresses {
        return Err("a PROXY header shorter than its addresses");
    }
    if FIXED + length > LONGEST {
        return Err("a PROXY header of more than 4096 bytes");
    }
    let Some(block) = rest.get(..length) else {
        return Ok(None);
    };
    // Source and destination, then their ports; what stands behind them is skipped. Datagrams bring no requests.
    let origin = match (kind, block) {
        (0x11, [a, b, c, d, _, _, _, _, high, low, ..]) => {
            told(Ipv4Addr::new(*a, *b, *c, *d).into(), u16::from_be_bytes([*high, *low]))
        }
        (0x21, _) => match (block.first_chunk::<16>(), &block[32..]) {
            (Some(octets), [high, low, ..]) => told(Ipv6Addr::from(*octets).into(), u16::from_be_bytes([*high, *low])),
            _ => Origin::Socket,
        },
        (0x31, _) => Origin::Unix,
        _ => Origin::Socket,
    };
    Ok(Some((origin, FIXED + length)))
}

fn told(ip: IpAddr, port: u16) -> Origin {
    Origin::Address(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests;
