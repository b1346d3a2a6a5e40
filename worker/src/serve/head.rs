//! The head of a request, judged from its raw bytes before anything else looks at it.
//!
//! hyper parses the head again for its types; this is where we are as strict as RFC 9112 asks and hyper is not: line
//! ends, white space around the colon, Host, the forms of a target, everything that frames a body. Lines are judged as
//! they arrive, so that a bad one is refused at once, however slowly the rest comes. Owns no socket and no buffer.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::refusal::Refusal;

/// How many header lines a head may have; hyper's own bound.
const MOST_LINES: usize = 100;
/// How many empty lines before a request are overlooked (RFC 9112, 2.2: "at least one").
const BLANKS: usize = 2;

/// How the end of a request is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes follow the head; zero if it has no body.
    Length(u64),
    /// Chunks follow the head.
    Chunked,
}

/// A head that is whole and beyond reproach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Where it starts: after the empty lines that were overlooked.
    pub(super) start: usize,
    /// Where it ends: after its empty line.
    pub(super) end: usize,
    /// How long the request line is.
    pub(super) line: usize,
    /// What follows it.
    pub(super) framing: Framing,
    /// Whether the client means to go on after this request.
    pub(super) keep_alive: bool,
    /// Whether the client speaks HTTP/1.0.
    pub(super) old: bool,
    /// Whether the method is HEAD: no answer to it has a body.
    pub(super) is_head: bool,
}

impl Head {
    /// The headers that it has, of the bytes in which it stands.
    pub(super) fn headers(&self, bytes: &[u8]) -> HeaderMap {
        let lines = bytes[self.start + self.line..self.end].split(|byte| *byte == b'\n');
        let fields = lines.filter_map(|line| field(line.strip_suffix(b"\r")?).ok());
        let known = fields.map(|(name, value)| (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in known.filter_map(|(name, value)| name.ok().zip(value.ok())) {
            headers.append(name, value);
        }
        headers
    }
}

/// What is known of a head that is still arriving.
#[derive(Debug, Default, Clone)]
pub(super) struct HeadReader {
    /// Up to where lines have been judged: the start of the line that is arriving.
    judged: usize,
    /// Up to where no line end was found.
    searched: usize,
    lines: usize,
    blanks: usize,
    start: usize,
    request_line: usize,
    old: bool,
    method: Method,
    hosts: usize,
    length: Option<u64>,
    coding: Option<Coding>,
    close: bool,
    keep_alive: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Method {
    #[default]
    Other,
    Head,
    Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Chunked,
    Unknown,
}

impl HeadReader {
    /// Judges what has arrived so far: all of the head's bytes, those seen before included. `None`: more is needed.
    ///
    /// # Errors
    /// The refusal it deserves, as soon as that is certain.
    pub(super) fn read(&mut self, bytes: &[u8], longest: usize) -> Result<Option<Head>, Refusal> {
        // In the order of the bytes, so that the verdict is the same however they are cut.
        while let Some(found) = bytes[self.searched..].iter().position(|byte| !is_text(*byte)) {
            let at = self.searched + found;
            let room = longest.saturating_sub(at - self.start);
            match &bytes[at..] {
                _ if room == 0 => return Err(self.too_long()),
                [b'\r'] => {
                    self.searched = at;
                    return Ok(None);
                }
                [b'\r', b'\n', ..] if room == 1 => return Err(self.too_long()),
                [b'\r', b'\n', ..] => {}
                [b'\r', ..] => return Err(Refusal::bad("a carriage return that does not end a line")),
                [b'\n', ..] => return Err(Refusal::bad("a line ends without a carriage return")),
                _ => return Err(Refusal::bad("a control character in the head")),
            }
            let line = &bytes[self.judged..at];
            self.searched = at + 2;
            self.judged = at + 2;
            if !line.is_empty() {
                self.line(line)?;
            } else if self.lines > 0 {
                return self.whole().map(Some);
            } else {
                self.blanks += 1;
                self.start = self.judged;
                if self.blanks > BLANKS {
                    return Err(Refusal::bad("empty lines instead of a request"));
                }
            }
        }
        self.searched = bytes.len();
        if bytes.len() - self.start > longest {
            return Err(self.too_long());
        }
        Ok(None)
    }

    /// Whether anything of a request has arrived.
    pub(super) fn begun(&self) -> bool {
        self.searched > self.start
    }

    /// Whether the answer to what has arrived has no body.
    pub(super) fn is_head(&self) -> bool {
        self.method == Method::Head
    }

    fn too_long(&self) -> Refusal {
        match self.lines {
            0 => Refusal::new(StatusCode::URI_TOO_LONG, "the request line is longer than this server takes"),
            _ => Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is longer than this server takes"),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.lines += 1;
        if self.lines == 1 {
            self.request_line = line.len();
            return self.request_line(line);
        }
        if self.lines > MOST_LINES + 1 {
            return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "more than 100 header lines"));
        }
        let (name, value) = field(line)?;
        self.header(name, value)
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Refusal::bad("a request line is method, target and version, one space between them"));
        };
        if !is_token(method) {
            return Err(Refusal::bad("a method with a character that no method has"));
        }
        self.method = match method {
            b"HEAD" => Method::Head,
            b"OPTIONS" => Method::Options,
            _ => Method::Other,
        };
        self.old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                return Err(Refusal::new(
                    StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                    "this server speaks HTTP/1.1 and 1.0",
                ));
            }
            _ => return Err(Refusal::bad("a malformed version")),
        };
        if method == b"CONNECT" {
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "this server is no proxy"));
        }
        self.target(target)
    }

    fn target(&self, target: &[u8]) -> Result<(), Refusal> {
        if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
            return Err(Refusal::bad("a character in the target that must be percent-encoded"));
        }
        match target {
            [b'/', ..] => Ok(()),
            b"*" if self.method == Method::Options => Ok(()),
            _ => {
                let authority =
                    strip_scheme(target).ok_or(Refusal::bad("a target that is neither a path nor a URL"))?;
                let end = authority.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(authority.len());
                match end > 0 && is_host(&authority[..end]) {
                    true => Ok(()),
                    false => Err(Refusal::bad("a target with a malformed host")),
                }
            }
        }
    }

    fn header(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
            if self.hosts > 1 {
                return Err(Refusal::bad("more than one Host"));
            }
            if !is_host(value) {
                return Err(Refusal::bad("a malformed Host"));
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err(Refusal::bad("more than one Content-Length"));
            }
            self.length = Some(decimal(value).ok_or(Refusal::bad("a malformed Content-Length"))?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            for word in list(value) {
                self.coding = Some(match (self.coding, word.eq_ignore_ascii_case(b"chunked")) {
                    (Some(Coding::Chunked), _) => {
                        return Err(Refusal::bad("chunked is not the last transfer coding, or not the only chunked"));
                    }
                    (None, true) => Coding::Chunked,
                    _ if !is_token(word) => {
                        return Err(Refusal::bad("a malformed Transfer-Encoding"));
                    }
                    _ => Coding::Unknown,
                });
            }
        } else if name.eq_ignore_ascii_case(b"connection") {
            for word in list(value) {
                self.close |= word.eq_ignore_ascii_case(b"close");
                self.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if name.eq_ignore_ascii_case(b"expect") && !self.old && !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::new(
                StatusCode::EXPECTATION_FAILED,
                "this server knows no expectation but 100-continue",
            ));
        }
        Ok(())
    }

    fn whole(&self) -> Result<Head, Refusal> {
        if self.hosts == 0 && !self.old {
            return Err(Refusal::bad("no Host"));
        }
        let framing = match (self.coding, self.length) {
            (None, length) => Framing::Length(length.unwrap_or(0)),
            (Some(_), Some(_)) => {
                return Err(Refusal::bad("both Content-Length and Transfer-Encoding"));
            }
            (Some(_), None) if self.old => {
                return Err(Refusal::bad("a Transfer-Encoding in HTTP/1.0"));
            }
            (Some(Coding::Chunked), None) => Framing::Chunked,
            (Some(Coding::Unknown), None) => {
                return Err(Refusal::new(
                    StatusCode::NOT_IMPLEMENTED,
                    "this server knows no transfer coding but chunked",
                ));
            }
        };
        let keep_alive = if self.old { self.keep_alive && !self.close } else { !self.close };
        Ok(Head {
            start: self.start,
            end: self.judged,
            line: self.request_line,
            framing,
            keep_alive,
            old: self.old,
            is_head: self.is_head(),
        })
    }
}

/// A header or trailer line: its name, and its value without the white space around it. Its bytes are text already.
///
/// # Errors
/// 400, also for a line that continues the one before it (RFC 9112, 5.2).
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refusal::bad("a header line without a colon"))?;
    let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
    match is_token(name) {
        true => Ok((name, value)),
        false => Err(Refusal::bad("a header name with a character that no name has")),
    }
}

/// What a line may consist of: visible ASCII, space, tab, and bytes above it.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Without the spaces and tabs in front.
pub(super) fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

fn trim(value: &[u8]) -> &[u8] {
    let mut value = trim_start(value);
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The members of a comma-separated list (RFC 9110, 5.6.1); empty ones included.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Digits only, within 64 bits.
pub(super) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    let colon = target.iter().position(|byte| *byte == b':')?;
    let (scheme, rest) = target.split_at(colon);
    let known = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    rest.strip_prefix(b"://").filter(|_| known)
}

/// RFC 3986, 3.2.2 and 3.2.3: a host and, if it has one, a port; the empty host is one too.
pub(crate) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else {
                return false;
            };
            let address = std::str::from_utf8(&rest[..end]).unwrap_or_default();
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (&b""[..], &rest[end + 1..])
        }
        _ => value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len())),
    };
    let port_is_one = match port {
        [] => true,
        [b':', digits @ ..] => digits.is_empty() || decimal(digits).is_some_and(|port| port <= 65535),
        _ => false,
    };
    port_is_one && is_registered_name(host)
}

fn is_registered_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let [byte, after @ ..] = rest {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (byte, _) if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => after,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests;
