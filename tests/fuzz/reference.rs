//! Where the requests in a stream of bytes begin and end, by RFC 9112 and nothing else: this shares no code with what
//! it judges. Where the RFC lets a server choose between serving and refusing, the request says so.

/// What a stream of bytes holds.
#[derive(Debug)]
pub struct Reading {
    pub requests: Vec<Request>,
    pub end: End,
    /// What could be read of a request that is not among them.
    pub broken: Request,
}

/// What comes after the last complete request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing: the connection is in step.
    InStep,
    /// Nothing that may be looked at: the last request asked for the connection to be closed.
    Closed,
    /// The beginning of a request.
    Unfinished,
    /// Something that must be refused.
    Bad,
}

#[derive(Debug, Default)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub body: Vec<u8>,
    /// Whether a server may refuse it although it can be understood.
    pub may_be_refused: bool,
    pub expects: bool,
    closes: bool,
}

/// Why there is no request.
enum Not {
    Finished,
    Good,
}

type Read<T> = Result<T, Not>;

/// Reads the whole stream; bodies are bounded by `longest`.
pub fn read(stream: &[u8], longest: usize) -> Reading {
    let mut requests: Vec<Request> = Vec::new();
    let (mut rest, mut broken) = (stream, Request::default());
    let end = loop {
        match rest {
            _ if requests.last().is_some_and(|last| last.closes) => break End::Closed,
            b"" => break End::InStep,
            _ => {}
        }
        broken = Request::default();
        match request(&mut rest, longest, &mut broken) {
            Ok(()) => requests.push(std::mem::take(&mut broken)),
            Err(Not::Finished) => break End::Unfinished,
            Err(Not::Good) => break End::Bad,
        }
    };
    Reading { requests, end, broken }
}

fn good(condition: bool) -> Read<()> {
    if condition { Ok(()) } else { Err(Not::Good) }
}

/// The next line, which ends with CRLF. RFC 9112, 2.2 lets a recipient take a bare LF for one; Ratoon does not.
fn line<'a>(rest: &mut &'a [u8]) -> Read<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Not::Finished)?;
    let line = rest[..end].strip_suffix(b"\r").ok_or(Not::Good)?;
    *rest = &rest[end + 1..];
    good(!line.contains(&b'\r'))?;
    Ok(line)
}

fn request(rest: &mut &[u8], longest: usize, request: &mut Request) -> Read<()> {
    let mut blanks = 0;
    let first = loop {
        match line(rest)? {
            b"" => blanks += 1,
            line => break line,
        }
    };
    // RFC 9112, 2.2: at least one empty line is to be ignored.
    request.may_be_refused = blanks > 1;
    let words: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err(Not::Good) };
    good(is_token(method) && method != b"CONNECT")?;
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        // RFC 9110, 2.5: a higher minor version should be served as 1.1, and may be refused; Ratoon refuses.
        _ => return Err(Not::Good),
    };
    request.method = String::from_utf8_lossy(method).into_owned();
    request.target = String::from_utf8_lossy(target).into_owned();
    request.may_be_refused |= self::target(target, method)?;

    let (mut hosts, mut length, mut codings) = (0, None, Vec::new());
    let (mut close, mut keep_alive) = (false, false);
    loop {
        let line = line(rest)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = field(line, &mut request.may_be_refused)?;
        match name.as_str() {
            "host" => {
                hosts += 1;
                request.may_be_refused |= host(value)?;
            }
            "content-length" => {
                // RFC 9110, 8.6: the same length several times may be taken for once, or refused; Ratoon refuses.
                good(length.is_none() && !value.is_empty() && value.iter().all(u8::is_ascii_digit))?;
                let value: usize = text(value).parse().map_err(|_| Not::Good)?;
                good(value <= longest)?;
                length = Some(value);
            }
            "transfer-encoding" => codings.extend(members(value)),
            "connection" => {
                close |= members(value).contains(&"close".to_owned());
                keep_alive |= members(value).contains(&"keep-alive".to_owned());
            }
            "expect" => {
                request.expects = true;
                // RFC 9110, 10.1.1: another expectation may be refused.
                request.may_be_refused |= !value.eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
    }
    good(hosts == 1 || (hosts == 0 && old))?;
    request.closes = close || (old && !keep_alive);
    if codings.is_empty() {
        let length = length.unwrap_or(0);
        request.body = rest.get(..length).ok_or(Not::Finished)?.to_vec();
        *rest = &rest[length..];
        return Ok(());
    }
    // RFC 9112, 6.1 and 6.3. A coding before chunked is one that this server does not know; both framings at once may
    // be read as chunked, or refused; Ratoon refuses.
    good(length.is_none() && !old)?;
    request.may_be_refused |= codings.iter().any(String::is_empty);
    codings.retain(|coding| !coding.is_empty());
    good(codings == ["chunked"])?;
    request.body = chunks(rest, longest, &mut request.may_be_refused)?;
    Ok(())
}

/// RFC 9112, 7.1.
fn chunks(rest: &mut &[u8], longest: usize, may_be_refused: &mut bool) -> Read<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = line(rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        good(digits > 0)?;
        let size = usize::from_str_radix(text(&line[..digits]), 16).map_err(|_| Not::Good)?;
        let extension = &line[digits..];
        // White space is for what follows it.
        let begins = extension.iter().find(|byte| !b" \t".contains(byte));
        good(extension.is_empty() || begins == Some(&b';'))?;
        good(extension.iter().all(|byte| is_text(*byte)))?;
        *may_be_refused |= digits > 16 || !is_plain_extension(extension);
        if size == 0 {
            break;
        }
        // Refused at once, or when so much has arrived.
        let wanted = size.checked_add(body.len()).filter(|whole| *whole <= longest).and(size.checked_add(2));
        let data =
            wanted.and_then(|wanted| rest.get(..wanted)).ok_or(match rest.get(size..size.saturating_add(2)) {
                Some(after) if after != b"\r\n" => Not::Good,
                _ => Not::Finished,
            })?;
        body.extend_from_slice(data.strip_suffix(b"\r\n").ok_or(Not::Good)?);
        *rest = &rest[size + 2..];
    }
    loop {
        let line = line(rest)?;
        if line.is_empty() {
            return Ok(body);
        }
        field(line, may_be_refused)?;
    }
}

/// A header or trailer line (RFC 9112, 5): its name in lower case, and its value without the white space around it.
fn field<'a>(line: &'a [u8], may_be_refused: &mut bool) -> Read<(String, &'a [u8])> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Not::Good)?;
    let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
    good(is_token(name) && !value.contains(&0))?;
    // RFC 9110, 5.5: other control characters may be kept.
    *may_be_refused |= !value.iter().all(|byte| is_text(*byte));
    Ok((text(name).to_ascii_lowercase(), value))
}

/// RFC 9112, 3.2; yields whether it may be refused.
fn target(target: &[u8], method: &[u8]) -> Read<bool> {
    good(target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#'))?;
    let absolute = [b"http://".as_slice(), b"https://"].iter().find_map(|scheme| {
        let (its, rest) = target.split_at_checked(scheme.len())?;
        its.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let path = match (target, absolute) {
        (b"*", _) => return good(method == b"OPTIONS").map(|()| false),
        ([b'/', ..], _) => target,
        (_, Some(rest)) => {
            let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
            good(end > 0 && !rest[..end].contains(&b'@'))?;
            if host(&rest[..end])? {
                return Ok(true);
            }
            &rest[end..]
        }
        _ => return Err(Not::Good),
    };
    // Characters that should have been percent-encoded: "should respond with 400" (RFC 9112, 3).
    Ok(!path.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(byte)))
}

/// RFC 9112, 3.2 and RFC 3986, 3.2.2; yields whether it may be refused.
fn host(value: &[u8]) -> Read<bool> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
    let colon = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
    let (name, port) = value.split_at(colon);
    let digits = port.strip_prefix(b":").unwrap_or(port);
    let is_plain = name.iter().all(is_name) && digits.iter().all(u8::is_ascii_digit);
    good(is_plain || value.starts_with(b"["))?;
    // An address in brackets, a port beyond 65535, percent-encoding: not for this reference to judge.
    Ok(value != b"[::1]" && (!is_plain || digits.len() > 4 || name.contains(&b'%')))
}

fn members(value: &[u8]) -> Vec<String> {
    value.split(|byte| *byte == b',').map(|member| text(trim(member)).to_ascii_lowercase()).collect()
}

/// What RFC 9112, 7.1.1 derives without quotes, and nothing else.
fn is_plain_extension(extension: &[u8]) -> bool {
    let mut parts = extension.split(|byte| *byte == b';').map(trim);
    let is_pair = |part: &[u8]| part.splitn(2, |byte| *byte == b'=').all(|word| is_token(trim(word)));
    // There may be white space before each part, but not after the last.
    parts.next() == Some(b"") && parts.all(is_pair) && !matches!(extension.last(), Some(b' ' | b'\t'))
}

fn is_token(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Latin bytes beyond ASCII mean nothing to any rule here.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("\u{fffd}")
}
