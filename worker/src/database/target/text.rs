//! A connection string taken apart: a URL or key=value pairs, as libpq knows both.
//!
//! Owns the syntax and the names of the parameters, not their meaning. An error says what is wrong by place and never
//! by quoting: a password may stand anywhere in a text that is not what it should be.

use std::collections::BTreeMap;

/// What the text says, by libpq's names; where hosts and ports are several, commas stand between them.
pub(super) type Parameters = BTreeMap<&'static str, Vec<u8>>;

/// What is understood.
const KNOWN: [&str; 15] = [
    "user",
    "password",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslnegotiation",
    "channel_binding",
    "target_session_attrs",
    "load_balance_hosts",
    "application_name",
    "fallback_application_name",
    "options",
];

/// What the configuration says instead.
const CONFIGURED: [&str; 7] = [
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "keepalives_retries",
];

/// What libpq knows and this library does not.
const REFUSED: [&str; 19] = [
    "client_encoding",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcompression",
    "sslcrl",
    "sslkey",
    "sslpassword",
    "sslsni",
];

/// Takes a connection string apart; what is said twice is as it is said last.
pub(super) fn read(text: &str) -> Result<Parameters, String> {
    if text.trim().is_empty() {
        return Err("it is empty; it would be postgresql://USER@HOST/DATABASE".into());
    }
    if let Some(url) = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        return read_url(url);
    }
    match text.split_once("://") {
        Some((scheme, _)) if !scheme.contains('=') => Err("it does not begin with postgresql:// or postgres://".into()),
        _ => read_pairs(text),
    }
}

fn read_url(mut rest: &str) -> Result<Parameters, String> {
    let mut parameters = Parameters::new();
    if let Some(end) = rest.find(['@', '/'])
        && rest[end..].starts_with('@')
    {
        let (user, password) = rest[..end].split_once(':').unwrap_or((&rest[..end], ""));
        parameters.insert("user", decoded(user, "the user name")?);
        parameters.insert("password", decoded(password, "the password")?);
        rest = &rest[end + 1..];
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (places, rest) = rest.split_at(end);
    if !places.is_empty() {
        read_places(places, &mut parameters)?;
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.contains('@') {
        return Err(
            "an @ stands behind a /: in a user name or password a / is written %2F, elsewhere an @ is written %40"
                .into(),
        );
    }
    parameters.insert("dbname", decoded(path.strip_prefix('/').unwrap_or(path), "the database's name")?);
    for (index, pair) in query.split('&').enumerate().filter(|_| !query.is_empty()) {
        let nth = format!("parameter {} behind the ?", index + 1);
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("{nth} has no value: key=value"))?;
        let value = decoded(value, &nth)?;
        match decoded(key, &nth)?.as_slice() {
            b"ssl" if value == b"true" => parameters.insert("sslmode", b"require".into()),
            key => parameters.insert(known(key, &nth)?, value),
        };
    }
    Ok(parameters)
}

/// `host:port` pairs with commas between them, either half of each optional.
fn read_places(text: &str, parameters: &mut Parameters) -> Result<(), String> {
    if text.contains('@') {
        return Err("an @ stands in the host: in a user name or password it is written %40".into());
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for (index, place) in text.split(',').enumerate() {
        let nth = format!("host {}", index + 1);
        let (host, port) = match place.strip_prefix('[').map(|inner| inner.split_once(']')) {
            Some(Some((address, ""))) => (address, ""),
            Some(Some((address, port))) if port.starts_with(':') => (address, &port[1..]),
            Some(_) => return Err(format!("{nth} begins with a [ and is not [ADDRESS] or [ADDRESS]:PORT")),
            None => place.split_once(':').unwrap_or((place, "")),
        };
        if port.contains(':') {
            return Err(format!(
                "{nth} has more than one colon: an IPv6 address stands in [ ], and a : or / in a user name or password is written %3A or %2F"
            ));
        }
        hosts.push(decoded(host, &nth)?);
        ports.push(decoded(port, &nth)?);
    }
    parameters.insert("host", hosts.join(&b','));
    parameters.insert("port", ports.join(&b','));
    Ok(())
}

/// libpq's older form: `key = value`, spaces between them; a value with spaces stands in single quotes, and a backslash
/// takes the next character as it is.
fn read_pairs(text: &str) -> Result<Parameters, String> {
    const FORM: &str = "it is neither a URL (postgresql://USER@HOST/DATABASE) nor key=value pairs";
    let mut parameters = Parameters::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let nth = format!("parameter {}", parameters.len() + 1);
        let (key, value) = rest.split_once('=').ok_or(FORM)?;
        let key = key.trim_end();
        if key.contains(char::is_whitespace) {
            return Err(FORM.into());
        }
        let (value, behind) = value_of(value.trim_start(), &nth)?;
        parameters.insert(known(key.as_bytes(), &nth)?, value);
        rest = behind.trim_start();
    }
    Ok(parameters)
}

/// The value that a text begins with, and what follows it.
fn value_of<'a>(text: &'a str, nth: &str) -> Result<(Vec<u8>, &'a str), String> {
    let quoted = text.strip_prefix('\'');
    let body = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            '\'' if quoted.is_some() => return Ok((value.into(), &body[at + 1..])),
            space if quoted.is_none() && space.is_whitespace() => return Ok((value.into(), &body[at..])),
            other => value.push(other),
        }
    }
    match quoted {
        Some(_) => Err(format!("the quote that begins the value of {nth} has no end")),
        None => Ok((value.into(), "")),
    }
}

/// The name a parameter is known by.
fn known(key: &[u8], nth: &str) -> Result<&'static str, String> {
    let among = |names: &[&'static str]| names.iter().copied().find(|name| name.as_bytes() == key);
    if let Some(name) = among(&KNOWN) {
        return Ok(name);
    }
    Err(match (among(&CONFIGURED), among(&REFUSED)) {
        (Some(name), _) => {
            format!("{name} does not belong here: timeouts are keys of the configuration's database section")
        }
        (_, Some(name)) => format!("{name} is not supported"),
        (None, None) => format!("{nth} is not known; known are {}", KNOWN.join(", ")),
    })
}

/// A part of a URL with its escapes undone.
fn decoded(text: &str, what: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(format!("a % in {what} is not followed by two hexadecimal digits: a % itself is written %25"));
        };
        bytes.push((high * 16 + low) as u8);
    }
    match bytes.contains(&0) {
        true => Err(format!("{what} contains a zero byte")),
        false => Ok(bytes),
    }
}
