//! How much of a query string is shown, in logs and in the status: it may hold what is nobody else's business.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// See the module's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Query {
    /// All of it.
    #[default]
    Full,
    /// The names, without their values.
    Keys,
    /// Nothing.
    None,
}

/// A request line, a target or an address, with as much of its query as is to be shown. The query ends where a fragment
/// begins, or before the protocol at the end of the line. A fragment, and what a malformed line has behind its target in
/// place of the protocol, is shown only with all the rest: it may be part of a query in which a space was sent as it is.
pub fn shown(text: &[u8], query: Query) -> Cow<'_, [u8]> {
    if query == Query::Full {
        return Cow::Borrowed(text);
    }
    let last = text.iter().rposition(|byte| *byte == b' ').filter(|space| is_protocol(&text[space + 1..]));
    let (before, protocol) = text.split_at(last.unwrap_or(text.len()));
    let target = before.iter().position(|byte| *byte == b' ').map_or(0, |space| space + 1);
    let ends = |(place, byte): (usize, &u8)| matches!(byte, b'?' | b'#') || (*byte == b' ' && place >= target);
    let Some(begin) = before.iter().enumerate().position(ends) else {
        return Cow::Borrowed(text);
    };
    let values = before[begin + 1..].split(|byte| *byte == b'#').next().unwrap_or_default();
    let mut kept = text[..begin].to_vec();
    // A fragment has no place in a request, and one in a referrer is part of what was asked for.
    if query == Query::Keys && text[begin] == b'?' {
        for (place, pair) in values.split(|byte| *byte == b'&').enumerate() {
            kept.push(if place == 0 { b'?' } else { b'&' });
            match pair.iter().position(|byte| *byte == b'=') {
                Some(equals) => kept.extend_from_slice(&pair[..=equals]),
                // What has no name may be the secret itself.
                None => kept.extend_from_slice(if pair.is_empty() { b"" } else { b"=" }),
            }
        }
    }
    kept.extend_from_slice(protocol);
    Cow::Owned(kept)
}

/// Nothing else is sure to be the protocol.
fn is_protocol(word: &[u8]) -> bool {
    matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out_or_the_whole_query() {
        for (line, keys, none) in [
            ("GET /a HTTP/1.1", "GET /a HTTP/1.1", "GET /a HTTP/1.1"),
            ("GET /a?token=x HTTP/1.1", "GET /a?token= HTTP/1.1", "GET /a HTTP/1.1"),
            ("GET /a?b=1&c=2?3&d HTTP/1.1", "GET /a?b=&c=&= HTTP/1.1", "GET /a HTTP/1.1"),
            ("GET /a? HTTP/1.1", "GET /a? HTTP/1.1", "GET /a HTTP/1.1"),
            ("https://x/y?s=1#t=2", "https://x/y?s=", "https://x/y"),
            ("/a?secret", "/a?=", "/a"),
            ("GET /a?q=b SECRET HTTP/1.1", "GET /a?q= HTTP/1.1", "GET /a HTTP/1.1"),
            ("GET /a?q=b SECRET", "GET /a?q=", "GET /a"),
            ("GET /a?q=b HTTP/SECRET HTTP/1.1", "GET /a?q= HTTP/1.1", "GET /a HTTP/1.1"),
            ("GET /a?q=b HTTP/SECRET", "GET /a?q=", "GET /a"),
            ("GET /a?q=b HTTP/1.1SECRET", "GET /a?q=", "GET /a"),
            ("GET /a HTTP/SECRET", "GET /a", "GET /a"),
            ("GET /a SECRET?b=c HTTP/1.0", "GET /a HTTP/1.0", "GET /a HTTP/1.0"),
            ("GET /a", "GET /a", "GET /a"),
            ("http://a/b#tok=SECRET?c", "http://a/b", "http://a/b"),
        ] {
            let shown = |query| String::from_utf8_lossy(&shown(line.as_bytes(), query)).into_owned();
            assert_eq!([shown(Query::Full), shown(Query::Keys), shown(Query::None)], [line, keys, none]);
        }
    }
}
